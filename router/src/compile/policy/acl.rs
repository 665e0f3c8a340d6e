//! Access control lists of a VPC's tiers and private gateways: two chains a list, judged on inside addresses after translation.
//!
//! Guarantees: rules stand in the order of their numbers; a rule's networks stand at the rule's own place; what comes into a tier
//! needs an ingress rule of its list; what leaves it may go while the list has no egress rule, and needs one when it has;
//! a private gateway without a list lets nothing pass. Connections within one tier need no rule.

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::{Acl, AclAction, AclDirection, AclRule, LinkRole, Vpc};
use sluice_api::types::{LinkName, ObjectId};
use sluice_sys::nft::{
    CtStatus, Element, ElementValue, Entry, Expr, Ident, IpVersion, Ipsec, IpsecWay, Key,
    LinkSelector, Rule, RuleId, Set, SetType, Verdict,
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
        let acl = tier.acl.as_ref();
        if let Some(chain) = acl.and_then(|acl| name("acl-out", acl)) {
            leaving.push(element(&tier.link, acl, Verdict::Jump(chain)));
        }
        let chain = acl.and_then(|acl| name("acl-in", acl)).unwrap_or_else(nothing);
        entering.push(element(&tier.link, acl, Verdict::Goto(chain)));
    }
    for gateway in &vpc.private_gateways {
        let acl = gateway.acl.as_ref();
        let chain = |prefix| acl.and_then(|acl| name(prefix, acl)).unwrap_or_else(nothing);
        leaving.push(element(&gateway.link, acl, Verdict::Jump(chain("acl-out"))));
        entering.push(element(&gateway.link, acl, Verdict::Goto(chain("acl-in"))));
    }
    let map = || Set::map([SetType::Link], [SetType::Verdict]);
    policy.set(by_source(), map().filled(leaving));
    policy.set(by_destination(), map().filled(entering));
    policy.set(same_tier(), Set::of([SetType::Link, SetType::Link]).with(turns(config)));
    from_outside(policy, config);
    let asked = |id, key, map| Rule {
        id: RuleId::fixed(id),
        exprs: vec![new(), Expr::Vmap(vec![key], map)],
    };
    let within = [new(), Expr::In(vec![Key::Iif, Key::Oif], same_tier())];
    let outside = LinkSelector::Set(outside());
    let rules = [
        Rule {
            id: RuleId::fixed("forward/from-outside"),
            exprs: vec![
                new(),
                Expr::Iif(outside),
                Expr::Version(IpVersion::V4),
                Expr::Verdict(Verdict::Jump(untranslated())),
            ],
        },
        Rule::verdict(RuleId::fixed("forward/same-tier"), within, Verdict::Accept),
        asked("forward/acl-out", Key::Iif, by_source()),
        asked("forward/acl-in", Key::Oif, by_destination()),
    ];
    policy.rules(Slot::ForwardPolicy, rules);
}

/// Inside addresses of IPv4 are private: what comes for one by a public link has been translated, or came out of a tunnel.
fn from_outside(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let links = config.links.iter().filter(|link| link.role == LinkRole::Public);
    let links = links.map(|link| [link.name.clone().into()].into());
    policy.set(outside(), Set::of([SetType::Link]).with(links));
    let passes = |id, by| Rule::verdict(RuleId::fixed(id), [by], Verdict::Return);
    let mut rules = vec![passes("acl/translated", Expr::CtStatus([CtStatus::Dnat].into()))];
    if !config.role.vpn.is_empty() {
        rules.push(passes("acl/tunnelled", Expr::Ipsec(IpsecWay::In, Ipsec::Some)));
    }
    rules.push(discard("acl/not-translated", []));
    policy.chain(untranslated(), rules);
}

fn outside() -> Ident {
    Ident::fixed("outside-links")
}

fn untranslated() -> Ident {
    Ident::fixed("acl-outside")
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

/// A link leads to the chain of its list, whose id the element has.
fn element(link: &LinkName, acl: Option<&ObjectId>, verdict: Verdict) -> (Element, Entry) {
    let value = [ElementValue::Verdict(verdict)].into();
    let id = acl.map(|acl| RuleId::of("acl-list", acl));
    ([link.clone().into()].into(), Entry { value, id })
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
    // one that no packet can be of is a rule all the same: then nothing may leave
    if of(AclDirection::Egress).next().is_some() {
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
