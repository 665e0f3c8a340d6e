//! Names and values of kernel settings.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_api::types::{InvalidValue, LinkName};

/// A kernel setting such as `net.ipv4.ip_forward`; can name nothing outside `/proc/sys`.
///
/// Two or more parts of lower-case letters, digits, `_` and `-` between single dots.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SysctlKey(String);

/// The value of a setting: printable ASCII of at most 256 bytes, fields separated by single spaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SysctlValue(String);

impl SysctlKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A setting of one interface: `of_link("ipv4", "tier-3", "rp_filter")` is `net.ipv4.conf.tier-3.rp_filter`.
    pub fn of_link(family: &'static str, link: &LinkName, name: &'static str) -> Self {
        // a link name is lower-case letters, digits and hyphens, so the form holds
        Self(format!("net.{family}.conf.{link}.{name}"))
    }

    /// A key that the code itself spells.
    ///
    /// # Panics
    /// When it is not a valid key, which the first test to run it shows.
    #[allow(clippy::panic)]
    pub fn fixed(text: &'static str) -> Self {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The file that holds it.
    pub fn path(&self) -> PathBuf {
        // `.` separates; no part can be empty, `.` or `..`, so the path stays inside
        PathBuf::from("/proc/sys").join(self.0.replace('.', "/"))
    }

    fn check(text: &str) -> Result<String, &'static str> {
        let part = |part: &str| {
            let inner =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
            !part.is_empty() && part.bytes().all(inner)
        };
        if text.len() > 200 || !text.contains('.') || !text.split('.').all(part) {
            return Err("must be parts of lower-case letters, digits, _ and - between dots");
        }
        Ok(text.to_owned())
    }
}

impl SysctlValue {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the kernel shows: tabs between fields and a final newline become the one written form.
    fn check(text: &str) -> Result<String, &'static str> {
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let value = fields.join(" ");
        if value.len() > 256 || !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err("must be at most 256 printable characters");
        }
        Ok(value)
    }
}

impl From<bool> for SysctlValue {
    fn from(on: bool) -> Self {
        Self(u8::from(on).to_string())
    }
}

impl From<u32> for SysctlValue {
    fn from(number: u32) -> Self {
        Self(number.to_string())
    }
}

macro_rules! text {
    ($type:ident, $kind:literal) => {
        impl std::str::FromStr for $type {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::check(text).map(Self).map_err(|rule| InvalidValue::new($kind, text, rule))
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(SysctlKey, "kernel setting");
text!(SysctlValue, "kernel setting's value");
