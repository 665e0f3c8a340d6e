//! Routes: each destination once per metric, none in the place of the kernel's own, and a next hop that is on the link.

use std::net::IpAddr;

use super::Scope;
use crate::config::{Link, Route};
use crate::types::{Cidr, InterfaceAddress};

pub(super) fn check(scope: &mut Scope<'_>) {
    let routes = scope.routes;
    scope.unique(
        "route to",
        "duplicate-route",
        routes.iter().enumerate().map(|(i, route)| {
            (Key(route.destination, route.kernel_metric()), format!("routes[{i}].destination"))
        }),
    );
    for (index, route) in routes.iter().enumerate() {
        next_hop(scope, index, route);
        connected(scope, index, route);
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Key(Cidr, u32);

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with metric {}", self.0, self.1)
    }
}

fn next_hop(scope: &mut Scope<'_>, index: usize, route: &Route) {
    let Some(link) = scope.link(&route.link, &format!("routes[{index}].link")) else { return };
    let Some(via) = route.via else { return };
    let path = format!("routes[{index}].via");
    if via.is_ipv4() != route.destination.is_ipv4() {
        scope.error(
            path,
            "family",
            format!("{via} and {} are of different families", route.destination),
        );
    } else if link.addresses.iter().any(|address| address.ip() == via) {
        scope.error(path, "own-address", format!("{via} is the router's own address"));
    } else if !reaches(link, via) {
        let reason = format!("{via} is in no network of link {}", link.name);
        scope.error(path, "unreachable", reason);
    }
}

/// True for a next hop in a network of the link, and for one with a link-local address, where the link has IPv6: such a one is
/// on each link (RFC 4291 2.5.6).
pub(super) fn reaches(link: &Link, via: IpAddr) -> bool {
    let mut addresses = link.addresses.iter();
    match via {
        IpAddr::V6(hop) if hop.is_unicast_link_local() => {
            addresses.any(|address| address.ip().is_ipv6())
        }
        _ => addresses.any(|address| address.network().contains(via)),
    }
}

/// Metric of the route that the kernel makes of an IPv6 address (`IP6_RT_PRIO_ADDRCONF`); for IPv4 it is 0.
const IPV6_CONNECTED: u32 = 256;

/// The kernel makes a route of each address of a link, and takes no second one in its place.
fn connected(scope: &mut Scope<'_>, index: usize, route: &Route) {
    let own = if route.destination.is_ipv4() { 0 } else { IPV6_CONNECTED };
    if route.kernel_metric() != own {
        return;
    }
    let has = |address: &InterfaceAddress| {
        makes_a_route(address) && address.network() == route.destination
    };
    let links = scope.all_links;
    let Some(link) = links.iter().find(|link| link.addresses.iter().any(has)) else { return };
    let reason = format!(
        "{} with metric {own} is the kernel's own route to the network of link {}; take another metric",
        route.destination, link.name
    );
    scope.error(format!("routes[{index}].destination"), "connected-route", reason);
}

/// An IPv4 address with a prefix of 32 has no network besides itself, and no route.
fn makes_a_route(address: &InterfaceAddress) -> bool {
    matches!(address.ip(), IpAddr::V6(_)) || address.prefix() < 32
}
