//! Uplinks: each is a public link, once, with a next hop that it can reach.

use std::net::{IpAddr, Ipv4Addr};

use super::Scope;
use super::routes::reaches;
use crate::config::{Link, LinkRole, RouterConfig, UplinkProbe};

/// Most uplinks; each has a mark and a routing table.
const MOST: usize = 64;

pub(super) fn check(scope: &mut Scope<'_>, router: &RouterConfig) {
    let uplinks = || router.uplinks.iter().enumerate();
    if router.uplinks.len() > MOST {
        let reason = format!("{} uplinks are more than {MOST}", router.uplinks.len());
        return scope.error("uplinks", "too-many", reason);
    }
    let at = |index: usize, field: &str| format!("uplinks[{index}].{field}");
    scope.unique("link", "duplicate-id", uplinks().map(|(i, up)| (&up.link, at(i, "link"))));
    for (index, up) in uplinks() {
        let Some(link) = scope.link(&up.link, &at(index, "link")) else { continue };
        if link.role != LinkRole::Public {
            let reason = format!("link {} is not a public link", link.name);
            scope.error(at(index, "link"), "link-role", reason);
        }
        gateway(scope, link, &at(index, "gateway"), IpAddr::V4(up.gateway));
        if let Some(address) = up.gateway_ipv6 {
            gateway(scope, link, &at(index, "gateway_ipv6"), IpAddr::V6(address));
        }
        if let Some(wanted) = &up.probe {
            probe(scope, &at(index, "probe"), wanted, up.gateway_ipv6.is_some());
        }
        if let Some(address) = up.source_nat {
            source_nat(scope, router, link, &at(index, "source_nat"), address);
        }
    }
}

fn gateway(scope: &mut Scope<'_>, link: &Link, path: &str, gateway: IpAddr) {
    if link.addresses.iter().any(|address| address.ip() == gateway) {
        scope.error(path, "own-address", format!("{gateway} is the router's own address"));
    } else if !reaches(link, gateway) {
        let reason = format!("{gateway} is in no network of link {}", link.name);
        scope.error(path, "unreachable", reason);
    }
}

fn probe(scope: &mut Scope<'_>, at: &str, probe: &UplinkProbe, ipv6: bool) {
    if let Some((place, target)) = probe.ipv6().filter(|_| !ipv6) {
        let reason = format!("{target} is asked by IPv6, which does not leave by this uplink");
        scope.error(format!("{at}.targets[{place}]"), "no-ipv6", reason);
    }
    for (field, code, reason) in probe.faults() {
        scope.error(format!("{at}.{field}"), code, reason);
    }
}

fn source_nat(
    scope: &mut Scope<'_>,
    router: &RouterConfig,
    link: &Link,
    at: &str,
    address: Ipv4Addr,
) {
    if !link.addresses.iter().any(|own| own.ip() == IpAddr::V4(address)) {
        let reason = format!("{address} is not an address of link {}", link.name);
        scope.error(at, "not-own-address", reason);
    }
    if let Some(rule) = router.static_nat.iter().find(|rule| rule.public == address) {
        let reason = format!("{address} is used by static NAT {}", rule.id);
        scope.error(at, "address-in-use", reason);
    }
}
