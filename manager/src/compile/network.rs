//! Guest networks: policy, source NAT, DHCP and guests.

use sluice_api::config::{DhcpConfig, Guest, GuestNetwork, SourceNat};
use sluice_api::types::LinkName;

use super::NetworkModel;

/// The network as the router is to serve it, on link `inside`, going out by `outside`.
pub(super) fn guest_network(
    network: &NetworkModel,
    inside: LinkName,
    outside: LinkName,
) -> GuestNetwork {
    GuestNetwork {
        id: network.id.clone(),
        link: inside,
        cidr: network.cidr,
        gateway: network.gateway,
        domain: network.domain.clone(),
        egress: network.egress,
        source_nat: Some(SourceNat { link: outside, address: network.public.address }),
        dhcp: DhcpConfig { lease_seconds: network.lease_seconds, ..DhcpConfig::default() },
        guests: sorted(&network.guests),
    }
}

/// By address, so that the order in which guests came leaves no trace.
fn sorted(guests: &[Guest]) -> Vec<Guest> {
    let mut guests = guests.to_vec();
    guests.sort_by_key(|guest| guest.address);
    guests
}
