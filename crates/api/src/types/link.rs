//! Names of network interfaces inside an appliance.

use std::fmt;

use super::text::text_value;

/// A kernel interface name by role and id, such as `ctl`, `pub0` or `tier-3`.
///
/// 1 to 15 bytes (IFNAMSIZ less its NUL), a lower-case letter first, then letters, digits and hyphens;
/// narrower than the kernel's own rule so that a name can never mean anything inside an nft script.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(String);

text_value!(LinkName, "link name", "^[a-z][a-z0-9-]{0,14}$", "pub0");

impl LinkName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The loopback link, which no text can name: no configuration has to do with it.
    #[must_use]
    pub fn loopback() -> Self {
        Self("lo".to_owned())
    }

    fn check(text: &str) -> Result<String, &'static str> {
        if text.is_empty() || text.len() > 15 {
            return Err("must have 1 to 15 characters");
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err("must start with a lower-case letter");
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err("may hold only lower-case letters, digits and hyphens");
        }
        if matches!(text, "lo" | "all" | "default") {
            return Err("is a name that the kernel keeps for itself");
        }
        Ok(text.to_owned())
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
