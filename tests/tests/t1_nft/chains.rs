//! Chains change rule by rule, and come and go as lists of their own.

use sluice_sys::nft::{
    Chain, ChainKind, Expr, HookPoint, Ident, Key, LinkSelector, Rule, Set, SetType, Table, Verdict,
};

use crate::everything::everything;
use crate::world::{World, base, id, link, named, one};

fn acl_rule(number: u32) -> Rule {
    let name = format!("guest{}", number % 7).parse().unwrap();
    let matches = [Expr::Iif(LinkSelector::One(name))];
    Rule::verdict(id(&format!("acl/{number}")), matches, Verdict::Accept)
}

/// Two lists, each in a chain of its own, which a map of links leads to.
fn lists(first: &[u32], second: Option<&[u32]>) -> Table {
    let chain = |numbers: &[u32]| Chain {
        hook: None,
        rules: numbers.iter().map(|number| acl_rule(*number)).collect(),
    };
    let jump = |name| one(Verdict::Jump(Ident::fixed(name)).into());
    let mut map = Set::map([SetType::Link], [SetType::Verdict])
        .mapping([(one(link("guest0")), jump("acl-one"))]);
    let lookup = Rule {
        id: id("forward/acl"),
        exprs: vec![Expr::Vmap(vec![Key::Iif], Ident::fixed("acl-by-link"))],
    };
    let mut chains = named([
        ("filter-forward", base(ChainKind::Filter, HookPoint::Forward, 0, vec![lookup])),
        ("acl-one", chain(first)),
    ]);
    if let Some(second) = second {
        chains.insert(Ident::fixed("acl-two"), chain(second));
        map = map.mapping([(one(link("guest1")), jump("acl-two"))]);
    }
    Table { chains, sets: named([("acl-by-link", map)]), ..Table::default() }
}

#[test]
fn a_change_touches_only_what_differs_and_keeps_counters() {
    let world = World::new("small");
    let mut table = everything();
    world.reach(&table);
    let guests = table.sets.get_mut(&Ident::fixed("guest-links")).unwrap();
    guests.elements.insert(one(link("guest2")), sluice_sys::nft::Entry::default());
    guests.elements.remove(&one(link("guest0")));
    let script = world.reach(&table);
    assert_eq!(script.changes.len(), 2, "{}", script.render());
    table.chains.get_mut(&Ident::fixed("nat-out")).unwrap().rules.remove(2);
    table.sets.remove(&Ident::fixed("snat-by-link"));
    world.reach(&table);
    table.chains.remove(&Ident::fixed("every-match"));
    table.sets.remove(&Ident::fixed("by-link"));
    table.counters.remove(&Ident::fixed("count-two"));
    table.helpers.remove(&Ident::fixed("helper-sip"));
    world.reach(&table);
}

#[test]
fn rules_that_stay_keep_their_handles_whatever_changes_around_them() {
    let world = World::new("lists");
    world.reach(&lists(&[1, 2, 3, 4, 5], None));
    let before = world.handles("acl-one");
    let handle = |all: &[(String, u64)], number: u32| {
        all.iter().find(|(id, _)| *id == format!("acl/{number}")).map(|(_, handle)| *handle)
    };
    for (now, kept) in [
        (vec![1, 2, 6, 3, 4, 5], vec![1, 2, 3, 4, 5]),
        (vec![0, 1, 2, 6, 3, 4, 5, 7], vec![1, 2, 3, 4, 5]),
        (vec![2, 4, 8, 5, 1], vec![2, 4, 5]),
    ] {
        world.reach(&lists(&now, None));
        let after = world.handles("acl-one");
        let order: Vec<String> = now.iter().map(|number| format!("acl/{number}")).collect();
        assert_eq!(after.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), order);
        for number in kept {
            assert_eq!(handle(&before, number), handle(&after, number), "acl/{number} in {now:?}");
        }
    }
}

#[test]
fn a_list_comes_and_goes_with_what_leads_to_it() {
    let world = World::new("lists");
    world.reach(&lists(&[1, 2], None));
    let before = world.handles("acl-one");
    world.reach(&lists(&[1, 2], Some(&[3, 4])));
    world.reach(&lists(&[1, 2], Some(&[4])));
    world.reach(&lists(&[1, 2], None));
    assert_eq!(world.handles("acl-one"), before);
    world.reach(&lists(&[], None));
    world.reach(&Table::default());
}
