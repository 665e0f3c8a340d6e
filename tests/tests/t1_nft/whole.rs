//! A transaction takes effect whole or not at all, however large it is and wherever the kernel refuses it.

use std::collections::BTreeMap;

use sluice_sys::nft::{
    self, Chain, ChainKind, Expr, HookPoint, L4, ObservedTables, Ports, Rule, SetType, Table,
    Verdict,
};

use crate::world::{World, base, id, named, ours, port, program};

/// A list of that many rules, beside a set.
fn list(count: u32) -> Table {
    let rule = |number: u32| {
        let to = Expr::DestinationPort(L4::Tcp, Ports::One(port(number.into())));
        Rule::verdict(id(&format!("acl/{number}")), [to], Verdict::Accept)
    };
    let rules: Vec<Rule> = (1..=count).map(rule).collect();
    let chains = named([
        ("filter-forward", base(ChainKind::Filter, HookPoint::Forward, 0, Vec::new())),
        ("acl-one", Chain { hook: None, rules }),
    ]);
    let set = nft::Set::of([SetType::Port]);
    Table { chains, sets: named([("ports", set)]), ..Table::default() }
}

fn ruleset(world: &World) -> String {
    world.ns.command([program().as_str(), "-s", "list", "ruleset"]).check().unwrap()
}

#[test]
fn a_script_of_ten_thousand_rules_that_fails_anywhere_changes_nothing() {
    let world = World::new("whole");
    world.reach(&list(3));
    let before = ruleset(&world);
    let desired = BTreeMap::from([(ours(), list(10_000))]);
    let seen: ObservedTables = world.observe();
    let script = nft::diff(&seen, &desired).render();
    let lines: Vec<&str> = script.lines().collect();
    assert!(lines.len() > 9_000, "{} lines", lines.len());
    let whole = |at: &usize| lines.get(*at).is_none_or(|line| line.starts_with("add rule"));
    for place in [1, lines.len() / 3, lines.len() - 1, lines.len()].into_iter().filter(whole) {
        let (begin, rest) = lines.split_at(place);
        let refused = ["add rule inet sluice no-such-chain accept"];
        let text = [begin, &refused, rest].concat().join("\n") + "\n";
        let loaded = world.ns.command([program().as_str(), "-f", "-"]).input(text).run().unwrap();
        assert!(!loaded.ok(), "what cannot be was taken at line {place}");
        assert!(ruleset(&world) == before, "something of it is there, refused at line {place}");
    }
    world.load(&script);
    assert!(nft::diff(&world.observe(), &desired).is_empty());
    assert!(world.handles("acl-one").len() == 10_000);
}
