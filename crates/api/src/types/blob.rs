//! Large and secret things: named by digest in documents, carried beside them.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

use super::text::text_value;

/// Largest blob in bytes: 8 MiB.
pub const MAX_BLOB: usize = 8 * 1024 * 1024;

/// Name of a blob: SHA-256 of its bytes, as `sha256:` and 64 hexadecimal digits in lower case.
///
/// A digest stands in configurations and logs in clear. Whoever makes a blob of a secret that could be guessed, such as a
/// password, adds random bytes to it, or the digest would tell when a guess is right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobDigest([u8; 32]);

text_value!(
    BlobDigest,
    "blob digest",
    "^sha256:[0-9a-f]{64}$",
    "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
);

impl BlobDigest {
    const RULE: &str = "must be `sha256:` and 64 hexadecimal digits in lower case";

    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    fn check(text: &str) -> Result<[u8; 32], &'static str> {
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64);
        let digits = digits.ok_or(Self::RULE)?.as_bytes();
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return Err(Self::RULE) };
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(bytes)
    }

    /// The 64 hexadecimal digits alone, as in file names.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The digest itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn digit(character: u8) -> Result<u8, &'static str> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(BlobDigest::RULE),
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes that must not be shown: they print as `(hidden)` and are wiped when dropped. Written as base64, since only what
/// is meant to carry them, such as a service's slice, is ever written.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes `bytes` into hiding.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves; whoever calls this answers for where they go.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8; as secret as before.
    pub fn reveal_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = SecretBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretBytes, E> {
                // the text itself is a secret and is not quoted
                base64::decode(text).map(SecretBytes).ok_or_else(|| E::custom("not base64"))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// RFC 4648 section 4; a dozen lines weigh less here than a dependency of everything that knows the contract.
mod base64 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let index = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or(0);
                let letter = ALPHABET.get(index).copied().unwrap_or(b'=');
                text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
            }
        }
        text
    }

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        let text = text.as_bytes();
        if !text.len().is_multiple_of(4) {
            return None;
        }
        let body = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
        let mut bytes = Vec::with_capacity(body.len() / 4 * 3 + 2);
        for chunk in body.chunks(4) {
            let mut bits = 0;
            for letter in chunk {
                bits = bits << 6 | value(*letter)?;
            }
            bits <<= 6 * (4 - chunk.len());
            let whole: [u8; 4] = u32::to_be_bytes(bits);
            bytes.extend_from_slice(whole.get(1..chunk.len())?);
        }
        Some(bytes)
    }

    fn value(letter: u8) -> Option<u32> {
        let at = ALPHABET.iter().position(|known| *known == letter)?;
        u32::try_from(at).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_spelling() {
        let digest = BlobDigest::of(b"foo");
        let text = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        for bad in [&text.to_uppercase(), &text[7..], &text[..70], "sha256:", "", "sha1:00"] {
            assert!(bad.parse::<BlobDigest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn secret_bytes_travel_and_do_not_show() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            let secret = SecretBytes::new(bytes.clone());
            assert_eq!(format!("{secret:?}"), "(hidden)");
            let text = serde_json::to_string(&secret).unwrap();
            assert_eq!(
                serde_json::from_str::<SecretBytes>(&text).unwrap().reveal(),
                bytes,
                "{text}"
            );
        }
        assert_eq!(serde_json::to_string(&SecretBytes::new(*b"foob")).unwrap(), "\"Zm9vYg==\"");
        for bad in ["\"a\"", "\"ab$=\"", "\"=\"", "\"a===\"", "1"] {
            assert!(serde_json::from_str::<SecretBytes>(bad).is_err(), "{bad}");
        }
    }
}
