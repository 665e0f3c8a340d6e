//! IPv6 of guests: whose addresses they may send from, by which uplinks they may leave, and what comes in to them.
//!
//! Guarantees: guests' addresses are routed, never translated; a guest sends from its own network's prefix alone (RFC 2827);
//! what comes by a public link for a guest needs a firewall rule of the network, or, in a VPC, an ingress rule of the tier's
//! list. Errors about connections that stand pass by their state, whatever rules say (RFC 4890 4.3.1). A router without
//! IPv6 in any network has none of this, and forwards no IPv6.

use std::collections::{BTreeMap, BTreeSet};

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::{EgressPolicy, GuestNetwork, Ipv6FirewallRule, LinkRole, Traffic};
use sluice_api::types::{LinkName, ObjectId};
use sluice_sys::nft::{
    Element, ElementValue, Entry, Expr, Ident, IpVersion, Key, LinkSelector, Net, Rule, RuleId,
    Set, SetType, Verdict,
};

use super::firewall::{combine, public_links};
use super::traffic::{self, View};
use super::words::{accept, discard, new};
use crate::compile::networks::guest_links;
use crate::compile::skeleton::Slot;

pub(super) fn add(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    if config.role.networks.iter().all(|network| network.ipv6.is_none()) {
        return;
    }
    sources(policy, config);
    egress(policy, config);
    if config.role.vpc.is_none() {
        firewall(policy, config);
    }
}

fn version() -> Expr {
    Expr::Version(IpVersion::V6)
}

/// Nothing in the kernel asks where an IPv6 packet came from, as `rp_filter` does for IPv4.
fn sources(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let foreign = || discard("ipv6/foreign-source", []);
    let mut elements = Vec::new();
    for network in &config.role.networks {
        let name = Ident::of_link("source-v6", &network.link);
        let own = network.ipv6.as_ref().map(|own| {
            let id = RuleId::fixed("ipv6/own-source");
            Rule::verdict(id, [Expr::Source(Net::Cidr(own.cidr))], Verdict::Return)
        });
        policy.chain(name.clone(), own.into_iter().chain([foreign()]).collect());
        elements.push(jump(network, name));
    }
    policy.set(by_source(), Set::map([SetType::Link], [SetType::Verdict]).mapping(elements));
    let asked = vec![version(), Expr::Vmap(vec![Key::Iif], by_source())];
    let rule = Rule { id: RuleId::fixed("forward/source-v6"), exprs: asked };
    policy.rules(Slot::ForwardFirst, [rule]);
}

fn by_source() -> Ident {
    Ident::fixed("source-v6-by-link")
}

fn jump(network: &GuestNetwork, chain: Ident) -> (Element, Element) {
    let verdict = ElementValue::Verdict(Verdict::Jump(chain));
    ([network.link.clone().into()].into(), [verdict].into())
}

/// IPv6 needs no address of the uplink that it leaves by, so any that it is routed to will do, also without source NAT.
fn egress(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let links = leading_out(config);
    let allowed =
        |network: &&GuestNetwork| network.ipv6.is_some() && network.egress == EgressPolicy::Allow;
    let pairs = config.role.networks.iter().filter(allowed).flat_map(|network| {
        let id = RuleId::of("egress-policy", &network.id);
        links.iter().map(move |link| {
            let key = Element::from([network.link.clone().into(), (*link).clone().into()]);
            (key, Entry { value: Element::default(), id: Some(id.clone()) })
        })
    });
    let pairs: Vec<(Element, Entry)> = pairs.collect();
    if pairs.is_empty() {
        return;
    }
    policy.set(ways_out(), Set::of([SetType::Link, SetType::Link]).filled(pairs));
    let pair = Expr::In(vec![Key::Iif, Key::Oif], ways_out());
    policy.rules(Slot::ForwardEgress, [accept("forward/egress-v6", [version(), pair, new()])]);
}

/// The public links by which IPv6 leaves: uplinks that have it, and where there is no choice of uplinks, those of the routes.
fn leading_out(config: &RouterDocument) -> BTreeSet<&LinkName> {
    let uplinks = config.role.uplinks.iter().filter(|up| up.gateway_ipv6.is_some());
    let routed = config.routes.iter().filter(|route| !route.destination.is_ipv4());
    let is_public = |name: &&LinkName| {
        config.links.iter().any(|link| link.name == **name && link.role == LinkRole::Public)
    };
    let routed = routed.map(|route| &route.link).filter(is_public);
    uplinks.map(|up| &up.link).chain(routed).collect()
}

fn ways_out() -> Ident {
    Ident::fixed("egress-links-v6")
}

/// What comes from outside to guests of isolated networks: the chain of the network, and no further.
fn firewall(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let mut rules: BTreeMap<&ObjectId, Vec<Rule>> = BTreeMap::new();
    for rule in &config.role.ipv6_firewall {
        rules.entry(&rule.network).or_default().extend(firewall_rules(rule));
    }
    let mut elements = Vec::new();
    for network in &config.role.networks {
        if let Some(rules) = rules.remove(&network.id) {
            let name = Ident::of_link("fw-v6", &network.link);
            elements.push(jump(network, name.clone()));
            policy.chain(name, rules);
        }
    }
    policy.set(by_network(), Set::map([SetType::Link], [SetType::Verdict]).mapping(elements));
    let from_outside = || [new(), version(), Expr::Iif(LinkSelector::Set(public_links()))];
    let judged = from_outside().into_iter().chain([Expr::Vmap(vec![Key::Oif], by_network())]);
    let guests = [Expr::Oif(LinkSelector::Set(guest_links()))];
    policy.rules(
        Slot::ForwardPolicy,
        [
            Rule { id: RuleId::fixed("forward/firewall-v6"), exprs: judged.collect() },
            discard("forward/not-let-in-v6", from_outside().into_iter().chain(guests)),
        ],
    );
}

fn by_network() -> Ident {
    Ident::fixed("firewall-v6-by-link")
}

fn firewall_rules(rule: &Ipv6FirewallRule) -> Vec<Rule> {
    let mut matches = traffic::matches(&rule.traffic, View::Inside);
    if matches!(rule.traffic, Traffic::Icmp { .. }) {
        // the second of the two is ICMPv6
        matches.drain(..1);
    }
    let destinations = traffic::networks(&rule.destinations, Expr::Destination);
    let ways: Vec<Vec<Expr>> = destinations
        .iter()
        .flat_map(|network| {
            matches.iter().map(move |way| network.iter().chain(way).cloned().collect())
        })
        .collect();
    let sources = traffic::networks(&rule.sources, Expr::Source);
    combine(&RuleId::of("firewall-v6", &rule.id), &sources, &ways, &Verdict::Accept)
}
