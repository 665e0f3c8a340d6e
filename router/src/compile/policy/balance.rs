//! Load balancing as the packet rules see it: who may reach a balanced address, and the balancing of UDP.
//!
//! Guarantees: connections to a balanced address pass what every other connection to that address passes: in an isolated
//! network the firewall of the public address, in a VPC the access control lists of the members' tiers, asked with the
//! client's address and the members' port, as if the balancer were not there. An address within a network is reached from
//! that network alone. One rule more is one element more, and in a VPC one chain.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::balancer::{Algorithm, Balancer, Member};
use sluice_api::config::{Acl, AclAction, AclDirection, GuestNetwork, Traffic, Vpc};
use sluice_api::types::{LinkName, ObjectId, Port};
use sluice_sys::nft::{
    Element, ElementValue, Expr, Ident, IpVersion, Key, L4, Net, Ports, Rule, RuleId, Set, SetType,
    Spread, Targets, Verdict,
};

use super::traffic;
use super::words::{discard, intervals, new, span_v4};
use crate::compile::skeleton::Slot;

/// Most places of one UDP rule; weights are made smaller until they fit.
const PLACES: usize = 1024;

/// What differs between the two versions of IP.
struct Family {
    version: IpVersion,
    kind: SetType,
    destination: Key,
    public: Ident,
    inside: Ident,
    lists: Ident,
}

fn families() -> [Family; 2] {
    [
        Family {
            version: IpVersion::V4,
            kind: SetType::Ipv4,
            destination: Key::DestinationV4,
            public: Ident::fixed("balanced"),
            inside: Ident::fixed("balanced-inside"),
            lists: Ident::fixed("balanced-acl"),
        },
        Family {
            version: IpVersion::V6,
            kind: SetType::Ipv6,
            destination: Key::DestinationV6,
            public: Ident::fixed("balanced-v6"),
            inside: Ident::fixed("balanced-inside-v6"),
            lists: Ident::fixed("balanced-acl-v6"),
        },
    ]
}

impl Family {
    fn has(&self, balancer: &Balancer) -> bool {
        balancer.address.is_ipv4() == (self.version == IpVersion::V4)
    }

    fn key(&self) -> Vec<Key> {
        vec![self.destination, Key::L4, Key::DestinationPort]
    }
}

pub(super) fn add(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    for balancer in config.role.balancers.iter().filter(|it| it.is_in_kernel()) {
        spread(policy, balancer);
    }
    for family in families() {
        match &config.role.vpc {
            Some(vpc) => through_lists(policy, config, vpc, &family),
            None => through_firewall(policy, config, &family),
        }
    }
}

/// Those that a process of ours listens for.
fn listened<'a>(
    config: &'a RouterDocument,
    family: &'a Family,
) -> impl Iterator<Item = &'a Balancer> {
    config.role.balancers.iter().filter(|it| !it.is_in_kernel() && family.has(it))
}

fn tcp() -> Expr {
    Expr::L4([L4::Tcp].into())
}

/// An address in a network is for that network; a public one, which is IPv4, for whom its firewall lets in.
fn through_firewall(policy: &mut Fragment<Slot>, config: &RouterDocument, family: &Family) {
    let inside = listened(config, family)
        .filter_map(|it| Some((it, link_of(config, it.address)?)))
        .map(|(it, link)| Element([&[link.clone().into()], &*place(it).0].concat().into()));
    let key = [SetType::Link, family.kind, SetType::Protocol, SetType::Port];
    policy.set(family.inside.clone(), Set::of(key).with(inside));
    let key = [family.kind, SetType::Protocol, SetType::Port];
    policy.set(family.public.clone(), Set::of(key).with(listened(config, family).map(place)));
    let asked = [vec![Key::Iif], family.key()].concat();
    let within = [tcp(), new(), Expr::In(asked, family.inside.clone())];
    let known = || [tcp(), new(), Expr::In(family.key(), family.public.clone())];
    let accept = Rule::verdict(RuleId::fixed("input/balanced-inside"), within, Verdict::Accept);
    policy.rules(Slot::InputBalanced, [accept]);
    if family.version == IpVersion::V4 {
        let judged = Expr::Vmap(vec![Key::OriginalDestinationV4], super::firewall::by_address());
        let exprs = known().into_iter().chain([judged]).collect();
        policy.rules(Slot::InputBalanced, [Rule { id: RuleId::fixed("input/balanced"), exprs }]);
    }
    policy.rules(Slot::InputBalanced, [discard("input/balanced-not-let-in", known())]);
}

/// The guest link that has `address`, if one does.
fn link_of(config: &RouterDocument, address: IpAddr) -> Option<&LinkName> {
    let networks = config.role.networks.iter();
    let mut links = networks.map(|network| &network.link);
    links.find(|name| {
        let link = config.links.iter().find(|link| link.name == **name);
        link.is_some_and(|link| link.addresses.iter().any(|it| it.ip() == address))
    })
}

fn place(balancer: &Balancer) -> Element {
    let address = match balancer.address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => address.into(),
    };
    [address, L4::Tcp.into(), balancer.port.into()].into()
}

/// First the list of the tier that the client is in, if it is in one; then those of the members' tiers.
fn through_lists(policy: &mut Fragment<Slot>, config: &RouterDocument, vpc: &Vpc, family: &Family) {
    let mut verdicts = Vec::new();
    for balancer in listened(config, family) {
        let Some(name) = super::short("lb", balancer.id.as_str()) else { continue };
        let verdict = ElementValue::Verdict(Verdict::Goto(name.clone()));
        verdicts.push((place(balancer), Element::from([verdict])));
        let rules = judged_by_tiers(policy, config, vpc, balancer);
        policy.chain(name, rules);
    }
    let key = [family.kind, SetType::Protocol, SetType::Port];
    let places: Vec<Element> = verdicts.iter().map(|(place, _)| place.clone()).collect();
    policy.set(family.public.clone(), Set::of(key).with(places));
    policy.set(family.lists.clone(), Set::map(key, [SetType::Verdict]).mapping(verdicts));
    let leaving = Expr::Vmap(vec![Key::Iif], super::acl::by_source());
    let entering = Expr::Vmap(family.key(), family.lists.clone());
    let known = Expr::In(family.key(), family.public.clone());
    let rules = [
        Rule { id: RuleId::fixed("input/acl-out"), exprs: vec![tcp(), new(), known, leaving] },
        Rule { id: RuleId::fixed("input/acl-in"), exprs: vec![tcp(), new(), entering] },
    ];
    policy.rules(Slot::InputBalanced, rules);
}

/// The rules of a balanced address: the list of each tier with members is asked, and one that says no is the end.
fn judged_by_tiers(
    policy: &mut Fragment<Slot>,
    config: &RouterDocument,
    vpc: &Vpc,
    balancer: &Balancer,
) -> Vec<Rule> {
    let members = balancer.members.iter();
    let asked: BTreeSet<(&ObjectId, Option<&ObjectId>, Port)> = members
        .filter_map(|member| tier_of(config, member).map(|tier| (tier, member.port)))
        .map(|(tier, port)| (&tier.id, tier.acl.as_ref(), port))
        .collect();
    let mut rules = Vec::new();
    for (tier, acl, port) in &asked {
        let acl = vpc.acls.iter().find(|it| Some(&it.id) == *acl);
        let name = super::short("lb", &format!("{}/{tier}/{port}", balancer.id));
        let Some((acl, name)) = acl.zip(name) else {
            return vec![discard("acl/nothing-passes", [])];
        };
        policy.chain(name.clone(), ingress(acl, *port));
        let id = RuleId::of("balancer", &balancer.id);
        rules.push(Rule { id, exprs: vec![Expr::Verdict(Verdict::Jump(name))] });
    }
    if asked.is_empty() {
        return vec![discard("acl/nothing-passes", [])];
    }
    rules.push(Rule::verdict(RuleId::of("balancer", &balancer.id), [], Verdict::Accept));
    rules
}

fn tier_of<'a>(config: &'a RouterDocument, member: &Member) -> Option<&'a GuestNetwork> {
    config.role.networks.iter().find(|tier| tier.cidr.contains(member.address))
}

/// What a list says of connections to TCP port `port` of its tier, by their source alone.
fn ingress(acl: &Acl, port: Port) -> Vec<Rule> {
    let mut about: Vec<_> = acl
        .rules
        .iter()
        .filter(|rule| rule.direction == AclDirection::Ingress && is_about(&rule.traffic, port))
        .collect();
    about.sort_by_key(|rule| rule.number);
    let each = about.into_iter().flat_map(|rule| {
        let verdict = match rule.action {
            AclAction::Allow => Verdict::Return,
            AclAction::Deny => Verdict::Drop,
        };
        let id = super::rule_id("acl", acl.id.as_str(), rule.id.as_str());
        let sources = traffic::networks(&rule.networks, Expr::Source);
        super::firewall::combine(&id, &sources, &[Vec::new()], &verdict)
    });
    each.chain([discard("acl/no-ingress-rule", [])]).collect()
}

/// Whether a rule for `traffic` is about TCP to `port`.
fn is_about(traffic: &Traffic, port: Port) -> bool {
    match traffic {
        Traffic::All {} => true,
        Traffic::Tcp { ports } => {
            ports.is_none_or(|ports| ports.first() <= port && port <= ports.last())
        }
        Traffic::Protocol { number } => *number == 6,
        Traffic::Udp { .. } | Traffic::Icmp { .. } => false,
    }
}

/// UDP goes to members by translation; what is then forwarded is judged as any other translated connection is. Where no
/// member can take it, it stays at the address itself, where nobody listens: whom the firewall lets in is refused at once.
fn spread(policy: &mut Fragment<Slot>, balancer: &Balancer) {
    let id = RuleId::of("balancer", &balancer.id);
    let matches = [
        Expr::Destination(Net::Host(balancer.address)),
        Expr::DestinationPort(L4::Udp, Ports::One(balancer.port)),
    ];
    let spread = match balancer.algorithm {
        // the kernel does not know who has how many; turns come closest
        Algorithm::RoundRobin | Algorithm::LeastConnections => Spread::Turns,
        Algorithm::Source => Spread::SourceHash(0),
    };
    let targets = targets(balancer);
    let some = match &targets {
        Targets::V4(all) => !all.is_empty(),
        Targets::V6(all) => !all.is_empty(),
    };
    if some {
        let action = Expr::Balance(spread, targets);
        policy.rules(Slot::Balanced, [Rule::action(id, matches, action)]);
    }
    restrict(policy, balancer);
}

/// The members that may get new clients, each as often as it weighs.
fn targets(balancer: &Balancer) -> Targets {
    let able = |backup: bool| {
        let members = balancer.members.iter();
        members.filter(move |it| it.backup == backup && !it.drain && it.weight.get() > 0)
    };
    let first = able(false).next().is_none();
    let chosen: Vec<&Member> = able(first).collect();
    let places = places(&chosen);
    let each = chosen.iter().zip(places).flat_map(|(it, times)| std::iter::repeat_n(*it, times));
    match balancer.address {
        IpAddr::V4(_) => Targets::V4(each.filter_map(|it| Some((v4(it)?, it.port))).collect()),
        IpAddr::V6(_) => Targets::V6(each.filter_map(|it| Some((v6(it)?, it.port))).collect()),
    }
}

/// How many places each of `members` gets: its weight, without what all weights have in common.
fn places(members: &[&Member]) -> Vec<usize> {
    let weights = members.iter().map(|it| usize::try_from(it.weight.get()).unwrap_or(1));
    let weights: Vec<usize> = weights.collect();
    let common = weights.iter().copied().reduce(gcd).unwrap_or(1).max(1);
    let sum: usize = weights.iter().map(|weight| weight / common).sum();
    let scale = sum.div_ceil(PLACES).max(1);
    weights.iter().map(|weight| (weight / common / scale).max(1)).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn v4(member: &Member) -> Option<Ipv4Addr> {
    match member.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(member: &Member) -> Option<Ipv6Addr> {
    match member.address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

/// Who is not on the rule's own list is dropped before the firewall is asked.
fn restrict(policy: &mut Fragment<Slot>, balancer: &Balancer) {
    let Some(name) = super::short("lb-from", balancer.id.as_str()) else { return };
    if balancer.sources.is_empty() || balancer.address.is_ipv6() {
        return;
    }
    let spans = balancer.sources.iter().filter_map(span_v4);
    policy.set(name.clone(), intervals(SetType::Ipv4, spans));
    let matches = [
        new(),
        Expr::OriginalDestination(Net::Host(balancer.address)),
        Expr::OriginalDestinationPort(L4::Udp, Ports::One(balancer.port)),
        Expr::Source(Net::NotSet(IpVersion::V4, name)),
    ];
    let id = RuleId::of("balancer-sources", &balancer.id);
    policy.rules(Slot::ForwardPolicy, [Rule::verdict(id, matches, Verdict::Drop)]);
}
