//! Values of load balancing: times, limits, weights, names of cookies.

use std::fmt;

use super::name::DomainName;
use super::number::ranged;
use super::text::{InvalidValue, text_value};

ranged!(
    /// Seconds for a member to accept a connection.
    ConnectSeconds(u32), "connect time", 1_u32, 300_u32, "must be 1 to 300"
);
ranged!(
    /// Seconds without a byte.
    IdleSeconds(u32), "idle time", 1_u32, 2_592_000_u32, "must be 1 to 2592000"
);
ranged!(
    /// Seconds that an HTTP connection is kept for its next request.
    KeepAliveSeconds(u32), "keep-alive time", 0_u32, 86_400_u32, "must be 0 to 86400"
);
ranged!(
    /// Seconds for a request head.
    RequestSeconds(u32), "request time", 1_u32, 300_u32, "must be 1 to 300"
);
ranged!(
    /// Seconds for connections of a removed rule.
    DrainSeconds(u32), "drain time", 0_u32, 86_400_u32, "must be 0 to 86400"
);
ranged!(
    /// Connections of one rule at once.
    ConnectionLimit(u32), "connection limit", 1_u32, 1_000_000_u32, "must be 1 to 1000000"
);
ranged!(
    /// A member's share; HAProxy's range.
    Weight(u32), "weight", 0_u32, 256_u32, "must be 0 to 256"
);
ranged!(
    /// Characters of a cookie.
    CookieLength(u32), "cookie length", 1_u32, 512_u32, "must be 1 to 512"
);
ranged!(
    /// Seconds that a binding lasts unused.
    HoldSeconds(u32), "hold time", 1_u32, 2_592_000_u32, "must be 1 to 2592000"
);
ranged!(
    /// Bindings of one rule.
    TableSize(u32), "table size", 1_u32, 1_048_576_u32, "must be 1 to 1048576"
);
ranged!(
    /// Milliseconds between checks.
    IntervalMilliseconds(u32), "check interval", 100_u32, 3_600_000_u32, "must be 100 to 3600000"
);
ranged!(
    /// Checks in a row.
    Times(u32), "number of checks", 1_u32, 100_u32, "must be 1 to 100"
);
ranged!(
    /// An HTTP status.
    StatusNumber(u32), "HTTP status", 100_u32, 599_u32, "must be 100 to 599"
);

macro_rules! defaults {
    ($($name:ident = $value:literal;)*) => {$(
        impl Default for $name {
            fn default() -> Self {
                Self::of($value)
            }
        }
    )*};
}

defaults! {
    ConnectionLimit = 4096;
    Weight = 1;
    CookieLength = 52;
    TableSize = 204_800;
}

/// The name of a cookie: a token of at most 64 characters (RFC 6265 4.1.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CookieName(String);

text_value!(CookieName, "cookie name", "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$", "SRVID");

impl CookieName {
    fn check(text: &str) -> Result<String, &'static str> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(token) {
            return Ok(text.to_owned());
        }
        Err("must be a token of 1 to 64 characters")
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The domain of a cookie: a domain name; a dot before it says nothing and is dropped (RFC 6265 5.2.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CookieDomain(DomainName);

text_value!(
    CookieDomain,
    "domain of a cookie",
    "^\\.?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
    "shop.example.net"
);

impl CookieDomain {
    fn check(text: &str) -> Result<DomainName, &'static str> {
        text.strip_prefix('.').unwrap_or(text).parse().map_err(|error: InvalidValue| error.rule)
    }
}

impl fmt::Display for CookieDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a check asks for: a path with its query, visible ASCII, at most 1024 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckPath(String);

text_value!(CheckPath, "path of a check", "^/[!-\"$-~]{0,1023}$", "/healthz");

impl CheckPath {
    fn check(text: &str) -> Result<String, &'static str> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if text.starts_with('/') && text.len() <= 1024 && visible {
            return Ok(text.to_owned());
        }
        Err("must begin with `/` and have at most 1024 visible ASCII characters, none of them `#`")
    }
}

impl Default for CheckPath {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl fmt::Display for CheckPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
