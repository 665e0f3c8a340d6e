//! What the storage service is to do: stores, jobs, grants and limits, all of it declared.
//!
//! Guarantees: complete, so a service that starts from nothing needs nothing besides it and its own journal; strict, so an
//! unknown field is refused by name; whatever is secret in it prints as hidden.

mod check;
mod grant;
mod job;
mod limits;
mod place;
mod store;
mod url;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_api::types::{ObjectId, Secret};

pub use check::check;
pub use grant::{Grant, Permission, TokenHash};
pub use job::{Job, Source, What};
pub use limits::{FetchPolicy, Limits};
pub use place::{Place, PlaceError};
pub use store::{StoreKind, StoreSlice};
pub use url::SourceUrl;

/// The storage service's part of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSlice {
    /// Who the service is among those that share the stores; its unfinished parts are kept under this name.
    pub owner: ObjectId,
    /// Folder of the job journal, on a file system that outlives the process; it cannot change while the service runs.
    pub journal: PathBuf,
    /// Where images are kept.
    #[serde(default)]
    pub stores: Vec<StoreSlice>,
    /// What is to be done, once each. A job that is taken away is ended, its unfinished parts are removed; what it finished
    /// stays. Default: nothing.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// Who may upload and download. Default: nobody.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Where uploads and downloads are served. Default: nowhere.
    #[serde(default)]
    pub listen: Vec<Listen>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// From where imports may come.
    #[serde(default)]
    pub fetch: FetchPolicy,
}

/// An address to serve uploads and downloads on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and TCP port; port 0 takes any free one.
    pub address: SocketAddr,
    /// Certificate and key. None: plain HTTP, for a desk or behind a front that has TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// What TLS is served with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, PEM, the server's own first.
    pub certificate: String,
    /// Its private key, PEM (PKCS #8).
    pub key: Secret,
}
