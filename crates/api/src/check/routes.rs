//! Routes: each destination once per metric, and a next hop that is on the link.

use super::Scope;
use crate::config::Route;
use crate::types::Cidr;

pub(super) fn check(scope: &mut Scope<'_>) {
    let routes = &scope.config.routes;
    scope.unique(
        "route to",
        "duplicate-route",
        routes.iter().enumerate().map(|(i, route)| {
            (Key(route.destination, route.metric), format!("routes[{i}].destination"))
        }),
    );
    for (index, route) in routes.iter().enumerate() {
        next_hop(scope, index, route);
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
    } else if !link.addresses.iter().any(|address| address.network().contains(via)) {
        let reason = format!("{via} is in no network of link {}", link.name);
        scope.error(path, "unreachable", reason);
    }
}
