//! The typed nft model against the real kernel: what is loaded is listed back as equal, whatever the expression.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use std::collections::{BTreeMap, BTreeSet};

use sluice_lab::netns::{Namespace, Topology};
use sluice_sys::nft::{
    self, Chain, ChainKind, CtState, Element, ElementValue, Expr, Family, Hook, HookPoint,
    IcmpType, Ident, Key, L4, LinkSelector, Map, Net, ObservedTables, Policy, Ports, Rule, RuleId,
    Set, SetType, Table, TableId, Verdict,
};

fn ours() -> TableId {
    TableId { family: Family::Inet, name: Ident::fixed("sluice") }
}

fn load(ns: &Namespace, script: &str) {
    ns.command(["nft", "-f", "-"]).input(script).check().unwrap();
}

fn observe(ns: &Namespace) -> ObservedTables {
    let listing = ns.command(["nft", "-j", "list", "ruleset"]).check().unwrap();
    nft::parse(listing.as_bytes(), |table| *table == ours()).unwrap().0
}

/// Brings the namespace to `table` and proves that nothing is left to do.
fn reach(ns: &Namespace, table: &Table) -> nft::Script {
    let desired = BTreeMap::from([(ours(), table.clone())]);
    let script = nft::diff(&observe(ns), &desired);
    load(ns, &script.render());
    let rest = nft::diff(&observe(ns), &desired);
    assert!(
        rest.is_empty(),
        "after\n{}\nthere is still\n{}\nin\n{}",
        script.render(),
        rest.render(),
        ns.state()
    );
    script
}

fn port(number: u64) -> sluice_api::types::Port {
    number.try_into().unwrap()
}

fn link(name: &str) -> LinkSelector {
    LinkSelector::One(name.parse().unwrap())
}

fn set(parts: &[&str]) -> Element {
    Element(parts.iter().map(|part| ElementValue::Link(part.parse().unwrap())).collect())
}

/// Every expression that the model has, one rule each.
fn every_match() -> Vec<Expr> {
    vec![
        Expr::Iif(LinkSelector::Loopback),
        Expr::Iif(link("guest0")),
        Expr::Iif(LinkSelector::Set(Ident::fixed("guest-links"))),
        Expr::Oif(link("pub0")),
        Expr::Source(Net::Cidr("10.1.1.0/24".parse().unwrap())),
        Expr::Source(Net::Cidr("10.1.1.9/32".parse().unwrap())),
        Expr::Source(Net::Cidr("2001:db8::/32".parse().unwrap())),
        Expr::Destination(Net::Host("192.0.2.7".parse().unwrap())),
        Expr::Destination(Net::Host("2001:db8::7".parse().unwrap())),
        Expr::CtState(BTreeSet::from([CtState::Invalid])),
        Expr::CtState(BTreeSet::from([CtState::New, CtState::Established, CtState::Related])),
        Expr::CtDnat,
        Expr::L4(BTreeSet::from([L4::Udp])),
        Expr::L4(BTreeSet::from([L4::Tcp, L4::Udp])),
        Expr::DestinationPort(L4::Tcp, Ports::One(port(3922))),
        Expr::DestinationPort(L4::Udp, Ports::Range(port(1000), port(2000))),
        Expr::SourcePort(L4::Udp, Ports::One(port(68))),
        Expr::Icmp(BTreeSet::from([IcmpType::EchoRequest])),
        Expr::Icmp(BTreeSet::from([
            IcmpType::NeighbourSolicitation,
            IcmpType::NeighbourAdvertisement,
            IcmpType::RouterAdvertisement,
            IcmpType::EchoRequestV6,
        ])),
        Expr::ToSelf,
        Expr::Mark { mask: 0xff, value: 0x1 },
        Expr::In(vec![Key::Iif, Key::Oif], Ident::fixed("link-pairs")),
        Expr::Vmap(vec![Key::Iif], Ident::fixed("by-link")),
    ]
}

fn rules(exprs: Vec<Expr>) -> Vec<Rule> {
    let number = |index: usize| RuleId::try_from(format!("rule/{index}")).unwrap();
    let mut rules: Vec<Rule> = exprs
        .into_iter()
        .enumerate()
        .map(|(index, expr)| Rule { id: number(index), exprs: vec![expr, Expr::Counter] })
        .collect();
    let both = BTreeSet::from([L4::Tcp, L4::Udp]);
    let dns = vec![Expr::L4(both), Expr::AnyDestinationPort(Ports::One(port(53)))];
    rules.push(Rule::verdict(RuleId::fixed("dns"), dns, Verdict::Accept));
    rules.push(Rule { id: RuleId::fixed("mss"), exprs: vec![Expr::ClampMss, Expr::Counter] });
    rules.push(Rule::verdict(
        RuleId::fixed("jump"),
        [],
        Verdict::Jump(Ident::fixed("other-chain")),
    ));
    rules.push(Rule::verdict(
        RuleId::fixed("goto"),
        [],
        Verdict::Goto(Ident::fixed("other-chain")),
    ));
    rules.push(Rule::verdict(RuleId::fixed("return"), [], Verdict::Return));
    rules.push(Rule::verdict(RuleId::fixed("drop"), [], Verdict::Drop));
    rules
}

fn base(kind: ChainKind, point: HookPoint, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { hook: Some(Hook { kind, point, priority, policy: Policy::Accept }), rules }
}

fn nat_rules() -> Vec<Rule> {
    let snat = Expr::Snat("198.51.100.10".parse().unwrap());
    let by_map = Expr::SnatMap(vec![Key::Iif, Key::Oif], Ident::fixed("snat-by-link"));
    vec![
        Rule::action(RuleId::fixed("snat"), [Expr::Oif(link("pub0"))], snat),
        Rule::action(RuleId::fixed("snat-map"), [], by_map),
    ]
}

fn everything() -> Table {
    let key = vec![Key::DestinationV4, Key::L4, Key::DestinationPort];
    let dnat =
        Rule::action(RuleId::fixed("dnat"), [], Expr::DnatMap(key, Ident::fixed("port-forwards")));
    let chains = [
        ("other-chain", Chain::default()),
        ("every-match", base(ChainKind::Filter, HookPoint::Forward, 0, rules(every_match()))),
        ("nat-out", base(ChainKind::Nat, HookPoint::Postrouting, 100, nat_rules())),
        ("nat-in", base(ChainKind::Nat, HookPoint::Prerouting, -100, vec![dnat])),
    ];
    Table {
        chains: chains.map(|(name, chain)| (Ident::fixed(name), chain)).into(),
        sets: [
            (
                Ident::fixed("guest-links"),
                Set {
                    key: vec![SetType::Link],
                    elements: [set(&["guest0"]), set(&["guest1"])].into(),
                },
            ),
            (
                Ident::fixed("link-pairs"),
                Set {
                    key: vec![SetType::Link, SetType::Link],
                    elements: [set(&["guest0", "pub0"])].into(),
                },
            ),
        ]
        .into(),
        maps: maps(),
    }
}

fn maps() -> BTreeMap<Ident, Map> {
    let jump = Element(vec![ElementValue::Verdict(Verdict::Jump(Ident::fixed("other-chain")))]);
    let address = |text: &str| ElementValue::Ipv4(text.parse().unwrap());
    let to = Element(vec![address("198.51.100.10")]);
    let from = Element(vec![
        address("198.51.100.10"),
        ElementValue::L4(L4::Tcp),
        ElementValue::Port(port(80)),
    ]);
    let inside = Element(vec![address("10.1.1.23"), ElementValue::Port(port(8080))]);
    [
        ("by-link", vec![SetType::Link], vec![SetType::Verdict], (set(&["guest0"]), jump)),
        (
            "snat-by-link",
            vec![SetType::Link, SetType::Link],
            vec![SetType::Ipv4],
            (set(&["guest0", "pub0"]), to),
        ),
        (
            "port-forwards",
            vec![SetType::Ipv4, SetType::L4, SetType::Port],
            vec![SetType::Ipv4, SetType::Port],
            (from, inside),
        ),
    ]
    .map(|(name, key, value, element)| {
        (Ident::fixed(name), Map { key, value, elements: [element].into() })
    })
    .into()
}

#[test]
fn every_expression_is_listed_back_as_it_was_loaded() {
    let mut topology = Topology::new().unwrap();
    let ns = topology.namespace("nft").unwrap();
    reach(&ns, &everything());
}

#[test]
fn a_change_touches_only_what_differs_and_keeps_counters() {
    let mut topology = Topology::new().unwrap();
    let ns = topology.namespace("nft").unwrap();
    let mut table = everything();
    reach(&ns, &table);
    let guests = table.sets.get_mut(&Ident::fixed("guest-links")).unwrap();
    guests.elements.insert(set(&["guest2"]));
    guests.elements.remove(&set(&["guest0"]));
    let script = reach(&ns, &table);
    assert_eq!(script.changes.len(), 2, "{}", script.render());
    table.chains.get_mut(&Ident::fixed("nat-out")).unwrap().rules.pop();
    table.maps.remove(&Ident::fixed("snat-by-link"));
    reach(&ns, &table);
    table.chains.remove(&Ident::fixed("every-match"));
    table.maps.remove(&Ident::fixed("by-link"));
    reach(&ns, &table);
}

#[test]
fn foreign_edits_of_ours_show_and_are_undone_and_foreign_tables_stay() {
    let mut topology = Topology::new().unwrap();
    let ns = topology.namespace("nft").unwrap();
    let table = everything();
    reach(&ns, &table);
    for edit in [
        "add rule inet sluice every-match counter drop",
        "flush chain inet sluice nat-out",
        "delete element inet sluice guest-links { \"guest0\" }",
        "add element inet sluice guest-links { \"we ird; \" }",
        "add chain inet sluice extra-1 { type filter hook input priority 5; policy drop; }",
        "add counter inet sluice spy-1",
        "add table inet foreign\nadd chain inet foreign x",
        "delete table inet sluice",
        "delete table inet sluice\nadd table inet sluice\nadd chain inet sluice every-match { type filter hook input priority 7; }",
    ] {
        load(&ns, edit);
        let desired = BTreeMap::from([(ours(), table.clone())]);
        let foreign = edit.contains("foreign");
        assert_eq!(nft::diff(&observe(&ns), &desired).is_empty(), foreign, "{edit}");
        reach(&ns, &table);
    }
    let all = ns.command(["nft", "list", "tables"]).check().unwrap();
    assert!(all.contains("inet foreign"), "{all}");
}
