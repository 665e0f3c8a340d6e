//! Guests: inside their network, and nothing given twice.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr};

use super::Scope;
use crate::config::{Guest, GuestNetwork};
use crate::types::{DomainName, HostName, ObjectId};

/// Most guests in one configuration; a /16 is the largest network that the guide's setups use.
const MAX_GUESTS: usize = 65_534;

pub(super) fn check(scope: &mut Scope<'_>) {
    let config = scope.config;
    let total: usize = config.networks.iter().map(|network| network.guests.len()).sum();
    if total > MAX_GUESTS {
        scope.error("networks", "too-many", format!("{total} guests are more than {MAX_GUESTS}"));
        return;
    }
    scope.unique(
        "guest",
        "duplicate-guest",
        all(config.networks.iter(), "id", |_, guest| &guest.id),
    );
    scope.unique(
        "MAC address",
        "duplicate-mac",
        all(config.networks.iter(), "mac", |_, guest| guest.mac),
    );
    scope.unique(
        "address",
        "duplicate-address",
        all(config.networks.iter(), "address", |network, guest| Key(&network.id, guest.address)),
    );
    scope.unique(
        "host name",
        "duplicate-hostname",
        all(config.networks.iter(), "hostname", |network, guest| {
            Name(&guest.hostname, &network.domain)
        }),
    );
    for (index, network) in config.networks.iter().enumerate() {
        for (position, guest) in network.guests.iter().enumerate() {
            place(scope, |field| At { network: index, guest: position, field }, network, guest);
        }
    }
}

/// A field of a guest. Its path becomes text for a finding only, since there may be ten thousand guests and no finding.
struct At {
    network: usize,
    guest: usize,
    field: &'static str,
}

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "networks[{}].guests[{}].{}", self.network, self.guest, self.field)
    }
}

/// One key per guest, with the field it comes from.
fn all<'a, K>(
    networks: impl Iterator<Item = &'a GuestNetwork>,
    field: &'static str,
    key: impl Fn(&'a GuestNetwork, &'a Guest) -> K + Copy,
) -> impl Iterator<Item = (K, At)> {
    networks.enumerate().flat_map(move |(index, network)| {
        network.guests.iter().enumerate().map(move |(position, guest)| {
            (key(network, guest), At { network: index, guest: position, field })
        })
    })
}

#[derive(PartialEq, Eq, Hash)]
struct Key<'a>(&'a ObjectId, Ipv4Addr);

impl Display for Key<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} of network {}", self.1, self.0)
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Name<'a>(&'a HostName, &'a DomainName);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

fn place(
    scope: &mut Scope<'_>,
    at: impl Fn(&'static str) -> At,
    network: &GuestNetwork,
    guest: &Guest,
) {
    if !network.cidr.usable_for_host(IpAddr::V4(guest.address)) {
        let reason = format!("{} is not a host address of {}", guest.address, network.cidr);
        scope.error(at("address").to_string(), "outside-network", reason);
    }
    if guest.address == network.gateway {
        let reason = format!("{} is the gateway of network {}", guest.address, network.id);
        scope.error(at("address").to_string(), "duplicate-address", reason);
    }
    if guest.hostname.as_str() == HostName::DATA_SERVER {
        let reason = format!("{} is where guests find the router in each domain", guest.hostname);
        scope.error(at("hostname").to_string(), "reserved-name", reason);
    } else if guest.hostname == scope.config.hostname {
        let reason =
            format!("{} is the router's own name; the guest's wins in DNS", guest.hostname);
        scope.warning(at("hostname").to_string(), "router-name", reason);
    }
}
