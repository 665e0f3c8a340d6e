//! Guest networks: the gateway is the router's own address in the network, source NAT is by a public address.

use std::net::{IpAddr, Ipv4Addr};

use super::{Scope, dhcp};
use crate::config::{
    GuestNetwork, Link, LinkRole, NetworkIpv6, RouterConfig, SourceNat, UpstreamTls, can_be_asked,
};
use crate::types::{Cidr, DomainName};

pub(super) fn check(scope: &mut Scope<'_>, router: &RouterConfig) {
    let networks = &router.networks;
    let path = |index: usize, field: &str| format!("networks[{index}].{field}");
    scope.unique(
        "network",
        "duplicate-network",
        networks.iter().enumerate().map(|(i, n)| (&n.id, path(i, "id"))),
    );
    scope.unique(
        "guest link",
        "duplicate-network",
        networks.iter().enumerate().map(|(i, n)| (&n.link, path(i, "link"))),
    );
    for (index, network) in networks.iter().enumerate() {
        link_and_gateway(scope, index, network);
        if router.vpc.is_some() && !network.ranges.is_empty() {
            let reason = "a tier of a VPC has one range";
            scope.error(path(index, "ranges"), "ranges-of-a-tier", reason);
        }
        if let Some(wanted) = &network.ipv6 {
            ipv6(scope, index, network, wanted);
        }
        if let Some(nat) = &network.source_nat {
            source_nat(scope, index, nat);
        }
        handed_out_routes(scope, index, network);
        dhcp::check(scope, index, network);
    }
    name_service(scope, router);
}

fn link_and_gateway(scope: &mut Scope<'_>, index: usize, network: &GuestNetwork) {
    let base = format!("networks[{index}]");
    for (place, span) in network.spans().enumerate() {
        let at = place.checked_sub(1).map(|further| format!("{base}.ranges[{further}]"));
        addresses(scope, &at.unwrap_or_else(|| base.clone()), span);
    }
    ranges(scope, &base, network);
    let Some(link) = scope.link(&network.link, &format!("{base}.link")) else { return };
    if link.role != LinkRole::Guest {
        let reason = format!("link {} is not a guest link", link.name);
        scope.error(format!("{base}.link"), "link-role", reason);
    }
    for (place, span) in network.spans().enumerate() {
        let at = place.checked_sub(1).map(|further| format!("{base}.ranges[{further}]"));
        held(scope, &at.unwrap_or_else(|| base.clone()), link, span);
    }
}

fn addresses(scope: &mut Scope<'_>, path: &str, (cidr, gateway): (Cidr, Ipv4Addr)) {
    if !cidr.is_ipv4() {
        let reason = "the guest network must be an IPv4 network";
        scope.error(format!("{path}.cidr"), "family", reason);
    } else if !cidr.usable_for_host(IpAddr::V4(gateway)) {
        let reason = format!("gateway {gateway} is not a host address of {cidr}");
        scope.error(format!("{path}.gateway"), "gateway-outside", reason);
    }
}

/// The router has `gateway` on `link`, and the link's network there is `cidr`.
fn held(scope: &mut Scope<'_>, path: &str, link: &Link, (cidr, gateway): (Cidr, Ipv4Addr)) {
    let held = link.addresses.iter().find(|address| address.ip() == IpAddr::V4(gateway));
    match held {
        None => {
            let reason = format!("gateway {gateway} is not an address of link {}", link.name);
            scope.error(format!("{path}.gateway"), "gateway-missing", reason);
        }
        Some(address) if address.network() != cidr => {
            let reason = format!("link {} has {address}, which is not in {cidr}", link.name);
            scope.error(format!("{path}.cidr"), "network-mismatch", reason);
        }
        Some(_) => {}
    }
}

/// Most further ranges of one network.
const MAX_RANGES: usize = 15;

/// Ranges tell whose an address is, so none overlaps another.
fn ranges(scope: &mut Scope<'_>, base: &str, network: &GuestNetwork) {
    at_most(scope, &format!("{base}.ranges"), network.ranges.len(), MAX_RANGES);
    for (place, range) in network.ranges.iter().enumerate() {
        let mut before = network.spans().take(place + 1);
        if let Some((other, _)) = before.find(|(other, _)| other.overlaps(&range.cidr)) {
            let reason = format!("{} overlaps {other} of the same network", range.cidr);
            scope.error(format!("{base}.ranges[{place}].cidr"), "overlap", reason);
        }
    }
}

/// Addresses are made of prefixes of 64 bits only (RFC 4291 2.5.1).
fn ipv6(scope: &mut Scope<'_>, index: usize, network: &GuestNetwork, wanted: &NetworkIpv6) {
    let at = |field: &str| format!("networks[{index}].ipv6.{field}");
    let NetworkIpv6 { cidr, gateway } = wanted;
    if cidr.is_ipv4() {
        return scope.error(at("cidr"), "family", format!("{cidr} is not an IPv6 network"));
    }
    if cidr.prefix() != 64 {
        let reason = format!("{cidr} is not 64 bits long: guests could make no addresses of it");
        scope.error(at("cidr"), "invalid-value", reason);
    }
    let gateway = IpAddr::V6(*gateway);
    if !cidr.contains(gateway) {
        let reason = format!("gateway {gateway} is not an address of {cidr}");
        return scope.error(at("gateway"), "gateway-outside", reason);
    }
    let Some(link) = scope.links.get(&network.link).copied() else { return };
    match link.addresses.iter().find(|address| address.ip() == gateway) {
        None => {
            let reason = format!("gateway {gateway} is not an address of link {}", link.name);
            scope.error(at("gateway"), "gateway-missing", reason);
        }
        Some(address) if address.network() != *cidr => {
            let reason = format!("link {} has {address}, which is not in {cidr}", link.name);
            scope.error(at("cidr"), "network-mismatch", reason);
        }
        Some(_) => {}
    }
}

fn source_nat(scope: &mut Scope<'_>, index: usize, nat: &SourceNat) {
    let at = |field: &str| format!("networks[{index}].source_nat.{field}");
    let Some(link) = scope.link(&nat.link, &at("link")) else { return };
    if link.role != LinkRole::Public {
        scope.error(at("link"), "link-role", format!("link {} is not a public link", link.name));
    }
    if !link.addresses.iter().any(|address| address.ip() == IpAddr::V4(nat.address)) {
        let reason = format!("{} is not an address of link {}", nat.address, link.name);
        scope.error(at("address"), "not-own-address", reason);
    }
}

fn handed_out_routes(scope: &mut Scope<'_>, index: usize, network: &GuestNetwork) {
    for (position, route) in network.dhcp.routes.iter().enumerate() {
        let at = |field: &str| format!("networks[{index}].dhcp.routes[{position}].{field}");
        if !route.destination.is_ipv4() {
            scope.error(at("destination"), "family", "option 121 carries IPv4 networks only");
        }
        if !network.has_host(route.via) {
            let reason = format!("{} is not a host address of {}", route.via, network.spans_text());
            scope.error(at("via"), "unreachable", reason);
        }
    }
}

/// Most resolvers in one list.
const MAX_RESOLVERS: usize = 4;
/// Most names with resolvers of their own.
const MAX_ZONES: usize = 32;
/// Most further sources of one network.
const MAX_CLIENTS: usize = 16;

fn name_service(scope: &mut Scope<'_>, router: &RouterConfig) {
    resolvers(scope, "dns.upstreams", &router.dns.upstreams);
    let zones = &router.dns.forward_zones;
    at_most(scope, "dns.forward_zones", zones.len(), MAX_ZONES);
    scope.unique(
        "zone",
        "duplicate-zone",
        zones.iter().enumerate().map(|(i, z)| (&z.zone, format!("dns.forward_zones[{i}].zone"))),
    );
    for (index, zone) in zones.iter().enumerate() {
        let path = format!("dns.forward_zones[{index}]");
        resolvers(scope, &format!("{path}.upstreams"), &zone.upstreams);
        terms(scope, &path, &zone.upstreams, zone.tls.as_ref());
        hidden(scope, &path, router, &zone.zone);
    }
    for (index, network) in router.networks.iter().enumerate() {
        let path = format!("networks[{index}].dns");
        resolvers(scope, &format!("{path}.upstreams"), &network.dns.upstreams);
        terms(scope, &path, &network.dns.upstreams, network.dns.tls.as_ref());
        let path = format!("networks[{index}].dns.clients");
        at_most(scope, &path, network.dns.clients.len(), MAX_CLIENTS);
    }
}

/// The router answers for the whole of a guest domain itself, and asks nobody about names in it.
fn hidden(scope: &mut Scope<'_>, path: &str, router: &RouterConfig, zone: &DomainName) {
    let is_in = |domain: &DomainName| {
        let above = zone.as_str().strip_suffix(domain.as_str());
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    };
    if let Some(network) = router.networks.iter().find(|network| is_in(&network.domain)) {
        let reason = format!(
            "{zone} is in {}, the domain of guests: nobody else is asked about it",
            network.domain
        );
        scope.warning(format!("{path}.zone"), "forward-hidden", reason);
    }
}

/// Terms are for the resolvers that they stand beside.
fn terms(scope: &mut Scope<'_>, path: &str, own: &[IpAddr], tls: Option<&UpstreamTls>) {
    if tls.is_some() && own.is_empty() {
        let reason = "there are no resolvers of its own that could be asked over TLS";
        scope.error(format!("{path}.tls"), "tls-without-resolvers", reason);
    }
}

fn at_most(scope: &mut Scope<'_>, path: &str, count: usize, most: usize) {
    if count > most {
        scope.error(path, "too-many", format!("{count} entries are more than {most}"));
    }
}

fn resolvers(scope: &mut Scope<'_>, path: &str, list: &[IpAddr]) {
    if list.len() > MAX_RESOLVERS {
        let reason = format!("{} resolvers are more than {MAX_RESOLVERS}", list.len());
        scope.error(path, "too-many", reason);
    }
    scope.unique(
        "resolver",
        "duplicate-resolver",
        list.iter().enumerate().map(|(i, a)| (*a, format!("{path}[{i}]"))),
    );
    for (index, resolver) in list.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let own = scope.all_links.iter().any(|l| l.addresses.iter().any(|a| a.ip() == *resolver));
        if own {
            let reason =
                format!("{resolver} is the router itself: queries would go round in a loop");
            scope.error(&at, "resolver-loop", reason);
        }
        if !can_be_asked(*resolver) {
            scope.error(at, "invalid-value", format!("{resolver} cannot be a resolver"));
        }
    }
}
