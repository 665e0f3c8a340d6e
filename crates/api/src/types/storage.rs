//! Values of image stores: formats, checksums, addresses of sources, hashes of tokens.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::InvalidValue;
use super::blob::BlobDigest;
use super::text::text_value;

/// The formats of images that are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageFormat {
    /// QEMU copy-on-write, version 2 or 3.
    Qcow2,
    /// Plain sectors.
    Raw,
    /// Virtual Hard Disk, fixed or dynamic.
    Vhd,
    /// Virtual Hard Disk version 2.
    Vhdx,
    /// VMware disk in one file: monolithic sparse or stream-optimised.
    Vmdk,
    /// Open Virtualization Archive: a tar of a description and its disks.
    Ova,
    /// ISO 9660.
    Iso,
}

impl ImageFormat {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Qcow2, Self::Raw, Self::Vhd, Self::Vhdx, Self::Vmdk, Self::Ova, Self::Iso];

    /// Its name, which is also the extension of its files on a store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vmdk => "vmdk",
            Self::Ova => "ova",
            Self::Iso => "iso",
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ImageFormat {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        let rule = "must be qcow2, raw, vhd, vhdx, vmdk, ova or iso";
        found.ok_or_else(|| InvalidValue::new("image format", text, rule))
    }
}

/// A hash function that checksums of images are given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashFunction {
    /// RFC 1321. Broken by intent, still what many mirrors publish.
    Md5,
    /// FIPS 180-4; as [`HashFunction::Md5`].
    Sha1,
    /// FIPS 180-4.
    Sha224,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha384,
    /// FIPS 180-4.
    Sha512,
}

impl HashFunction {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its name as CloudStack writes it, also the usual one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha224 => "SHA-224",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    /// Hexadecimal digits of its result.
    pub const fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha224 => 56,
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    fn named(name: &str) -> Option<Self> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_uppercase();
        Self::ALL.into_iter().find(|function| plain(function.as_str()) == plain(name))
    }
}

/// What bytes must hash to.
///
/// Text forms read: `{SHA-256}HEX` (CloudStack's), `sha256:HEX`, `SHA-256 HEX`, and HEX alone, whose length tells the
/// function; hexadecimal digits in any case. Written as `{SHA-256}hex`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checksum((HashFunction, String));

text_value!(
    Checksum,
    "checksum",
    "^[{]?[A-Za-z0-9_-]*[}:= ]?[0-9A-Fa-f]{32,128}$",
    "{SHA-256}e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
);

impl Checksum {
    /// What `function` gave.
    pub fn of(function: HashFunction, result: &[u8]) -> Self {
        let hex = result.iter().fold(String::new(), |mut text, byte| {
            use fmt::Write as _;
            // writing to a String cannot fail
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self((function, hex))
    }

    /// The function.
    pub const fn function(&self) -> HashFunction {
        self.0.0
    }

    /// The digits, in lower case.
    pub fn hex(&self) -> &str {
        &self.0.1
    }

    fn check(text: &str) -> Result<(HashFunction, String), &'static str> {
        let text = text.trim();
        let (name, hex) = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, hex)) => (Some(name), hex),
            None => match text.split_once([':', ' ', '=']) {
                Some((name, hex)) => (Some(name), hex),
                None => (None, text),
            },
        };
        let hex = hex.trim().to_ascii_lowercase();
        let by_length = || HashFunction::ALL.into_iter().find(|f| f.digits() == hex.len());
        let function = match name {
            Some(name) => HashFunction::named(name.trim())
                .ok_or("must be of MD5, SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512")?,
            None => by_length().ok_or("has a number of digits that no hash function gives")?,
        };
        if hex.len() != function.digits() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("must have as many hexadecimal digits as its hash function gives");
        }
        Ok((function, hex))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}{}", self.function().as_str(), self.hex())
    }
}

/// SHA-256 of a token, as `sha256:` and 64 hexadecimal digits in lower case: whoever shows the token has what it stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(BlobDigest);

text_value!(
    TokenHash,
    "token hash",
    "^sha256:[0-9a-f]{64}$",
    "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
);

impl TokenHash {
    /// The hash of `token`.
    pub fn of(token: &str) -> Self {
        Self(BlobDigest::of(token.as_bytes()))
    }

    fn check(text: &str) -> Result<BlobDigest, &'static str> {
        text.parse().map_err(|refused: InvalidValue| refused.rule)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Path of a file server's export: absolute, at most 1024 visible ASCII characters or spaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExportPath(String);

text_value!(ExportPath, "export path", "^/[ -~]*$", "/export/secondary");

impl ExportPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<String, &'static str> {
        let good = |b: u8| b.is_ascii_graphic() || b == b' ';
        if text.starts_with('/') && text.len() <= 1024 && text.bytes().all(good) {
            return Ok(text.to_owned());
        }
        Err("must be absolute and have at most 1024 visible ASCII characters or spaces")
    }
}

impl fmt::Display for ExportPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An `http` or `https` address. Its query, fragment and password are secrets, since a signed link is a key: it is written
/// whole and printed without them.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUrl(String);

impl SourceUrl {
    /// The whole address; whoever calls this answers for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it has anything that is not printed.
    pub fn has_secrets(&self) -> bool {
        self.to_string() != self.0
    }

    /// Longest address in characters.
    const MOST: usize = 8192;

    fn check(text: &str) -> Result<(), &'static str> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let rest = rest.ok_or("must begin with http:// or https://")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || host.ends_with('@') {
            return Err("must have a host");
        }
        if text.len() > Self::MOST || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("must have at most 8192 characters, none of them a space or beyond ASCII");
        }
        Ok(())
    }
}

impl std::str::FromStr for SourceUrl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        // what is refused may be a secret, so it is not quoted
        let refused = |rule| InvalidValue::new("source address", "(hidden)", rule);
        Self::check(text).map(|()| Self(text.to_owned())).map_err(refused)
    }
}

impl TryFrom<String> for SourceUrl {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{host}{path}")
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for SourceUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SourceUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::decode(deserializer)
    }
}

impl PartialSchema for SourceUrl {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^https?://[!-~]+$"))
            .description(Some("source address"))
            .examples([serde_json::Value::from("https://images.example.com/debian-13.qcow2")])
            .into()
    }
}

impl ToSchema for SourceUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_way_of_writing_one_checksum_is_read_alike() {
        let upper = SHA256.to_ascii_uppercase();
        for text in [
            SHA256.to_owned(),
            upper.clone(),
            format!("{{SHA-256}}{SHA256}"),
            format!("{{sha256}}{upper}"),
            format!("sha256:{upper}"),
            format!(" SHA-256 {SHA256} "),
            format!("SHA256={SHA256}"),
        ] {
            let read: Checksum = text.parse().unwrap();
            assert_eq!(read.to_string(), format!("{{SHA-256}}{SHA256}"), "{text}");
        }
    }

    #[test]
    fn the_length_tells_the_function_where_no_name_does() {
        for function in HashFunction::ALL {
            let read: Checksum = "0a".repeat(function.digits() / 2).parse().unwrap();
            assert_eq!(read.function(), function);
            assert_eq!(Checksum::of(function, &vec![10; function.digits() / 2]), read);
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused_with_its_reason() {
        let refused = |text: &str| text.parse::<Checksum>().unwrap_err().to_string();
        assert!(refused("abcd").contains("number of digits"));
        assert!(refused("{SHA-3}abcd").contains("SHA-512"));
        assert!(refused("sha256:abcd").contains("as many"));
        assert!(refused(&"zz".repeat(32)).contains("hexadecimal"));
    }

    #[test]
    fn what_is_secret_in_an_address_is_not_printed() {
        for (text, shown) in [
            ("https://bob:hush@host.example:8443/a/b?S=hush#hush", "https://host.example:8443/a/b"),
            ("http://host?hush", "http://host"),
            ("http://h/a@b/c?hush", "http://h/a@b/c"),
        ] {
            let url: SourceUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(url.has_secrets());
            assert!(!shown.parse::<SourceUrl>().unwrap().has_secrets());
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(serde_json::to_string(&url).unwrap(), format!("{text:?}"));
        }
    }

    #[test]
    fn a_refused_address_is_not_quoted() {
        for text in [
            "file:///etc/shadow?hush",
            "hush",
            "http://?hush",
            "http://hush@",
            "http://a/hush hush",
        ] {
            let reason = text.parse::<SourceUrl>().unwrap_err().to_string();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }
}
