//! Stores.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_api::types::{ObjectId, Percent};

/// One place where images are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSlice {
    /// Its id, which is also written on the store itself, so that another store in its place is noticed.
    pub id: ObjectId,
    /// What it is.
    pub kind: StoreKind,
    /// Nothing is written, changed or deleted on it. Default false.
    #[serde(default)]
    pub read_only: bool,
    /// No new object is begun when more than so many percent of it are used. Default 90.
    #[serde(default = "default_full_percent")]
    pub full_percent: Percent,
}

fn default_full_percent() -> Percent {
    Percent::NINETY
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum StoreKind {
    /// A directory, such as a mounted file system.
    Directory {
        /// Its path.
        path: PathBuf,
        /// The type that its file system must be of, as `statfs(2)` tells, for instance 0x6969 of NFS: what is mounted
        /// nowhere is then never taken for the store. Default: any.
        #[serde(default)]
        filesystem: Option<u32>,
    },
}
