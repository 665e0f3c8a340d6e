//! Access control lists of a VPC's tiers and private gateways: two chains a list, judged on inside addresses after translation.
//!
//! Guarantees: rules stand in the order of their numbers; a rule's networks stand at the rule's own place; what comes into a tier
//! needs an ingress rule of its list; what leaves it may go while the list has no egress rule, and needs one when it has;
//! a private gateway without a list lets nothing pass. Connections within one tier need no rule.

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::{Acl, AclAction, AclDirection, AclRule, Vpc};
use sluice_api::types::{LinkName, ObjectId};
use sluice_sys::nft::{
    Element, ElementValue, Expr, Ident, Key, Rule, RuleId, Set, SetType, Verdict,
};

use super::firewall::combine;
use super::traffic::{self, View};
use super::words::{discard, new};
use crate::compile::skeleton::Slot;

pub(super) fn add(policy: &mut Fragment<Slot>, config: &RouterDocument, vpc: &Vpc) {
    for acl in &vpc.acls {
        add_list(policy, acl);
    }
    let tiers = config.role.networks.iter().map(|tier| tier.acl.is_none());
    if tiers.chain(vpc.private_gateways.iter().map(|gateway| gateway.acl.is_none())).any(|it| it) {
        policy.chain(nothing(), vec![discard("acl/nothing-passes", [])]);
    }
    let mut leaving = Vec::new();
    let mut entering = Vec::new();
    for tier in &config.role.networks {
        if let Some(chain) = tier.acl.as_ref().and_then(|acl| name("acl-out", acl)) {
            leaving.push(element(&tier.link, Verdict::Jump(chain)));
        }
        let chain = tier.acl.as_ref().and_then(|acl| name("acl-in", acl));
        entering.push(element(&tier.link, Verdict::Goto(chain.unwrap_or_else(nothing))));
    }
    for gateway in &vpc.private_gateways {
        let chain = |prefix| gateway.acl.as_ref().and_then(|acl| name(prefix, acl));
        leaving
            .push(element(&gateway.link, Verdict::Jump(chain("acl-out").unwrap_or_else(nothing))));
        entering
            .push(element(&gateway.link, Verdict::Goto(chain("acl-in").unwrap_or_else(nothing))));
    }
    let map = || Set::map([SetType::Link], [SetType::Verdict]);
    policy.set(by_source(), map().mapping(leaving));
    policy.set(by_destination(), map().mapping(entering));
    policy.set(same_tier(), Set::of([SetType::Link, SetType::Link]).with(turns(config)));
    let asked = |id, key, map| Rule {
        id: RuleId::fixed(id),
        exprs: vec![new(), Expr::Vmap(vec![key], map)],
    };
    let within = [new(), Expr::In(vec![Key::Iif, Key::Oif], same_tier())];
    let rules = [
        Rule::verdict(RuleId::fixed("forward/same-tier"), within, Verdict::Accept),
        asked("forward/acl-out", Key::Iif, by_source()),
        asked("forward/acl-in", Key::Oif, by_destination()),
    ];
    policy.rules(Slot::ForwardPolicy, rules);
}

pub(super) fn by_source() -> Ident {
    Ident::fixed("acl-out-by-link")
}

fn by_destination() -> Ident {
    Ident::fixed("acl-in-by-link")
}

fn same_tier() -> Ident {
    Ident::fixed("same-tier")
}

fn nothing() -> Ident {
    Ident::fixed("acl-nothing")
}

fn name(prefix: &str, acl: &ObjectId) -> Option<Ident> {
    super::short(prefix, acl.as_str())
}

fn element(link: &LinkName, verdict: Verdict) -> (Element, Element) {
    ([link.clone().into()].into(), [ElementValue::Verdict(verdict)].into())
}

fn turns(config: &RouterDocument) -> impl Iterator<Item = Element> {
    let links = config.role.networks.iter().map(|tier| &tier.link);
    links.map(|link| Element::from([link.clone().into(), link.clone().into()]))
}

fn add_list(policy: &mut Fragment<Slot>, acl: &Acl) {
    let mut sorted: Vec<&AclRule> = acl.rules.iter().collect();
    sorted.sort_by_key(|rule| rule.number);
    let of = |direction| sorted.iter().filter(move |rule| rule.direction == direction);
    // what may leave goes on to be judged where it enters
    let mut leaving: Vec<Rule> = of(AclDirection::Egress)
        .flat_map(|rule| rules(acl, rule, Expr::Destination, Verdict::Return))
        .collect();
    if !leaving.is_empty() {
        leaving.push(discard("acl/no-egress-rule", []));
    }
    let mut entering: Vec<Rule> = of(AclDirection::Ingress)
        .flat_map(|rule| rules(acl, rule, Expr::Source, Verdict::Accept))
        .collect();
    entering.push(discard("acl/no-ingress-rule", []));
    for (prefix, rules) in [("acl-out", leaving), ("acl-in", entering)] {
        if let Some(name) = name(prefix, &acl.id) {
            policy.chain(name, rules);
        }
    }
}

fn rules(
    acl: &Acl,
    rule: &AclRule,
    other_end: fn(sluice_sys::nft::Net) -> Expr,
    allowed: Verdict,
) -> Vec<Rule> {
    let verdict = match rule.action {
        AclAction::Allow => allowed,
        AclAction::Deny => Verdict::Drop,
    };
    // ids are unique in their list only
    let id = super::rule_id("acl", acl.id.as_str(), rule.id.as_str());
    combine(
        &id,
        &traffic::networks(&rule.networks, other_end),
        &traffic::matches(&rule.traffic, View::Inside),
        &verdict,
    )
}
