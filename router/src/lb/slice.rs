//! What the load balancing process is told: the rules, and the bytes of their certificates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_api::Digest;
use sluice_api::types::Secret;

use super::balancer::Balancer;

/// Everything the process needs of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LbSlice {
    /// The rules.
    pub balancers: Vec<Balancer>,
    /// Blobs that the rules name: PEM, chain and key.
    #[serde(default)]
    pub certificates: BTreeMap<Digest, Secret>,
}
