//! Values of object stores.

use std::fmt;

use super::text::text_value;

/// A bucket of S3 or a container of Swift: 1 to 63 letters, digits, dots, hyphens and underscores, a letter or digit first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

text_value!(BucketName, "bucket name", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "templates");

impl BucketName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<String, &'static str> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if begins && text.len() <= 63 && text.bytes().all(good) {
            return Ok(text.to_owned());
        }
        Err(
            "must have 1 to 63 letters, digits, dots, hyphens or underscores, a letter or digit first",
        )
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// By whom an object store knows us: an access key of S3, a user of Swift such as `account:user`; or the name of a region.
/// 1 to 128 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreUser(String);

text_value!(StoreUser, "store user", "^[!-~]{1,128}$", "test:tester");

impl StoreUser {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<String, &'static str> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(text.to_owned());
        }
        Err("must have 1 to 128 visible ASCII characters")
    }
}

impl fmt::Display for StoreUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_never_leads_elsewhere() {
        for text in ["", ".", "..", "a/b", "-a", "a b", "a?b", &"a".repeat(64)] {
            assert!(text.parse::<BucketName>().is_err(), "{text}");
        }
        assert_eq!("T-1.images_2".parse::<BucketName>().unwrap().to_string(), "T-1.images_2");
    }
}
