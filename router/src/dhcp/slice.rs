//! What the DHCP process is told: the part of the configuration that it answers from, and nothing else.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::config::{ClasslessRoute, DhcpBoot, DhcpOption, Guest, GuestDhcp, GuestNetwork};
use sluice_api::types::{
    AddressRange, Cidr, DomainName, HostName, LeaseSeconds, LinkName, MacAddr, Mtu,
};

/// Everything the DHCP process needs of one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhcpSlice {
    /// Networks served; those on one link are ranges of one guest network, and a client of it may have an address of any.
    pub networks: Vec<NetworkSlice>,
}

/// One network on one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSlice {
    /// The link that is listened on.
    pub link: LinkName,
    /// The guests' network: options 1 and 28.
    pub cidr: Cidr,
    /// The router's address in it: option 3, server identifier and source of the replies.
    pub gateway: Ipv4Addr,
    /// Option 6.
    pub resolvers: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: DomainName,
    /// Option 26.
    pub mtu: Mtu,
    /// Option 51.
    pub lease_seconds: LeaseSeconds,
    /// Option 121, without the default route, which the server adds.
    pub routes: Vec<ClasslessRoute>,
    /// Further options, and others in place of the above. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<DhcpOption>,
    /// Where clients boot from that boot from the network. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<DhcpBoot>,
    /// Addresses that are lent to whom `guests` does not name. Default: none, and nobody else is answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<AddressRange>,
    /// Addresses that are never lent besides the guests' own. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Ipv4Addr>,
    /// Who has an address for good.
    pub guests: Vec<Reservation>,
}

/// One guest and what it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The client's Ethernet address.
    pub mac: MacAddr,
    /// Its address.
    pub address: Ipv4Addr,
    /// Option 12.
    pub hostname: HostName,
    /// It is given the default route, the resolvers and the domain; a VM has one such NIC. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub default_nic: bool,
    /// What it is told otherwise than the others. Default: nothing.
    #[serde(default, skip_serializing_if = "GuestDhcp::is_empty")]
    pub dhcp: GuestDhcp,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_yes(value: &bool) -> bool {
    *value
}

/// The DHCP process's part of `config`; the same configuration gives the same slice.
pub fn slice(config: &RouterDocument) -> DhcpSlice {
    DhcpSlice {
        networks: config
            .role
            .networks
            .iter()
            .flat_map(GuestNetwork::by_range)
            .map(|network| of_network(config, &network))
            .collect(),
    }
}

fn of_network(config: &RouterDocument, network: &GuestNetwork) -> NetworkSlice {
    NetworkSlice {
        link: network.link.clone(),
        cidr: network.cidr,
        gateway: network.gateway,
        resolvers: resolvers(network),
        domain: network.domain.clone(),
        mtu: network.dhcp.mtu.unwrap_or_else(|| link_mtu(config, &network.link)),
        lease_seconds: network.dhcp.lease_seconds,
        routes: network.dhcp.routes.clone(),
        options: network.dhcp.options.clone(),
        boot: network.dhcp.boot.clone(),
        pools: network.dhcp.pools.clone(),
        kept: kept(network),
        guests: network.guests.iter().map(Reservation::from).collect(),
    }
}

/// Addresses that guests set up themselves.
fn kept(network: &GuestNetwork) -> Vec<Ipv4Addr> {
    if network.dhcp.pools.is_empty() {
        return Vec::new();
    }
    network.guests.iter().flat_map(|guest| &guest.secondary_addresses).copied().collect()
}

fn resolvers(network: &GuestNetwork) -> Vec<Ipv4Addr> {
    if network.dhcp.resolvers.is_empty() {
        vec![network.gateway]
    } else {
        network.dhcp.resolvers.clone()
    }
}

fn link_mtu(config: &RouterDocument, name: &LinkName) -> Mtu {
    // the check refuses a network on an unknown link, so the default is never seen
    config.links.iter().find(|link| link.name == *name).map_or(Mtu::ETHERNET, |link| link.mtu)
}

impl From<&Guest> for Reservation {
    fn from(guest: &Guest) -> Self {
        Self {
            mac: guest.mac,
            address: guest.address,
            hostname: guest.hostname.clone(),
            default_nic: guest.default_nic,
            dhcp: guest.dhcp.clone(),
        }
    }
}
