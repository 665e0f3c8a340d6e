//! Grants: who may bring in and take out what, until when, and how much.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sluice_api::types::ObjectId;

use super::place::Place;
use crate::checksum::hex;

/// Leave to do one thing. Whoever shows the token has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its id, for logs and reports: never the token.
    pub id: ObjectId,
    /// What the token hashes to; the token itself is with the manager's client alone.
    pub token: TokenHash,
    /// When it ends, in seconds since 1970-01-01 UTC.
    pub expires: u64,
    /// To do what.
    pub permission: Permission,
}

/// What a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Permission {
    /// Send the bytes of an import job whose source is `upload`.
    Upload {
        /// The job.
        job: ObjectId,
        /// Most bytes sent.
        most_bytes: u64,
    },
    /// Fetch an object.
    Download {
        /// The store that it is on.
        store: ObjectId,
        /// Where.
        place: Place,
        /// The name that browsers save it under. Default: its own on the store.
        #[serde(default)]
        file_name: Option<String>,
        /// Most downloads begun; a range that does not begin at the start does not count. Default: any number.
        #[serde(default)]
        most_downloads: Option<u64>,
        /// Most bytes a second over all connections of this grant. Default: any.
        #[serde(default)]
        bytes_per_second: Option<u64>,
    },
}

/// SHA-256 of a token, 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash(String);

impl TokenHash {
    /// The hash of `token`.
    pub fn of(token: &str) -> Self {
        Self(hex(&Sha256::digest(token.as_bytes())))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = text.strip_prefix("sha256:").unwrap_or(&text).to_ascii_lowercase();
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text))
        } else {
            Err("a token's hash has 64 hexadecimal digits (SHA-256)".to_owned())
        }
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}
