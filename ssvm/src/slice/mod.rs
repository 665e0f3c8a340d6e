//! What the storage service is to do: the secondary storage VM's configuration with its blobs and links resolved.
//!
//! Guarantees: complete, so a service that starts from nothing needs nothing besides it and its own journal; strict, so an
//! unknown field is refused by name; whatever is secret in it prints as hidden.

mod check;
mod store;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_api::types::{BlobDigest, ObjectId, Secret};

pub use check::check;
pub use sluice_api::config::ssvm::{
    FetchPolicy, Grant, ImageLayout, Job, Limits, PeerSource, Permission, Place, Source, What,
};
pub use sluice_api::types::{SourceUrl, TokenHash};
pub use store::{BucketService, StoreKind, StoreSlice};

/// The storage service's part of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSlice {
    /// Who the service is among those that share the stores; its unfinished parts are kept under this name.
    pub owner: ObjectId,
    /// Folder of the job journal, on a file system that outlives the process; it cannot change while the service runs.
    pub journal: PathBuf,
    /// Where images are kept. Default: nowhere.
    #[serde(default)]
    pub stores: Vec<StoreSlice>,
    /// What is to be done, once each. Default: nothing.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// Who may upload and download. Default: nobody.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Where uploads and downloads are served. Default: nowhere.
    #[serde(default)]
    pub listen: Vec<Listen>,
    /// Where objects are given to other appliances. Default: nowhere.
    #[serde(default)]
    pub peers: Vec<PeerListen>,
    /// What jobs show to other appliances, by digest. Default: nothing.
    #[serde(default)]
    pub identities: Vec<OwnIdentity>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// From where imports may come; its blobs are not looked at here.
    #[serde(default)]
    pub fetch: FetchPolicy,
    /// Resolvers that names of sources are asked of. Default: those of the machine.
    #[serde(default)]
    pub resolvers: Vec<IpAddr>,
    /// The proxy for all sources, `http://[USER:PASSWORD@]HOST:PORT`. Default: none.
    #[serde(default)]
    pub proxy: Option<Secret>,
    /// Further authorities that servers' certificates may be of, PEM. Default: those of the machine alone.
    #[serde(default)]
    pub authorities: String,
}

/// An address to give objects at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerListen {
    /// Address and TCP port.
    pub address: SocketAddr,
    /// What is given.
    pub gifts: Vec<GiftSlice>,
}

/// An object for one other appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiftSlice {
    /// The name that its certificate is for.
    pub id: ObjectId,
    /// Our certificate, its authority's, and our private key, PEM.
    pub identity: Secret,
    /// When it ends, in seconds since 1970-01-01 UTC.
    pub expires: u64,
    /// The store that the object is on.
    pub store: ObjectId,
    /// Where.
    pub place: Place,
}

/// What a job shows to another appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnIdentity {
    /// As jobs name it.
    pub digest: BlobDigest,
    /// Our certificate, its authority's, and our private key, PEM.
    pub pem: Secret,
}

/// An address to serve uploads and downloads on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and TCP port; port 0 takes any free one.
    pub address: SocketAddr,
    /// Certificate chain, the server's own first, and its private key, PEM. None: plain HTTP.
    #[serde(default)]
    pub tls: Option<Secret>,
}
