//! User data: what a guest runs at its first start, in whatever form it understands.
//!
//! Guarantees: they are bytes, and reach the guest as they were given, the last line end included.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sluice_api::types::Secret;
use utoipa::ToSchema;

/// How bytes that are no text are marked.
const BASE64: &str = "base64:";

/// User data: text as it is, or `base64:` and bytes in base64 (RFC 4648 4), such as a packed MIME message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = "user-data")]
pub struct UserData(Secret);

impl UserData {
    /// Most bytes: 1 MiB.
    pub const MOST: usize = 1 << 20;
    /// How its schema calls it.
    pub const FORMAT: &str = "user-data";

    /// As text, where `bytes` are some.
    pub fn written(bytes: Vec<u8>) -> String {
        match String::from_utf8(bytes) {
            Ok(text) if !text.starts_with(BASE64) => text,
            Ok(text) => format!("{BASE64}{}", BASE64_STANDARD.encode(text)),
            Err(error) => format!("{BASE64}{}", BASE64_STANDARD.encode(error.as_bytes())),
        }
    }

    /// What is meant by `text`.
    ///
    /// Errors: what is behind `base64:` is none, or more than [`Self::MOST`] bytes are meant.
    pub fn read(text: &str) -> Result<Vec<u8>, String> {
        let bytes = match text.strip_prefix(BASE64) {
            Some(packed) => BASE64_STANDARD
                .decode(packed)
                .map_err(|error| format!("what follows `{BASE64}` is not base64: {error}"))?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() > Self::MOST {
            return Err(format!("{} bytes are more than {}", bytes.len(), Self::MOST));
        }
        Ok(bytes)
    }

    /// What is meant; errors as of [`Self::read`].
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        Self::read(self.0.reveal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_given_comes_out_byte_for_byte() {
        for bytes in [&b"#cloud-config\n"[..], b"", b"base64:", b"\x1f\x8b\x08\0\xff", b"a\r\n\n"] {
            let written = UserData::written(bytes.to_vec());
            assert_eq!(UserData::read(&written).unwrap().as_slice(), bytes, "{written}");
        }
        assert_eq!(UserData::written(b"#!/bin/sh\n".to_vec()), "#!/bin/sh\n", "text stays text");
    }

    #[test]
    fn what_is_no_base64_and_what_is_too_long_is_refused() {
        for bad in ["base64:%%", "base64:AAA", "base64:AA\n"] {
            assert!(UserData::read(bad).unwrap_err().contains("not base64"), "{bad}");
        }
        let most = "x".repeat(UserData::MOST);
        assert!(UserData::read(&most).is_ok());
        assert_eq!(
            UserData::read(&format!("{most}x")).unwrap_err(),
            "1048577 bytes are more than 1048576"
        );
    }
}
