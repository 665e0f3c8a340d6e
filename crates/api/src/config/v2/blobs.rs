//! Which blobs a configuration names: what it needs beside itself, and what the appliance keeps.

use std::collections::BTreeSet;

use super::balancer::Balancer;
use super::{ApplianceConfig, Part, RouterConfig};
use crate::types::BlobDigest;

impl<P: Part> ApplianceConfig<P> {
    /// Every blob that it names.
    pub fn blobs(&self) -> BTreeSet<BlobDigest> {
        self.role.blobs()
    }
}

impl RouterConfig {
    /// Every blob that a router's part names: user data and passwords of guests, certificates of balancers, secrets of
    /// tunnels.
    pub fn blobs(&self) -> BTreeSet<BlobDigest> {
        let certificates = self.balancers.iter().flat_map(Balancer::certificates).copied();
        let guests = self.networks.iter().flat_map(|network| &network.guests);
        let metadata = guests.map(|guest| &guest.metadata);
        metadata
            .flat_map(|one| one.user_data.into_iter().chain(one.password.as_ref().map(|p| p.blob)))
            .chain(certificates)
            .chain(self.vpn.blobs())
            .collect()
    }
}
