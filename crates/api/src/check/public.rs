//! Public addresses: each is the router's own, and serves purposes that do not exclude each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::Scope;
use crate::config::{
    EgressRule, FirewallRule, GuestNetwork, Helper, Ipv6FirewallRule, LinkRole, PortForward,
    RouterConfig, StaticNat, Traffic,
};
use crate::types::{Cidr, ObjectId, PortRange};

/// Most rules of one kind in one configuration; as JSON they are close to the largest body.
const MAX_RULES: usize = 131_072;
/// Most ports that forwards make others of, together: each takes the memory of a rule.
const MAX_PLACES: u64 = 131_072;

pub(super) fn check(scope: &mut Scope<'_>, router: &RouterConfig) {
    if too_many(scope, router) {
        return;
    }
    ids(scope, router);
    addresses(scope, router);
    let known = Known::new(router);
    for (index, rule) in router.firewall.iter().enumerate() {
        firewall(scope, &known, index, rule);
    }
    for (index, rule) in router.ipv6_firewall.iter().enumerate() {
        ipv6_firewall(scope, &known, index, rule);
    }
    for (index, rule) in router.egress_rules.iter().enumerate() {
        egress(scope, &known, index, rule);
    }
    static_nat(scope, &known, router);
    forwards(scope, &known, &router.port_forwards);
}

/// What rules refer to.
struct Known<'a> {
    addresses: BTreeSet<Ipv4Addr>,
    networks: BTreeMap<&'a ObjectId, &'a GuestNetwork>,
}

impl<'a> Known<'a> {
    fn new(router: &'a RouterConfig) -> Self {
        Self {
            addresses: router.public_addresses.iter().map(|public| public.address).collect(),
            networks: router.networks.iter().map(|network| (&network.id, network)).collect(),
        }
    }

    fn public(&self, scope: &mut Scope<'_>, path: impl Fn() -> String, address: Ipv4Addr) {
        if !self.addresses.contains(&address) {
            let reason = format!("{address} is not one of the public addresses");
            scope.error(path(), "unknown-public-address", reason);
        }
    }

    fn network(
        &self,
        scope: &mut Scope<'_>,
        path: impl Fn() -> String,
        id: &ObjectId,
    ) -> Option<&'a GuestNetwork> {
        let found = self.networks.get(id).copied();
        if found.is_none() {
            scope.error(path(), "unknown-network", format!("there is no network {id}"));
        }
        found
    }

    fn guest(&self, scope: &mut Scope<'_>, list: &str, network: &ObjectId, guest: Ipv4Addr) {
        let Some(network) = self.network(scope, || format!("{list}.network"), network) else {
            return;
        };
        if !network.has_host(guest) {
            let reason = format!("{guest} is not a host address of {}", network.spans_text());
            scope.error(format!("{list}.guest"), "outside-network", reason);
        } else if network.is_gateway(guest) {
            let reason = format!("{guest} is the router itself: the connection would be a loop");
            scope.error(format!("{list}.guest"), "own-address", reason);
        }
    }
}

fn too_many(scope: &mut Scope<'_>, router: &RouterConfig) -> bool {
    let lists = [
        ("firewall", router.firewall.len()),
        ("ipv6_firewall", router.ipv6_firewall.len()),
        ("egress_rules", router.egress_rules.len()),
        ("static_nat", router.static_nat.len()),
        ("port_forwards", router.port_forwards.len()),
    ];
    let long = lists.into_iter().filter(|(_, length)| *length > MAX_RULES);
    let long: Vec<_> = long.collect();
    for (list, length) in &long {
        scope.error(*list, "too-many", format!("{length} rules are more than {MAX_RULES}"));
    }
    !long.is_empty()
}

/// The place of an id, in words only where they are needed: there are a hundred thousand of them.
struct IdOf(&'static str, usize);

impl std::fmt::Display for IdOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}].id", self.0, self.1)
    }
}

fn ids(scope: &mut Scope<'_>, router: &RouterConfig) {
    fn each<'a>(
        list: &'static str,
        ids: impl Iterator<Item = &'a ObjectId> + 'a,
    ) -> impl Iterator<Item = (&'a ObjectId, IdOf)> + 'a {
        ids.enumerate().map(move |(index, id)| (id, IdOf(list, index)))
    }
    let (what, code) = ("id", "duplicate-id");
    scope.unique(
        what,
        code,
        each("public_addresses", router.public_addresses.iter().map(|r| &r.id)),
    );
    scope.unique(what, code, each("firewall", router.firewall.iter().map(|rule| &rule.id)));
    scope.unique(what, code, each("ipv6_firewall", router.ipv6_firewall.iter().map(|r| &r.id)));
    scope.unique(what, code, each("egress_rules", router.egress_rules.iter().map(|rule| &rule.id)));
    scope.unique(what, code, each("static_nat", router.static_nat.iter().map(|rule| &rule.id)));
    scope.unique(what, code, each("port_forwards", router.port_forwards.iter().map(|r| &r.id)));
}

fn addresses(scope: &mut Scope<'_>, router: &RouterConfig) {
    let all = || router.public_addresses.iter().enumerate();
    scope.unique(
        "address",
        "duplicate-address",
        all().map(|(index, public)| (public.address, format!("public_addresses[{index}].address"))),
    );
    for (index, public) in all() {
        let at = |field: &str| format!("public_addresses[{index}].{field}");
        let Some(link) = scope.link(&public.link, &at("link")) else { continue };
        if link.role != LinkRole::Public {
            let reason = format!("link {} is not a public link", link.name);
            scope.error(at("link"), "link-role", reason);
        }
        if !link.addresses.iter().any(|address| address.ip() == IpAddr::V4(public.address)) {
            let reason = format!("{} is not an address of link {}", public.address, link.name);
            scope.error(at("address"), "not-own-address", reason);
        }
    }
}

fn firewall(scope: &mut Scope<'_>, known: &Known<'_>, index: usize, rule: &FirewallRule) {
    let at = format!("firewall[{index}]");
    known.public(scope, || format!("{at}.public"), rule.public);
    only_v4(scope, &at, &rule.sources);
    traffic(scope, &at, &rule.traffic);
    helper(scope, &at, rule.helper, &rule.traffic);
}

fn ipv6_firewall(scope: &mut Scope<'_>, known: &Known<'_>, index: usize, rule: &Ipv6FirewallRule) {
    let at = format!("ipv6_firewall[{index}]");
    for (position, source) in rule.sources.iter().enumerate().filter(|(_, one)| one.is_ipv4()) {
        let reason = format!("{source} is not an IPv6 network, as the guests' addresses are");
        scope.error(format!("{at}.sources[{position}]"), "family", reason);
    }
    traffic(scope, &at, &rule.traffic);
    let Some(network) = known.network(scope, || format!("{at}.network"), &rule.network) else {
        return;
    };
    let Some(own) = &network.ipv6 else {
        let reason = format!("network {} has no IPv6", network.id);
        return scope.error(format!("{at}.network"), "no-ipv6", reason);
    };
    inside(scope, &format!("{at}.destinations"), own.cidr, &rule.destinations);
}

/// Addresses of guests are those of their network's prefix.
fn inside(scope: &mut Scope<'_>, path: &str, own: Cidr, networks: &[Cidr]) {
    let within = |one: &Cidr| own.contains(one.network()) && own.contains(one.last());
    for (position, network) in networks.iter().enumerate().filter(|(_, one)| !within(one)) {
        let reason = format!("{network} is outside {own}");
        scope.error(format!("{path}[{position}]"), "outside-network", reason);
    }
}

fn egress(scope: &mut Scope<'_>, known: &Known<'_>, index: usize, rule: &EgressRule) {
    let at = format!("egress_rules[{index}]");
    if let Some(network) = known.network(scope, || format!("{at}.network"), &rule.network) {
        for (position, source) in rule.sources.iter().enumerate() {
            if source.is_ipv4() && !network.spans().any(|(cidr, _)| cidr.overlaps(source)) {
                let all = network.spans_text();
                let reason = format!("{source} is outside {all} of network {}", network.id);
                scope.error(format!("{at}.sources[{position}]"), "outside-network", reason);
            }
        }
    }
    let met = |source: &Cidr| {
        rule.destinations.iter().any(|destination| destination.is_ipv4() == source.is_ipv4())
    };
    let both = !rule.sources.is_empty() && !rule.destinations.is_empty();
    if both && !rule.sources.iter().any(met) {
        let reason = "no destination is of the version of IP of a source: no packet is like that";
        scope.error(format!("{at}.destinations"), "family", reason);
    }
    traffic(scope, &at, &rule.traffic);
    helper(scope, &at, rule.helper, &rule.traffic);
}

/// A public IPv4 address is reached from IPv4 addresses alone.
fn only_v4(scope: &mut Scope<'_>, at: &str, networks: &[Cidr]) {
    for (position, network) in networks.iter().enumerate().filter(|(_, one)| !one.is_ipv4()) {
        let reason = format!("{network} is not an IPv4 network, as the public address is");
        scope.error(format!("{at}.sources[{position}]"), "family", reason);
    }
}

pub(super) fn traffic(scope: &mut Scope<'_>, at: &str, traffic: &Traffic) {
    if let Traffic::Icmp { kind: None, code: Some(_) } = traffic {
        scope.error(format!("{at}.traffic.icmp.code"), "code-without-type", "a code needs a type");
    }
}

/// A helper reads the connections of its own transport protocol and of stated ports.
pub(super) fn helper(scope: &mut Scope<'_>, at: &str, helper: Option<Helper>, traffic: &Traffic) {
    if let Some(helper) = helper.filter(|helper| helper.ports_of(traffic).is_none()) {
        let carrier = if helper == Helper::Tftp { "udp" } else { "tcp" };
        let reason = format!("{} helps connections of {carrier} to stated ports", helper.as_str());
        scope.error(format!("{at}.helper"), "helper-traffic", reason);
    }
}

fn static_nat(scope: &mut Scope<'_>, known: &Known<'_>, router: &RouterConfig) {
    let all = || router.static_nat.iter().enumerate();
    scope.unique(
        "static NAT address",
        "address-in-use",
        all().map(|(index, rule)| (rule.public, format!("static_nat[{index}].public"))),
    );
    scope.unique(
        "guest address",
        "address-in-use",
        all().map(|(index, rule)| {
            (GuestKey(&rule.network, rule.guest), format!("static_nat[{index}].guest"))
        }),
    );
    let forwarded: BTreeMap<_, _> =
        router.port_forwards.iter().map(|rule| (rule.public, &rule.id)).collect();
    let hiding: BTreeMap<_, _> = router
        .networks
        .iter()
        .filter_map(|network| Some((network.source_nat.as_ref()?.address, &network.id)))
        .collect();
    for (index, rule) in all() {
        let at = format!("static_nat[{index}]");
        known.public(scope, || format!("{at}.public"), rule.public);
        known.guest(scope, &at, &rule.network, rule.guest);
        excluded(scope, &at, rule, forwarded.get(&rule.public), "port forward");
        excluded(scope, &at, rule, hiding.get(&rule.public), "source NAT of network");
    }
}

fn excluded(scope: &mut Scope<'_>, at: &str, rule: &StaticNat, by: Option<&&ObjectId>, what: &str) {
    if let Some(by) = by {
        let reason = format!("{} is used by {what} {by}", rule.public);
        scope.error(format!("{at}.public"), "address-in-use", reason);
    }
}

#[derive(PartialEq, Eq, Hash)]
struct GuestKey<'a>(&'a ObjectId, Ipv4Addr);

impl std::fmt::Display for GuestKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of network {}", self.1, self.0)
    }
}

fn forwards(scope: &mut Scope<'_>, known: &Known<'_>, rules: &[PortForward]) {
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("port_forwards[{index}]");
        known.public(scope, || format!("{at}.public"), rule.public);
        known.guest(scope, &at, &rule.network, rule.guest);
        only_v4(scope, &at, &rule.sources);
        let last =
            rule.guest_port.map(|first| u32::from(first.get()) + u32::from(rule.ports.len()) - 1);
        if last.is_some_and(|last| last > u32::from(u16::MAX)) {
            let reason = format!("{} ports from there on go beyond 65535", rule.ports.len());
            scope.error(format!("{at}.guest_port"), "invalid-value", reason);
        }
    }
    let moved: u64 = rules.iter().map(|rule| u64::from(places(rule))).sum();
    if moved > MAX_PLACES {
        let reason = format!("{moved} ports that become others are more than {MAX_PLACES}");
        scope.error("port_forwards", "too-many", reason);
    }
    for (later, first) in overlapping(rules) {
        let reason = format!("ports {} are taken by port forward {first}", later.1.ports);
        scope.error(format!("port_forwards[{}].ports", later.0), "overlap", reason);
    }
}

/// The ports of a range each have a place of their own in the kernel where they become others.
fn places(rule: &PortForward) -> u32 {
    let moves = rule.guest_port.is_some_and(|first| first != rule.ports.first());
    if moves { rule.ports.len().into() } else { 1 }
}

/// Forwards whose ports one before has, sorted by address, protocol and first port: one can only overlap one that began
/// before it and has not ended.
fn overlapping(rules: &[PortForward]) -> Vec<((usize, &PortForward), &ObjectId)> {
    let mut sorted: Vec<(usize, &PortForward)> = rules.iter().enumerate().collect();
    sorted.sort_by_key(|(index, rule)| (rule.public, rule.protocol, rule.ports, *index));
    let mut found = Vec::new();
    let mut widest: Option<(&PortForward, PortRange)> = None;
    for entry in sorted {
        let rule = entry.1;
        match widest {
            Some((before, ports))
                if (before.public, before.protocol) == (rule.public, rule.protocol)
                    && ports.overlaps(rule.ports) =>
            {
                found.push((entry, &before.id));
                if rule.ports.last() > ports.last() {
                    widest = Some((rule, rule.ports));
                }
            }
            _ => widest = Some((rule, rule.ports)),
        }
    }
    found
}
