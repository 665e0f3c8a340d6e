//! Guests: inside their network, and nothing given twice.

use std::net::IpAddr;

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
            place(scope, &format!("networks[{index}].guests[{position}]"), network, guest);
        }
    }
}

/// One key per guest, with the path of the field it comes from.
fn all<'a, K>(
    networks: impl Iterator<Item = &'a GuestNetwork>,
    field: &'a str,
    key: impl Fn(&'a GuestNetwork, &'a Guest) -> K + Copy,
) -> impl Iterator<Item = (K, String)> {
    networks.enumerate().flat_map(move |(index, network)| {
        network.guests.iter().enumerate().map(move |(position, guest)| {
            (key(network, guest), format!("networks[{index}].guests[{position}].{field}"))
        })
    })
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a>(&'a ObjectId, std::net::Ipv4Addr);

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of network {}", self.1, self.0)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(&'a HostName, &'a DomainName);

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

fn place(scope: &mut Scope<'_>, path: &str, network: &GuestNetwork, guest: &Guest) {
    if !network.cidr.usable_for_host(IpAddr::V4(guest.address)) {
        let reason = format!("{} is not a host address of {}", guest.address, network.cidr);
        scope.error(format!("{path}.address"), "outside-network", reason);
    }
    if guest.address == network.gateway {
        let reason = format!("{} is the gateway of network {}", guest.address, network.id);
        scope.error(format!("{path}.address"), "duplicate-address", reason);
    }
    if guest.hostname == scope.config.hostname {
        let reason =
            format!("{} is the router's own name; the guest's wins in DNS", guest.hostname);
        scope.warning(format!("{path}.hostname"), "router-name", reason);
    }
}
