//! Checksums as people write them, and digests as they are counted while bytes go by.

use std::fmt;
use std::str::FromStr;

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// RFC 1321. Broken by intent, still what many mirrors publish.
    Md5,
    /// FIPS 180-4; as [`Algorithm::Md5`].
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

impl Algorithm {
    const ALL: [Self; 6] =
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
    const fn digits(self) -> usize {
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
        Self::ALL.into_iter().find(|algorithm| plain(algorithm.as_str()) == plain(name))
    }
}

/// What the bytes of a source must hash to.
///
/// Text forms read: `{SHA-256}HEX` (CloudStack's), `sha256:HEX`, `SHA-256 HEX`, and HEX alone, whose length tells the
/// function; hexadecimal digits in any case. Written as `{SHA-256}hex`.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    hex: String,
}

impl Checksum {
    /// What `algorithm` gave.
    pub(crate) const fn new(algorithm: Algorithm, hex: String) -> Self {
        Self { algorithm, hex }
    }

    /// The function.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits, in lower case.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

impl FromStr for Checksum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, hex) = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, hex)) => (Some(name), hex),
            None => match text.split_once([':', ' ', '=']) {
                Some((name, hex)) => (Some(name), hex),
                None => (None, text),
            },
        };
        let hex = hex.trim().to_ascii_lowercase();
        let by_length = || Algorithm::ALL.into_iter().find(|a| a.digits() == hex.len());
        let algorithm = match name {
            Some(name) => Algorithm::named(name.trim())
                .ok_or_else(|| format!("{name:?} is no hash function from MD5 to SHA-512"))?,
            None => by_length()
                .ok_or_else(|| format!("{} digits are of no hash function", hex.len()))?,
        };
        if hex.len() != algorithm.digits() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            let wanted = algorithm.digits();
            return Err(format!("{} has {wanted} hexadecimal digits", algorithm.as_str()));
        }
        Ok(Self { algorithm, hex })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}{}", self.algorithm.as_str(), self.hex)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Checksum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A hash function at work.
#[derive(Clone)]
pub enum Hasher {
    /// See [`Algorithm::Md5`].
    Md5(Md5),
    /// See [`Algorithm::Sha1`].
    Sha1(Sha1),
    /// See [`Algorithm::Sha224`].
    Sha224(Sha224),
    /// See [`Algorithm::Sha256`].
    Sha256(Sha256),
    /// See [`Algorithm::Sha384`].
    Sha384(Sha384),
    /// See [`Algorithm::Sha512`].
    Sha512(Sha512),
}

impl Hasher {
    /// `algorithm` before the first byte.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha224 => Self::Sha224(Sha224::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha224(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The result, in lower-case hexadecimal digits.
    pub fn hex(self) -> String {
        hex(&self.bytes())
    }

    /// The result.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Md5(hash) => hash.finalize().to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha224(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha384(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parsed(text: &str) -> Checksum {
        text.parse().unwrap()
    }

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
            assert_eq!(parsed(&text).to_string(), format!("{{SHA-256}}{SHA256}"), "{text}");
        }
    }

    #[test]
    fn the_length_tells_the_function_where_no_name_does() {
        for algorithm in Algorithm::ALL {
            let text = "0a".repeat(algorithm.digits() / 2);
            assert_eq!(parsed(&text).algorithm(), algorithm);
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused_with_its_reason() {
        let refused = |text: &str| text.parse::<Checksum>().unwrap_err();
        assert!(refused("abcd").contains("4 digits"));
        assert!(refused("{SHA-3}abcd").contains("SHA-3"));
        assert!(refused("sha256:abcd").contains("64"));
        assert!(refused(&"zz".repeat(32)).contains("hexadecimal"));
    }

    #[test]
    fn hashes_are_those_of_their_standards() {
        let of = |algorithm| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            hasher.hex()
        };
        assert_eq!(of(Algorithm::Md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(of(Algorithm::Sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(of(Algorithm::Sha224).starts_with("23097d22"));
        assert!(of(Algorithm::Sha256).starts_with("ba7816bf"));
        assert!(of(Algorithm::Sha384).starts_with("cb00753f"));
        assert!(of(Algorithm::Sha512).starts_with("ddaf35a1"));
    }
}
