//! Stores.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{ExportPath, ObjectId, Percent};

/// One place where images are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageStore {
    /// Unique among the stores; also written on the store itself, so that another one in its place is noticed.
    pub id: ObjectId,
    /// What it is.
    pub kind: StoreKind,
    /// Nothing is written, changed or deleted on it. Default false.
    #[serde(default)]
    pub read_only: bool,
    /// No new object is begun when more than so many percent of it are used. Default 90
    /// (`secondary.storage.capacity.threshold`).
    #[serde(default = "default_full_percent")]
    pub full_percent: Percent,
}

fn default_full_percent() -> Percent {
    Percent::NINETY
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum StoreKind {
    /// An export of a file server (guide 2.6, 4.5.5).
    Nfs {
        /// Address of the server.
        #[schema(value_type = String, example = "10.4.0.10")]
        server: IpAddr,
        /// Path of the export.
        path: ExportPath,
        /// Version spoken, for every operation alike (`secstorage.nfs.version`). Default 4.2.
        #[serde(default)]
        version: NfsVersion,
    },
    /// A folder on the appliance's own data partition, for a laboratory or as a cache.
    Local {},
}

/// Versions of NFS.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
pub enum NfsVersion {
    /// RFC 1813.
    #[serde(rename = "3")]
    V3,
    /// RFC 7530.
    #[serde(rename = "4.0")]
    V40,
    /// RFC 8881.
    #[serde(rename = "4.1")]
    V41,
    /// RFC 7862.
    #[default]
    #[serde(rename = "4.2")]
    V42,
}

impl NfsVersion {
    /// As in the mount option `vers`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "3",
            Self::V40 => "4.0",
            Self::V41 => "4.1",
            Self::V42 => "4.2",
        }
    }
}
