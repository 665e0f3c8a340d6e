//! Names: of hosts, of domains and of the objects in a configuration.

use std::fmt;

use super::text::text_value;

/// One DNS label usable as a host name: 1 to 63 letters, digits and inner hyphens (RFC 952, RFC 1123 2.1).
///
/// Stored and printed in lower case, because DNS compares without case (RFC 1035 2.3.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

text_value!(HostName, "host name", "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", "vm1");

/// A domain name of one or more labels without the final dot, at most 253 characters (RFC 1035 3.1); lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

text_value!(
    DomainName,
    "domain name",
    "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
    "cs1.cloud.internal"
);

/// The name of a record: as [`DomainName`], and labels may begin with an underscore, as those of services do (RFC 8552); the
/// first may be `*`, for every name below the others (RFC 4592).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName(String);

text_value!(
    RecordName,
    "record name",
    "^(\\*\\.)?_?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\._?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
    "_ldap._tcp.cs1.cloud.internal"
);

/// The id of an object in a configuration (network, guest, rule): 1 to 63 lower-case letters, digits and inner hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(String);

text_value!(ObjectId, "id", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "net-1");

/// The id of an appliance, such as `r-3`; also its name in its certificate. Same form as [`ObjectId`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplianceId(String);

text_value!(ApplianceId, "appliance id", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "r-3");

const LABEL: &str = "a label must have 1 to 63 letters, digits or inner hyphens";

fn label(text: &str) -> Result<String, &'static str> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let fits = (1..=63).contains(&text.len()) && text.bytes().all(inner);
    if !fits || text.starts_with('-') || text.ends_with('-') {
        return Err(LABEL);
    }
    Ok(text.to_ascii_lowercase())
}

fn id(text: &str) -> Result<String, &'static str> {
    let lower =
        label(text).map_err(|_| "must have 1 to 63 lower-case letters, digits or inner hyphens")?;
    if lower == text { Ok(lower) } else { Err("must be lower case") }
}

impl HostName {
    /// The router's own name in every guest domain, from where guests fetch passwords and keys: no guest may have it.
    pub const DATA_SERVER: &'static str = "data-server";

    fn check(text: &str) -> Result<String, &'static str> {
        label(text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DomainName {
    fn check(text: &str) -> Result<String, &'static str> {
        if text.len() > 253 {
            return Err("must have at most 253 characters");
        }
        text.split('.').map(label).collect::<Result<Vec<_>, _>>().map(|labels| labels.join("."))
    }

    /// The name as text, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RecordName {
    fn check(text: &str) -> Result<String, &'static str> {
        let below = text.strip_prefix("*.").unwrap_or(text);
        let bare = below.split('.').map(|label| label.strip_prefix('_').unwrap_or(label));
        DomainName::check(&bare.collect::<Vec<_>>().join("."))?;
        let fits = text.len() <= 253 && text.split('.').all(|label| label.len() <= 63);
        fits.then(|| text.to_ascii_lowercase())
            .ok_or("must have at most 253 characters, a label 63")
    }

    /// The name as text, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for all names below it (RFC 4592).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The wildcards that a record of `name` may come from, nearest first: `*.b.c`, `*.c` for `a.b.c` (RFC 4592).
    pub fn wildcards_of(name: &str) -> impl Iterator<Item = String> {
        name.match_indices('.').map(|(at, _)| format!("*{}", name.get(at..).unwrap_or_default()))
    }
}

impl ObjectId {
    fn check(text: &str) -> Result<String, &'static str> {
        id(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ApplianceId {
    fn check(text: &str) -> Result<String, &'static str> {
        id(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! display {
    ($($type:ident),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

display!(HostName, DomainName, RecordName, ObjectId, ApplianceId);
