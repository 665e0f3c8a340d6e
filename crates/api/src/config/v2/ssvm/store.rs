//! Stores.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{BlobDigest, BucketName, ExportPath, ObjectId, Percent, SourceUrl, StoreUser};

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
    /// A bucket of a server that speaks S3.
    S3 {
        /// Where it is, such as `https://s3.example.com`; the bucket is named in the path.
        endpoint: SourceUrl,
        /// Its region, which signatures name. Default `us-east-1`.
        #[serde(default = "default_region")]
        region: StoreUser,
        /// The bucket, which must be there.
        bucket: BucketName,
        /// The access key.
        user: StoreUser,
        /// A blob with the secret key.
        secret: BlobDigest,
        /// In front of it.
        staging: Staging,
    },
    /// A container of an `OpenStack` Swift, with version 1 of its authentication.
    Swift {
        /// Where tokens are given, such as `https://swift.example.com/auth/v1.0`.
        endpoint: SourceUrl,
        /// The container, which must be there.
        container: BucketName,
        /// The user, such as `account:user`.
        user: StoreUser,
        /// A blob with the user's key.
        secret: BlobDigest,
        /// A blob with the account's key for temporary addresses. Default: none, and no grant can hand one out.
        #[serde(default)]
        temp_url_key: Option<BlobDigest>,
        /// In front of it.
        staging: Staging,
    },
}

/// What stands in front of an object store: images are put together there before they are sent, and stay as long as there is
/// room for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Staging {
    /// A store of kind `nfs` or `local`.
    pub store: ObjectId,
    /// Most bytes of images that stay; the ones that were not asked for the longest go first. Default 20 GiB; 0: none stays.
    #[serde(default = "default_cache_bytes")]
    pub cache_bytes: u64,
}

fn default_cache_bytes() -> u64 {
    20 << 30
}

#[expect(clippy::expect_used, reason = "the invariant is in the message")]
fn default_region() -> StoreUser {
    "us-east-1".parse().expect("`us-east-1` is a valid region")
}

impl StoreKind {
    /// What stands in front of it; none: it is no object store.
    pub const fn staging(&self) -> Option<&Staging> {
        match self {
            Self::Nfs { .. } | Self::Local {} => None,
            Self::S3 { staging, .. } | Self::Swift { staging, .. } => Some(staging),
        }
    }

    /// The blobs that it names.
    pub fn blobs(&self) -> impl Iterator<Item = BlobDigest> + use<> {
        let (secret, key) = match self {
            Self::Nfs { .. } | Self::Local {} => (None, None),
            Self::S3 { secret, .. } => (Some(*secret), None),
            Self::Swift { secret, temp_url_key, .. } => (Some(*secret), *temp_url_key),
        };
        secret.into_iter().chain(key)
    }
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
