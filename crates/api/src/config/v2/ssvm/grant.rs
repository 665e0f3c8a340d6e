//! Grants: who may bring in and take out what, until when, and how much.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::place::Place;
use crate::types::{ObjectId, TokenHash};

/// Leave to do one thing. Whoever shows the token has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
        /// Send whoever comes on to the object store itself, by an address that is good for so many seconds: presigned for
        /// S3, temporary for Swift. Bytes then do not pass through the appliance, which cannot bound their rate. Default:
        /// the appliance serves them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        redirect_seconds: Option<u32>,
    },
}
