//! Routes of the fake kernel.

use super::State;
use crate::model::RouteEntry;

impl State {
    /// Adds a route as `fib_create_info` and `ip6_route_info_create` judge it.
    pub(super) fn add_route(&mut self, route: &RouteEntry) -> Result<(), i32> {
        let name = route.link.as_str();
        let link = self.seen.links.get(name).ok_or(libc::ENODEV)?;
        if !link.up {
            return Err(libc::ENETDOWN);
        }
        if self.seen.routes.iter().any(|other| same_slot(other, route)) {
            return Err(libc::EEXIST);
        }
        self.usable(route)?;
        self.seen.routes.insert(route.clone());
        Ok(())
    }

    /// Puts `to` in the place of `from` (NLM_F_REPLACE), or adds it when that is gone.
    pub(super) fn change_route(&mut self, from: &RouteEntry, to: &RouteEntry) -> Result<(), i32> {
        let link = self.seen.links.get(to.link.as_str()).ok_or(libc::ENODEV)?;
        if !link.up {
            return Err(libc::ENETDOWN);
        }
        self.usable(to)?;
        self.seen.routes.remove(from);
        self.seen.routes.insert(to.clone());
        Ok(())
    }

    fn usable(&self, route: &RouteEntry) -> Result<(), i32> {
        let name = route.link.as_str();
        let on_link = |ip| {
            let own = self.seen.addresses.iter().filter(|(link, _)| link == name);
            own.into_iter().any(|(_, address)| address.network().contains(ip))
        };
        if route.via.is_some_and(|via| !on_link(via)) {
            return Err(if route.destination.is_ipv4() {
                libc::ENETUNREACH
            } else {
                libc::EHOSTUNREACH
            });
        }
        let mut own = self.seen.addresses.iter();
        if let Some(source) = route.source
            && !own.any(|(_, address)| address.ip() == source)
        {
            return Err(libc::EINVAL);
        }
        Ok(())
    }
}

/// IPv4 has one route for a destination, metric and table; IPv6 has one for each next hop besides.
fn same_slot(one: &RouteEntry, other: &RouteEntry) -> bool {
    let slot = |route: &RouteEntry| (route.table, route.destination, route.metric);
    let hop = |route: &RouteEntry| (route.via, route.link.clone());
    slot(one) == slot(other) && (one.destination.is_ipv4() || hop(one) == hop(other))
}
