//! Sets of intervals and maps change element by element, with ids and counters.

use std::net::Ipv4Addr;

use sluice_sys::nft::{
    ChainKind, Change, Element, Entry, Expr, HookPoint, Ident, Key, Rule, Set, SetType, Span, Table,
};

use crate::world::{World, base, id, named, one, port, v4};

fn network(text: &str) -> Element {
    let (address, bits) = text.split_once('/').unwrap();
    let span: Span<Ipv4Addr> =
        Span::network(address.parse().unwrap(), bits.parse().unwrap()).unwrap();
    one(span.into())
}

fn table(set: Set) -> Table {
    Table { sets: named([("the-set", set)]), ..Table::default() }
}

/// One transaction takes away a network and brings one that lies in it, or around it.
#[test]
fn networks_that_overlap_take_each_others_place() {
    let world = World::new("nets");
    let nets =
        |all: &[&str]| Set::of([SetType::Ipv4]).interval().with(all.iter().map(|net| network(net)));
    for all in [
        &["10.0.0.0/8", "192.0.2.0/24"][..],
        &["10.0.0.0/9", "192.0.2.0/24"],
        &["10.0.0.0/9", "10.128.0.0/9", "192.0.2.0/25"],
        &["0.0.0.0/0"],
        &["192.0.2.1/32", "192.0.2.2/32", "192.0.2.4/30"],
        &[],
    ] {
        let script = world.reach(&table(nets(all)));
        let rebuilt =
            script.changes.iter().any(|(_, change)| matches!(change, Change::DeleteTable));
        assert!(!rebuilt, "{}", script.render());
    }
}

#[test]
fn an_element_changes_its_value_or_its_id_in_place() {
    let world = World::new("ids");
    let entry = |to: &str, of: Option<&str>| Entry { value: one(v4(to)), id: of.map(id) };
    let map = |entry| {
        let mut map = Set::map([SetType::Ipv4], [SetType::Ipv4]).counted();
        map.elements.insert(one(v4("192.0.2.1")), entry);
        map.elements.insert(
            one(v4("192.0.2.2")),
            Entry { value: one(v4("10.1.1.9")), id: Some(id("nat/9")) },
        );
        map
    };
    world.reach(&table(map(entry("10.1.1.2", None))));
    for next in [
        entry("10.1.1.2", Some("nat/1")),
        entry("10.1.1.3", Some("nat/1")),
        entry("10.1.1.3", Some("nat/2")),
        entry("10.1.1.3", None),
    ] {
        let script = world.reach(&table(map(next)));
        assert_eq!(script.size(), 2, "{}", script.render());
    }
}

#[test]
fn elements_count_what_they_match_under_their_ids() {
    let world = World::new("count");
    let mut set = Set::of([SetType::Ipv4, SetType::Port]).interval().counted();
    let key = Element::from([
        Span::new(Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(127, 0, 0, 255)).into(),
        Span::new(7000, 7009).into(),
    ]);
    set.elements.insert(key, Entry { id: Some(id("loop/1")), ..Entry::default() });
    set.elements.insert(Element::from([v4("127.0.0.1"), port(9).into()]), Entry::default());
    let counter = Set::map([SetType::Ipv4], [SetType::Counter]).mapping([(
        one(v4("127.0.0.1")),
        one(sluice_sys::nft::ElementValue::Counter(Ident::fixed("to-self"))),
    )]);
    let udp = Expr::L4([sluice_sys::nft::L4::Udp].into());
    let rules = vec![
        Rule {
            id: id("out/set"),
            exprs: vec![
                udp,
                Expr::In(vec![Key::DestinationV4, Key::DestinationPort], Ident::fixed("the-set")),
                Expr::Counter,
            ],
        },
        Rule {
            id: id("out/by-address"),
            exprs: vec![Expr::CounterMap(vec![Key::DestinationV4], Ident::fixed("by-address"))],
        },
    ];
    world.reach(&Table {
        chains: named([("count-out", base(ChainKind::Filter, HookPoint::Output, 0, rules))]),
        sets: named([("the-set", set), ("by-address", counter)]),
        counters: [Ident::fixed("to-self")].into(),
        ..Table::default()
    });
    world
        .ns
        .enter(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for port in [7003, 7009, 9, 7010] {
                socket.send_to(&[0; 72], ("127.0.0.1", port)).unwrap();
            }
        })
        .unwrap();
    let counters = world.counters();
    let named = |set: &str, id: &str| counters.elements[&(set.to_owned(), id.to_owned())];
    assert_eq!(named("the-set", "loop/1").packets, 2);
    assert_eq!(named("the-set", "loop/1").bytes, 200);
    assert_eq!(named("the-set", "127.0.0.1 . 9").packets, 1);
    // refusals come back by ICMP, to the same address
    assert!(counters.named["to-self"].packets >= 4, "{counters:?}");
    assert_eq!(counters.rules[&("count-out".to_owned(), "out/set".to_owned())].packets, 3);
}
