//! Stores.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_api::types::{BucketName, ObjectId, Percent, Secret, SourceUrl, StoreUser};

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
    /// A bucket of an object store.
    Bucket {
        /// Where it is.
        service: BucketService,
        /// The store of kind `directory` in front of it.
        staging: ObjectId,
        /// Most bytes of images that stay there.
        cache_bytes: u64,
    },
}

/// An object store that we are a user of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum BucketService {
    /// A bucket of a server that speaks S3.
    S3 {
        /// Where it is; the bucket is named in the path.
        endpoint: SourceUrl,
        /// Its region, which signatures name.
        region: StoreUser,
        /// The bucket.
        bucket: BucketName,
        /// The access key.
        user: StoreUser,
        /// The secret key.
        secret: Secret,
    },
    /// A container of an `OpenStack` Swift, with version 1 of its authentication.
    Swift {
        /// Where tokens are given.
        endpoint: SourceUrl,
        /// The container.
        container: BucketName,
        /// The user.
        user: StoreUser,
        /// The user's key.
        secret: Secret,
        /// The account's key for temporary addresses.
        #[serde(default)]
        temp_url_key: Option<Secret>,
    },
}
