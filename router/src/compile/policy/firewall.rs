//! The firewall of isolated networks: rules on the public address and port, judged as the connection came in; and the networks'
//! exceptions to their egress policy.
//!
//! Guarantees: what no rule names is dropped; each rule is at a place of its own in the chain of its address, so a change of one
//! touches that chain alone; where a network spends no address on source NAT, no exception lets a guest leave with an inside one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::{EgressPolicy, EgressRule, FirewallRule, GuestNetwork, LinkRole};
use sluice_sys::nft::{
    CtStatus, Element, ElementValue, Expr, Ident, IpVersion, Key, LinkSelector, Rule, RuleId, Set,
    SetType, Verdict,
};

use super::traffic::{self, View};
use super::words::{discard, new};
use crate::compile::networks::is_hidden;
use crate::compile::skeleton::Slot;

pub(super) fn add(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    public(policy, config);
    egress(policy, config);
}

pub(super) fn by_address() -> Ident {
    Ident::fixed("firewall-by-address")
}

fn by_link() -> Ident {
    Ident::fixed("egress-by-link")
}

/// Connections from outside: to a guest behind a public address, or to the address itself.
fn public(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let mut rules: BTreeMap<Ipv4Addr, Vec<Rule>> = BTreeMap::new();
    for rule in &config.role.firewall {
        rules.entry(rule.public).or_default().extend(firewall_rules(rule));
    }
    let mut elements = Vec::new();
    for (address, rules) in rules {
        let Some(name) = address_chain(address) else { continue };
        let verdict = ElementValue::Verdict(Verdict::Jump(name.clone()));
        elements.push((Element::from([address.into()]), Element::from([verdict])));
        policy.chain(name, rules);
    }
    policy.set(by_address(), Set::map([SetType::Ipv4], [SetType::Verdict]).mapping(elements));
    let judged = || Expr::Vmap(vec![Key::OriginalDestinationV4], by_address());
    let translated = Expr::CtStatus(BTreeSet::from([CtStatus::Dnat]));
    let rules = [
        Rule {
            id: RuleId::fixed("forward/firewall"),
            exprs: vec![new(), translated.clone(), judged()],
        },
        Rule::verdict(RuleId::fixed("forward/not-let-in"), [new(), translated], Verdict::Drop),
    ];
    policy.rules(Slot::ForwardPolicy, rules);
    let icmp = Expr::Protocol(BTreeSet::from([sluice_sys::nft::Protocol::ICMP]));
    let rule = Rule { id: RuleId::fixed("input/firewall"), exprs: vec![icmp, new(), judged()] };
    policy.rules(Slot::InputPolicy, [rule]);
}

/// `fw-198-51-100-11`; always valid, and never longer than that of the longest address.
fn address_chain(address: Ipv4Addr) -> Option<Ident> {
    Ident::try_from(format!("fw-{}", address.to_string().replace('.', "-"))).ok()
}

fn firewall_rules(rule: &FirewallRule) -> Vec<Rule> {
    let id = RuleId::of("firewall", &rule.id);
    combine(
        &id,
        &traffic::networks(&rule.sources, Expr::Source),
        &traffic::matches(&rule.traffic, View::Outside),
        &Verdict::Accept,
    )
}

/// A rule for each pair of a network and a way in which the traffic matches that one packet can be of.
pub(super) fn combine(
    id: &RuleId,
    networks: &[Option<Expr>],
    ways: &[Vec<Expr>],
    verdict: &Verdict,
) -> Vec<Rule> {
    let each = networks.iter().flat_map(|network| ways.iter().map(move |way| (network, way)));
    each.filter_map(|(network, way)| {
        let matches = traffic::of_one_packet(network.iter().chain(way).cloned().collect())?;
        Some(Rule::verdict(id.clone(), matches, verdict.clone()))
    })
    .collect()
}

/// Connections of guests: the exceptions of their network, then its policy.
fn egress(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let (mut elements, mut addressed) = (Vec::new(), Vec::new());
    for network in &config.role.networks {
        // where the policy lets all leave, a rule with a helper is no exception to it
        let lets =
            |rule: &EgressRule| network.egress == EgressPolicy::Allow && rule.helper.is_some();
        let own = config.role.egress_rules.iter();
        let own = own.filter(|rule| rule.network == network.id && !lets(rule));
        let rules: Vec<Rule> = own.flat_map(|rule| exceptions(network, rule)).collect();
        if rules.is_empty() {
            continue;
        }
        let name = Ident::of_link("egress", &network.link);
        let verdict = ElementValue::Verdict(Verdict::Jump(name.clone()));
        elements.push((Element::from([network.link.clone().into()]), Element::from([verdict])));
        // whatever a rule allows, an address outside is needed to leave with
        let first = (network.egress == EgressPolicy::Deny && is_hidden(network)).then(|| {
            addressed.push(network);
            asks_address()
        });
        policy.chain(name, first.into_iter().chain(rules).collect());
    }
    own_addresses(policy, config, &addressed);
    policy.set(by_link(), Set::map([SetType::Link], [SetType::Verdict]).mapping(elements));
    let links = config.links.iter().filter(|link| link.role == LinkRole::Public);
    let links = links.map(|link| [link.name.clone().into()].into());
    policy.set(public_links(), Set::of([SetType::Link]).with(links));
    let outward = Expr::Oif(LinkSelector::Set(public_links()));
    let asked = vec![new(), outward, Expr::Vmap(vec![Key::Iif], by_link())];
    let rule = Rule { id: RuleId::fixed("forward/egress-rules"), exprs: asked };
    policy.rules(Slot::ForwardPolicy, [rule]);
}

fn asks_address() -> Rule {
    let asked = [Expr::Version(IpVersion::V4), Expr::Verdict(Verdict::Jump(own_address()))];
    Rule { id: RuleId::fixed("forward/own-address"), exprs: asked.into() }
}

fn own_address() -> Ident {
    Ident::fixed("own-address")
}

/// Of these networks the guests with static NAT are asked about the rules, all others are lost.
fn own_addresses(policy: &mut Fragment<Slot>, config: &RouterDocument, networks: &[&GuestNetwork]) {
    if networks.is_empty() {
        return;
    }
    let has = config.role.static_nat.iter().filter_map(|rule| {
        let network = networks.iter().find(|network| network.id == rule.network)?;
        let public = config.role.public_addresses.iter().find(|it| it.address == rule.public)?;
        let ends = [network.link.clone().into(), rule.guest.into(), public.link.clone().into()];
        Some(Element::from(ends))
    });
    let guests = Ident::fixed("own-addresses");
    policy.set(guests.clone(), Set::of([SetType::Link, SetType::Ipv4, SetType::Link]).with(has));
    let known = Expr::In(vec![Key::Iif, Key::SourceV4, Key::Oif], guests);
    let goes_on = Rule::verdict(RuleId::fixed("forward/has-address"), [known], Verdict::Return);
    policy.chain(own_address(), vec![goes_on, discard("forward/no-address", [])]);
}

pub(super) fn public_links() -> Ident {
    Ident::fixed("public-links")
}

/// Where the policy is `deny` a rule lets through, where it is `allow` it drops.
fn exceptions(network: &GuestNetwork, rule: &EgressRule) -> Vec<Rule> {
    let verdict = match network.egress {
        EgressPolicy::Allow => Verdict::Drop,
        EgressPolicy::Deny => Verdict::Accept,
    };
    let id = RuleId::of("egress", &rule.id);
    traffic::pairs(&rule.sources, &rule.destinations)
        .flat_map(|(source, destination)| {
            let source = source.map(|cidr| traffic::net(cidr, Expr::Source));
            let destination = destination.map(|cidr| traffic::net(cidr, Expr::Destination));
            let ways = traffic::matches(&rule.traffic, View::Inside);
            let ways: Vec<Vec<Expr>> = ways
                .into_iter()
                .map(|way| destination.iter().cloned().chain(way).collect())
                .collect();
            combine(&id, &[source], &ways, &verdict)
        })
        .collect()
}
