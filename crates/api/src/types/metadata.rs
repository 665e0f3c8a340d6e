//! What guests are told about themselves.

use std::fmt;

use super::ObjectId;
use super::text::text_value;

/// Name of a metadata value, such as `cloud-domain`: 1 to 63 lower-case letters, digits and inner hyphens; it becomes part
/// of a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataKey(String);

text_value!(MetadataKey, "metadata key", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "cloud-domain");

/// A metadata value: 1 to 1024 bytes of printable text on one line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataValue(String);

text_value!(
    MetadataValue,
    "metadata value",
    "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,1024}$",
    "Small Instance"
);

/// An OpenSSH public key as one line of `authorized_keys`: type, base64 and an optional comment, at most 8192 bytes.
/// Options in front of the type are refused: a key that is given to a guest is to open it, not to run a command.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(String);

text_value!(
    PublicKey,
    "public key",
    "^(ssh|ecdsa|sk-ssh|sk-ecdsa)[a-z0-9@.-]* [A-Za-z0-9+/]+={0,2}( [^\\u0000-\\u001f\\u007f-\\u009f]*)?$",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8QJQ0mT2m2c0w5N1nqvGm5c1gJ0i4k6XqVn9rW0h2a user@example"
);

impl MetadataKey {
    /// Keys that have fields of their own, or that the router answers from what it knows itself.
    const KEPT: [&'static str; 14] = [
        "api",
        "availability-zone",
        "cloud-identifier",
        "dynamic",
        "instance-id",
        "local-hostname",
        "local-ipv4",
        "meta-data",
        "public-hostname",
        "public-ipv4",
        "public-keys",
        "service-offering",
        "user-data",
        "vm-id",
    ];

    fn check(text: &str) -> Result<String, &'static str> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=63).contains(&text.len()) && text.bytes().all(inner);
        if !fits || text.starts_with('-') || text.ends_with('-') {
            return Err("must have 1 to 63 lower-case letters, digits or inner hyphens");
        }
        if Self::KEPT.contains(&text) {
            return Err("is a name that the metadata service keeps for itself");
        }
        Ok(text.to_owned())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MetadataValue {
    fn check(text: &str) -> Result<String, &'static str> {
        if !(1..=1024).contains(&text.len()) {
            return Err("must have 1 to 1024 bytes");
        }
        if text.chars().any(char::is_control) {
            return Err("must be one line without control characters");
        }
        Ok(text.to_owned())
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MetadataValue {
    /// The availability zone of a cloud that names none.
    pub fn default_zone() -> Self {
        Self("default".to_owned())
    }
}

/// Every id is a short line of plain letters.
impl From<&ObjectId> for MetadataValue {
    fn from(id: &ObjectId) -> Self {
        Self(id.as_str().to_owned())
    }
}

impl PublicKey {
    fn check(text: &str) -> Result<String, &'static str> {
        if text.len() > 8192 {
            return Err("must have at most 8192 bytes");
        }
        if text.chars().any(char::is_control) {
            return Err("must be one line without control characters");
        }
        let mut parts = text.trim().splitn(3, ' ');
        let (kind, blob) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let known = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
        if !known.iter().any(|prefix| kind.starts_with(prefix)) {
            return Err("must begin with a key type such as ssh-ed25519");
        }
        let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        if blob.len() < 16 || !blob.bytes().all(base64) {
            return Err("must have the key in base64 behind its type");
        }
        Ok(text.trim().to_owned())
    }

    /// The whole line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is behind the key, a name for a person; empty when there is nothing.
    pub fn comment(&self) -> &str {
        self.0.splitn(3, ' ').nth(2).unwrap_or_default()
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

display!(MetadataKey, MetadataValue, PublicKey);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8QJQ0mT2m2c0w5N1nqvGm5c1gJ0i4k6XqVn9rW0h2a";

    #[test]
    fn a_key_is_one_line_with_its_type_first() {
        let named: PublicKey = format!("{KEY} ann at work").parse().unwrap();
        assert_eq!(named.comment(), "ann at work");
        assert_eq!(KEY.parse::<PublicKey>().unwrap().comment(), "");
        let refused = [
            format!("command=\"reboot\" {KEY}"),
            format!("{KEY}\nssh-rsa AAAA"),
            "ssh-rsa not!base64not!base64".to_owned(),
            "ssh-rsa".to_owned(),
            "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
            String::new(),
        ];
        for text in refused {
            assert!(text.parse::<PublicKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn keys_become_paths_and_values_one_line() {
        for text in ["cloud-domain", "x", "a1-2"] {
            assert!(text.parse::<MetadataKey>().is_ok(), "{text}");
        }
        for text in ["", "..", "a/b", "Cloud", "-a", "user-data", "public-keys"] {
            assert!(text.parse::<MetadataKey>().is_err(), "{text}");
        }
        assert!("Small Instance".parse::<MetadataValue>().is_ok());
        assert!("two\nlines".parse::<MetadataValue>().is_err());
    }
}
