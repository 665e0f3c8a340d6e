//! What only a secondary storage VM has: stores, jobs, grants, and where it serves them.

mod fetch;
mod grant;
mod job;
mod limits;
mod listen;
mod needs;
mod peer;
mod place;
mod store;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::BlobDigest;

pub use fetch::FetchPolicy;
pub use grant::{Grant, Permission};
pub use job::{ImageLayout, Job, Source, What};
pub use limits::Limits;
pub use listen::Listener;
pub use needs::{IMAGE_LAYOUTS, IMAGE_PEERS, IMAGE_PROXY};
pub use peer::{Gift, PeerListener, PeerSource};
pub use place::{Place, PlaceError};
pub use store::{ImageStore, NfsVersion, Staging, StoreKind};

/// The part of a secondary storage VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SsvmConfig {
    /// Resolvers that names of sources and file servers are asked of, in order of preference. Default: none, so that
    /// addresses alone are understood.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub resolvers: Vec<IpAddr>,
    /// Where images are kept. Default: nowhere.
    #[serde(default)]
    pub stores: Vec<ImageStore>,
    /// What is to be done, once each. A job that is taken away is ended and its unfinished parts are removed; what it finished
    /// stays. Default: nothing.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// Who may upload and download. Default: nobody.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Where uploads and downloads are served. Default: nowhere.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Where objects are given to other secondary storage VMs. Default: nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerListener>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// From where imports may come.
    #[serde(default)]
    pub fetch: FetchPolicy,
}

impl SsvmConfig {
    /// The blobs that it names.
    pub fn blobs(&self) -> BTreeSet<BlobDigest> {
        let of_jobs = self.jobs.iter().filter_map(Job::blob);
        let of_listeners = self.listeners.iter().filter_map(|listener| listener.tls);
        let of_fetch = self.fetch.proxy.into_iter().chain(self.fetch.authorities);
        let of_stores = self.stores.iter().flat_map(|store| store.kind.blobs());
        let of_gifts = self.peers.iter().flat_map(|peer| &peer.gifts).map(|gift| gift.identity);
        of_jobs.chain(of_gifts).chain(of_listeners).chain(of_fetch).chain(of_stores).collect()
    }
}
