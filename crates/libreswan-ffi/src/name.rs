//! Names that may stand in libreswan's files.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Why text may not stand in a file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind} {text:?} must have 1 to {longest} letters, digits or characters of `{others}`")]
pub struct InvalidName {
    kind: &'static str,
    text: String,
    longest: usize,
    others: &'static str,
}

fn check(
    kind: &'static str,
    text: &str,
    longest: usize,
    others: &'static str,
) -> Result<String, InvalidName> {
    let good = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    if (1..=longest).contains(&text.len()) && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err(InvalidName { kind, text: text.chars().take(64).collect(), longest, others })
}

/// Name of a connection: letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // a name that begins with a hyphen would be an option on a command line
        let inner = text.strip_prefix(['-', '_']).map_or(text, |_| "");
        check("connection name", inner, 80, "-_").map(Self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An end's id: an address, or a name, which libreswan wants with an `@` before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(String);

impl FromStr for Peer {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let checked = check("id", text, 128, "@._:-")?;
        let is_address = checked.parse::<std::net::IpAddr>().is_ok();
        // without it pluto would ask DNS for the name
        if is_address || checked.contains('@') {
            return Ok(Self(checked));
        }
        Ok(Self(format!("@{checked}")))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_can_be_written() {
        for bad in ["", "-x", "a b", "a\nb", "a\"b", "a=b", "a#b", "%any", &"a".repeat(81)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert_eq!("s2s-c-1-1".parse::<Name>().unwrap().as_str(), "s2s-c-1-1");
        for bad in ["", "a b", "a\nb", "\"", "C=DE", "%any"] {
            assert!(bad.parse::<Peer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_get_an_at_sign_and_addresses_do_not() {
        for (text, written) in [
            ("203.0.113.9", "203.0.113.9"),
            ("branch.example.com", "@branch.example.com"),
            ("@branch", "@branch"),
            ("vpn@example.com", "vpn@example.com"),
        ] {
            assert_eq!(text.parse::<Peer>().unwrap().to_string(), written);
        }
    }
}
