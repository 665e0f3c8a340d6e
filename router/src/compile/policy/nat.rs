//! Static NAT, port forwards and hairpins: what becomes of addresses, as elements of maps.
//!
//! Guarantees: one rule more is one element more; a public address is translated wherever the connection comes from, so guests
//! reach their own router's public addresses too, and their replies go back through the router.

use std::net::Ipv4Addr;

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::StaticNat;
use sluice_api::types::LinkName;
use sluice_sys::nft::{
    CtStatus, Element, Entry, Expr, Ident, IpVersion, Key, L4, Rule, RuleId, Set, SetType,
};

use crate::compile::forwards::{Entries, Four};
use crate::compile::skeleton::Slot;

type Translated = (Element, Entry);

pub(super) fn add(policy: &mut Fragment<Slot>, config: &RouterDocument, forwards: &Four<Entries>) {
    destinations(policy);
    sources(policy);
    let moved = Set::map(PORT_KEY, [SetType::Ipv4, SetType::Port]);
    let kept = Set::map(PORT_KEY, [SetType::Ipv4]).interval();
    policy.table.sets.extend([
        (exact(), Set { elements: forwards.moved.clone(), ..moved }),
        (ranges(), Set { elements: forwards.kept.clone(), ..kept }),
        (inward(), Set::map([SetType::Ipv4], [SetType::Ipv4]).filled(static_in(config))),
        (outward(), Set::map(OUT_KEY, [SetType::Ipv4]).filled(static_out(config))),
        (
            hairpins(),
            Set::map([SetType::Link, SetType::Link], [SetType::Ipv4]).filled(turns(config)),
        ),
    ]);
}

const PORT_KEY: [SetType; 3] = [SetType::Ipv4, SetType::Protocol, SetType::Port];
const OUT_KEY: [SetType; 3] = [SetType::Link, SetType::Ipv4, SetType::Link];

fn exact() -> Ident {
    Ident::fixed("forward-port")
}

fn ranges() -> Ident {
    Ident::fixed("forward-ports")
}

fn inward() -> Ident {
    Ident::fixed("static-nat-in")
}

fn outward() -> Ident {
    Ident::fixed("static-nat-out")
}

fn hairpins() -> Ident {
    Ident::fixed("hairpin-nat")
}

/// Static NAT comes before port forwarding; the check lets no address have both.
fn destinations(policy: &mut Fragment<Slot>) {
    let by_address = Expr::DnatMap(IpVersion::V4, vec![Key::DestinationV4], inward());
    policy.rules(Slot::StaticIn, [rule("nat/static-in", [], by_address)]);
    for l4 in [L4::Tcp, L4::Udp] {
        let key = || vec![Key::DestinationV4, Key::L4, Key::DestinationPort];
        let (one, range) = match l4 {
            L4::Tcp => ("nat/forward-tcp", "nat/forward-range-tcp"),
            L4::Udp => ("nat/forward-udp", "nat/forward-range-udp"),
        };
        let transport = || [Expr::L4([l4].into())];
        let rules = [
            rule(one, transport(), Expr::DnatMap(IpVersion::V4, key(), exact())),
            rule(range, transport(), Expr::DnatMap(IpVersion::V4, key(), ranges())),
        ];
        policy.rules(Slot::Forwards, rules);
    }
}

/// Before source NAT: a guest with a public address of its own has that as source on the public side, and nowhere else.
fn sources(policy: &mut Fragment<Slot>) {
    let turned = [Expr::CtStatus([CtStatus::Dnat].into())];
    let rules = [
        rule(
            "nat/hairpin",
            turned,
            Expr::SnatMap(IpVersion::V4, vec![Key::Iif, Key::Oif], hairpins()),
        ),
        rule(
            "nat/static-out",
            [],
            Expr::SnatMap(IpVersion::V4, vec![Key::Iif, Key::SourceV4, Key::Oif], outward()),
        ),
    ];
    policy.rules(Slot::SourceStatic, rules);
}

fn rule(id: &'static str, matches: impl IntoIterator<Item = Expr>, action: Expr) -> Rule {
    Rule::action(RuleId::fixed(id), matches, action)
}

fn static_in(config: &RouterDocument) -> impl Iterator<Item = Translated> {
    config.role.static_nat.iter().map(|rule| {
        (
            [rule.public.into()].into(),
            Entry::of([rule.guest.into()], RuleId::of("static-nat", &rule.id)),
        )
    })
}

/// A guest's connections keep their public address whichever public link they leave by, if that link has it.
fn static_out(config: &RouterDocument) -> impl Iterator<Item = Translated> {
    config.role.static_nat.iter().filter_map(|rule| {
        let key = [
            guest_link(config, rule)?.clone().into(),
            rule.guest.into(),
            public_link(config, rule.public)?.clone().into(),
        ];
        Some((key.into(), Entry::of([rule.public.into()], RuleId::of("static-nat", &rule.id))))
    })
}

fn guest_link<'a>(config: &'a RouterDocument, rule: &StaticNat) -> Option<&'a LinkName> {
    let network = config.role.networks.iter().find(|network| network.id == rule.network)?;
    Some(&network.link)
}

fn public_link(config: &RouterDocument, address: Ipv4Addr) -> Option<&LinkName> {
    let public = config.role.public_addresses.iter().find(|public| public.address == address)?;
    Some(&public.link)
}

/// What was turned round on one link goes back through the router, so it has the router's address as source.
fn turns(config: &RouterDocument) -> impl Iterator<Item = Translated> {
    config.role.networks.iter().map(|network| {
        let key = [network.link.clone().into(), network.link.clone().into()].into();
        (key, Entry::of([network.gateway.into()], RuleId::of("hairpin", &network.id)))
    })
}
