//! Guest networks: the gateway is the router's own address in the network, source NAT is by a public address.

use std::net::IpAddr;

use super::Scope;
use crate::config::{GuestNetwork, LinkRole, SourceNat};

pub(super) fn check(scope: &mut Scope<'_>) {
    let networks = &scope.config.networks;
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
        if let Some(nat) = &network.source_nat {
            source_nat(scope, index, nat);
        }
        handed_out_routes(scope, index, network);
    }
    upstreams(scope);
}

fn link_and_gateway(scope: &mut Scope<'_>, index: usize, network: &GuestNetwork) {
    let at = |field: &str| format!("networks[{index}].{field}");
    if !network.cidr.is_ipv4() {
        scope.error(at("cidr"), "family", "the guest network must be an IPv4 network");
    } else if !network.cidr.usable_for_host(network.gateway_ip()) {
        let reason =
            format!("gateway {} is not a host address of {}", network.gateway, network.cidr);
        scope.error(at("gateway"), "gateway-outside", reason);
    }
    let Some(link) = scope.link(&network.link, &at("link")) else { return };
    if link.role != LinkRole::Guest {
        scope.error(at("link"), "link-role", format!("link {} is not a guest link", link.name));
    }
    let held = link.addresses.iter().find(|address| address.ip() == network.gateway_ip());
    match held {
        None => {
            let reason =
                format!("gateway {} is not an address of link {}", network.gateway, link.name);
            scope.error(at("gateway"), "gateway-missing", reason);
        }
        Some(address) if address.network() != network.cidr => {
            let reason =
                format!("link {} has {address}, which is not in {}", link.name, network.cidr);
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
        if !network.cidr.usable_for_host(IpAddr::V4(route.via)) {
            let reason = format!("{} is not a host address of {}", route.via, network.cidr);
            scope.error(at("via"), "unreachable", reason);
        }
    }
}

fn upstreams(scope: &mut Scope<'_>) {
    let upstreams = &scope.config.dns.upstreams;
    if upstreams.len() > 4 {
        scope.error(
            "dns.upstreams",
            "too-many",
            format!("{} resolvers are more than 4", upstreams.len()),
        );
    }
    scope.unique(
        "resolver",
        "duplicate-resolver",
        upstreams.iter().enumerate().map(|(i, a)| (*a, format!("dns.upstreams[{i}]"))),
    );
    for (index, upstream) in upstreams.iter().enumerate() {
        let own =
            scope.config.links.iter().any(|l| l.addresses.iter().any(|a| a.ip() == *upstream));
        if own {
            let reason =
                format!("{upstream} is the router itself: queries would go round in a loop");
            scope.error(format!("dns.upstreams[{index}]"), "resolver-loop", reason);
        }
        if upstream.is_unspecified() || upstream.is_multicast() {
            scope.error(
                format!("dns.upstreams[{index}]"),
                "invalid-value",
                format!("{upstream} cannot be a resolver"),
            );
        }
    }
}
