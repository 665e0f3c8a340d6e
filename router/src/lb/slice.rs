//! What the load balancing process is told: the rules, and the bytes of their certificates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::config::balancer::Balancer;
use sluice_api::types::{BlobDigest, SecretBytes};

/// Everything the process needs of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LbSlice {
    /// The rules.
    pub balancers: Vec<Balancer>,
    /// Blobs that the rules name: PEM, chain and key.
    #[serde(default)]
    pub certificates: BTreeMap<BlobDigest, SecretBytes>,
}

/// The process's part of `config`, with the bytes of its certificates out of `blob`.
pub fn slice(
    config: &RouterDocument,
    blob: impl Fn(&BlobDigest) -> Option<SecretBytes>,
) -> LbSlice {
    let balancers = config.role.balancers.clone();
    let digests = balancers.iter().flat_map(Balancer::certificates);
    // one that is missing is told by the process, which then keeps what it has
    let certificates = digests.filter_map(|digest| Some((*digest, blob(digest)?))).collect();
    LbSlice { balancers, certificates }
}
