//! Guest networks: policy, source NAT, DHCP and guests.

use std::net::{IpAddr, Ipv6Addr};

use sluice_api::config::{Guest, GuestNetwork, NetworkIpv6, SourceNat};
use sluice_api::types::Cidr;

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
        ranges: network.ranges.clone(),
        ipv6: network.ipv6.and_then(ipv6),
        domain: network.domain.clone(),
        acl: network.acl.clone(),
        egress: network.egress,
        source_nat,
        dhcp: network.dhcp.clone(),
        dns: network.dns.clone(),
        guests: sorted(&network.guests),
    }
}

/// The router has the first address.
pub(super) fn ipv6(cidr: Cidr) -> Option<NetworkIpv6> {
    let IpAddr::V6(network) = cidr.network() else { return None };
    let gateway = Ipv6Addr::from_bits(network.to_bits() + 1);
    Some(NetworkIpv6 { cidr, gateway })
}

/// By address, so that the order in which guests came leaves no trace.
fn sorted(guests: &[Guest]) -> Vec<Guest> {
    let mut guests = guests.to_vec();
    guests.sort_by_key(|guest| guest.address);
    guests
}
