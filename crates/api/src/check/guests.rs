//! Guests: inside their network, and nothing given twice.

use std::fmt::{self, Display, Formatter};
use std::net::Ipv4Addr;

use super::{Scope, metadata};
use crate::config::{Guest, GuestNetwork, RouterConfig};
use crate::types::{HostName, ObjectId};

/// Most guests in one configuration; a /16 is the largest network that the guide's setups use.
const MAX_GUESTS: usize = 65_534;

/// Most further addresses of one guest.
const MAX_SECONDARY: usize = 64;

pub(super) fn check(scope: &mut Scope<'_>, config: &RouterConfig) {
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
    // on a segment of its own a MAC may be used again (IEEE 802), as by a VM's NICs on sub-ports of one trunk
    scope.unique(
        "MAC address",
        "duplicate-mac",
        all(config.networks.iter(), "mac", |network, guest| Within(&network.id, guest.mac)),
    );
    scope.unique("address", "duplicate-address", addresses(&config.networks));
    scope.unique(
        "host name",
        "duplicate-hostname",
        all(config.networks.iter(), "hostname", |network, guest| {
            Within(&network.id, &guest.hostname)
        }),
    );
    for (index, network) in config.networks.iter().enumerate() {
        for (position, guest) in network.guests.iter().enumerate() {
            let at = |field| At { network: index, guest: position, field };
            place(scope, at, network, guest, &config.hostname);
            metadata::check(scope, index, position, guest);
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

/// Every address of every guest.
fn addresses(networks: &[GuestNetwork]) -> impl Iterator<Item = (Within<'_, Ipv4Addr>, At)> {
    networks.iter().enumerate().flat_map(|(index, network)| {
        network.guests.iter().enumerate().flat_map(move |(position, guest)| {
            let at = move |field| At { network: index, guest: position, field };
            let own = (Within(&network.id, guest.address), at("address"));
            let more = guest.secondary_addresses.iter();
            let more =
                more.map(move |more| (Within(&network.id, *more), at("secondary_addresses")));
            std::iter::once(own).chain(more)
        })
    })
}

/// A value that is unique in one network only.
#[derive(PartialEq, Eq, Hash)]
struct Within<'a, T>(&'a ObjectId, T);

impl<T: Display> Display for Within<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} of network {}", self.1, self.0)
    }
}

fn place(
    scope: &mut Scope<'_>,
    at: impl Fn(&'static str) -> At,
    network: &GuestNetwork,
    guest: &Guest,
    router: &HostName,
) {
    let own = std::iter::once((guest.address, "address"));
    let more = guest.secondary_addresses.iter().map(|more| (*more, "secondary_addresses"));
    for (address, field) in own.chain(more) {
        if !network.has_host(address) {
            let reason = format!("{address} is not a host address of {}", network.spans_text());
            scope.error(at(field).to_string(), "outside-network", reason);
        }
        if network.is_gateway(address) {
            let reason = format!("{address} is the gateway of network {}", network.id);
            scope.error(at(field).to_string(), "duplicate-address", reason);
        }
    }
    if guest.secondary_addresses.len() > MAX_SECONDARY {
        let count = guest.secondary_addresses.len();
        let reason = format!("{count} further addresses are more than {MAX_SECONDARY}");
        scope.error(at("secondary_addresses").to_string(), "too-many", reason);
    }
    if guest.hostname.as_str() == HostName::DATA_SERVER {
        let reason = format!("{} is where guests find the router in each domain", guest.hostname);
        scope.error(at("hostname").to_string(), "reserved-name", reason);
    } else if guest.hostname == *router {
        let reason =
            format!("{} is the router's own name; the guest's wins in DNS", guest.hostname);
        scope.warning(at("hostname").to_string(), "router-name", reason);
    }
}
