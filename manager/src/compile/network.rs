//! Guest networks: policy, source NAT, DHCP and guests.

use sluice_api::config::{DhcpConfig, Guest, GuestNetwork, NetworkDns, SourceNat};

use super::{ApplianceModel, NetworkModel};

/// The network as the router is to serve it.
pub(super) fn guest_network(model: &ApplianceModel, network: &NetworkModel) -> GuestNetwork {
    let source_nat = network
        .source_nat
        .and_then(|address| Some(SourceNat { link: model.link_of(address)?.clone(), address }));
    GuestNetwork {
        id: network.id.clone(),
        link: network.link.clone(),
        cidr: network.cidr,
        gateway: network.gateway,
        domain: network.domain.clone(),
        acl: network.acl.clone(),
        egress: network.egress,
        source_nat,
        dhcp: DhcpConfig { lease_seconds: network.lease_seconds, ..DhcpConfig::default() },
        dns: NetworkDns::default(),
        guests: sorted(&network.guests),
    }
}

/// By address, so that the order in which guests came leaves no trace.
fn sorted(guests: &[Guest]) -> Vec<Guest> {
    let mut guests = guests.to_vec();
    guests.sort_by_key(|guest| guest.address);
    guests
}
