//! What the DHCP process is told: the part of the configuration that it answers from, and nothing else.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sluice_api::RouterConfig;
use sluice_api::config::{ClasslessRoute, Guest, GuestNetwork};
use sluice_api::types::{Cidr, DomainName, HostName, LeaseSeconds, LinkName, MacAddr, Mtu};

/// Everything the DHCP process needs of one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhcpSlice {
    /// Networks served, at most one per link.
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
    /// Who is answered.
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
}

/// The DHCP process's part of `config`; the same configuration gives the same slice.
pub fn slice(config: &RouterConfig) -> DhcpSlice {
    DhcpSlice {
        networks: config.networks.iter().map(|network| of_network(config, network)).collect(),
    }
}

fn of_network(config: &RouterConfig, network: &GuestNetwork) -> NetworkSlice {
    NetworkSlice {
        link: network.link.clone(),
        cidr: network.cidr,
        gateway: network.gateway,
        resolvers: resolvers(network),
        domain: network.domain.clone(),
        mtu: network.dhcp.mtu.unwrap_or_else(|| link_mtu(config, &network.link)),
        lease_seconds: network.dhcp.lease_seconds,
        routes: network.dhcp.routes.clone(),
        guests: network.guests.iter().map(Reservation::from).collect(),
    }
}

fn resolvers(network: &GuestNetwork) -> Vec<Ipv4Addr> {
    if network.dhcp.resolvers.is_empty() {
        vec![network.gateway]
    } else {
        network.dhcp.resolvers.clone()
    }
}

fn link_mtu(config: &RouterConfig, name: &LinkName) -> Mtu {
    // the check refuses a network on an unknown link, so the default is never seen
    config.links.iter().find(|link| link.name == *name).map_or(Mtu::ETHERNET, |link| link.mtu)
}

impl From<&Guest> for Reservation {
    fn from(guest: &Guest) -> Self {
        Self { mac: guest.mac, address: guest.address, hostname: guest.hostname.clone() }
    }
}
