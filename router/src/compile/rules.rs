//! Filter and NAT rules: the one table `inet sluice`.
//!
//! Guarantees:
//! - nothing comes in unless a rule here names it: the policy of input and forward is drop;
//! - the API is reachable by the control link alone, from the configured managers alone;
//! - guests reach the outside only where their network's egress policy allows it, and never another guest network;
//! - replies to what was allowed pass, in both directions;
//! - every rule counts and has an id, the last ones too, so each dropped packet has an owner.
//!
//! The chains are the same for every router of the same control link; what differs from network to network is elements
//! of sets and maps, so that adding a network changes elements only.

use std::collections::{BTreeMap, BTreeSet};

use sluice_api::config::{EgressPolicy, GuestNetwork, LinkRole};
use sluice_api::types::{LinkName, Port};
use sluice_api::{AGENT_PORT, RouterConfig};
use sluice_sys::nft::{
    Chain, ChainKind, CtState, Element, ElementValue, Expr, Hook, HookPoint, IcmpType, Ident, Key,
    L4, LinkSelector, Map, Net, Policy, Ports, Rule, RuleId, Set, SetType, Table, Verdict,
};

/// Order of our filter chains: where iptables has its filter table.
const FILTER: i32 = 0;
/// Order of source NAT: where iptables has it.
const SOURCE_NAT: i32 = 100;

const DHCP_SERVER: Port = Port::fixed(67);
const DNS: Port = Port::fixed(53);

pub(super) fn table(config: &RouterConfig) -> Table {
    let chains = [
        (
            "filter-input",
            base(ChainKind::Filter, HookPoint::Input, FILTER, Policy::Drop, input(config)),
        ),
        (
            "filter-forward",
            base(ChainKind::Filter, HookPoint::Forward, FILTER, Policy::Drop, forward()),
        ),
        (
            "filter-output",
            base(ChainKind::Filter, HookPoint::Output, FILTER, Policy::Accept, Vec::new()),
        ),
        (
            "nat-postrouting",
            base(ChainKind::Nat, HookPoint::Postrouting, SOURCE_NAT, Policy::Accept, source_nat()),
        ),
    ];
    Table {
        chains: chains.map(|(name, chain)| (Ident::fixed(name), chain)).into(),
        sets: sets(config),
        maps: BTreeMap::from([(snat_map(), snat_elements(config))]),
    }
}

fn base(
    kind: ChainKind,
    point: HookPoint,
    priority: i32,
    policy: Policy,
    rules: Vec<Rule>,
) -> Chain {
    Chain { hook: Some(Hook { kind, point, priority, policy }), rules }
}

fn guest_links() -> Ident {
    Ident::fixed("guest-links")
}

fn egress_links() -> Ident {
    Ident::fixed("egress-links")
}

fn snat_map() -> Ident {
    Ident::fixed("snat-by-link")
}

fn accept(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Accept)
}

fn discard(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Drop)
}

fn established() -> Expr {
    Expr::CtState(BTreeSet::from([CtState::Established, CtState::Related]))
}

fn invalid() -> Expr {
    Expr::CtState(BTreeSet::from([CtState::Invalid]))
}

fn icmp(kinds: impl Into<BTreeSet<IcmpType>>) -> Expr {
    Expr::Icmp(kinds.into())
}

fn input(config: &RouterConfig) -> Vec<Rule> {
    let guests = || Expr::Iif(LinkSelector::Set(guest_links()));
    let neighbours = [IcmpType::NeighbourSolicitation, IcmpType::NeighbourAdvertisement];
    let mut rules = vec![
        accept("input/loopback", [Expr::Iif(LinkSelector::Loopback)]),
        accept("input/established", [established()]),
        discard("input/invalid", [invalid()]),
        accept("input/neighbours", [icmp(neighbours)]),
    ];
    rules.extend(control(config));
    rules.extend([
        accept("input/dhcp", [guests(), udp_to(DHCP_SERVER)]),
        accept("input/dns-udp", [guests(), udp_to(DNS)]),
        accept("input/dns-tcp", [guests(), tcp_to(DNS)]),
        accept("input/ping", [guests(), icmp([IcmpType::EchoRequest])]),
        accept("input/ping-v6", [guests(), icmp([IcmpType::EchoRequestV6])]),
        discard("input/drop", []),
    ]);
    rules
}

fn udp_to(port: Port) -> Expr {
    Expr::DestinationPort(L4::Udp, Ports::One(port))
}

fn tcp_to(port: Port) -> Expr {
    Expr::DestinationPort(L4::Tcp, Ports::One(port))
}

/// The API from each of the managers' networks, or from anywhere on the link when none is named.
fn control(config: &RouterConfig) -> Vec<Rule> {
    let link = || Expr::Iif(LinkSelector::One(config.control.link.clone()));
    let api = tcp_to(AGENT_PORT);
    if config.control.managers.is_empty() {
        return vec![accept("input/api", [link(), api])];
    }
    let managers: BTreeSet<_> = config.control.managers.iter().collect();
    managers
        .into_iter()
        .map(|network| {
            accept("input/api", [link(), Expr::Source(Net::Cidr(*network)), api.clone()])
        })
        .collect()
}

fn forward() -> Vec<Rule> {
    let pair = Expr::In(vec![Key::Iif, Key::Oif], egress_links());
    let new = Expr::CtState(BTreeSet::from([CtState::New]));
    vec![
        Rule { id: RuleId::fixed("forward/mss"), exprs: vec![Expr::ClampMss, Expr::Counter] },
        accept("forward/established", [established()]),
        discard("forward/invalid", [invalid()]),
        accept("forward/egress", [pair, new]),
        discard("forward/drop", []),
    ]
}

fn source_nat() -> Vec<Rule> {
    let by_links = Expr::SnatMap(vec![Key::Iif, Key::Oif], snat_map());
    vec![Rule::action(RuleId::fixed("nat/source"), [], by_links)]
}

fn sets(config: &RouterConfig) -> BTreeMap<Ident, Set> {
    let guests = config.networks.iter().map(|network| Element(vec![link(&network.link)]));
    let egress = config
        .networks
        .iter()
        .filter(|network| network.egress == EgressPolicy::Allow)
        .flat_map(|network| outside(config, network))
        .map(|(inside, outside)| Element(vec![link(inside), link(outside)]));
    [
        (guest_links(), Set { key: vec![SetType::Link], elements: guests.collect() }),
        (
            egress_links(),
            Set { key: vec![SetType::Link, SetType::Link], elements: egress.collect() },
        ),
    ]
    .into()
}

fn link(name: &LinkName) -> ElementValue {
    ElementValue::Link(name.clone())
}

/// The public links that a network's guests may leave by: that of its source NAT, or all when it has none.
fn outside<'a>(
    config: &'a RouterConfig,
    network: &'a GuestNetwork,
) -> Vec<(&'a LinkName, &'a LinkName)> {
    let public = config.links.iter().filter(|link| link.role == LinkRole::Public);
    public
        .map(|link| &link.name)
        .filter(|name| network.source_nat.as_ref().is_none_or(|nat| nat.link == **name))
        .map(|name| (&network.link, name))
        .collect()
}

fn snat_elements(config: &RouterConfig) -> Map {
    let elements = config.networks.iter().filter_map(|network| {
        let nat = network.source_nat.as_ref()?;
        let key = Element(vec![link(&network.link), link(&nat.link)]);
        Some((key, Element(vec![ElementValue::Ipv4(nat.address)])))
    });
    Map {
        key: vec![SetType::Link, SetType::Link],
        value: vec![SetType::Ipv4],
        elements: elements.collect(),
    }
}
