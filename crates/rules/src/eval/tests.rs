//! A small router: two guest links, two uplinks, one of them with source NAT.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::*;
use crate::{
    Chain, ChainKind, CtState, Element, ElementValue, Entry, Expr, Hook, HookPoint, Ident,
    IpVersion, Key, L4, LinkSelector, MarkPlace, MarkValue, Policy, Protocol, RejectWith, Rule,
    RuleId, Set, SetType, Spread, Table, TableId, Targets, Verdict,
};

type Tables = BTreeMap<TableId, Table>;

fn link(name: &str) -> sluice_api::types::LinkName {
    name.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn id(text: &str) -> RuleId {
    RuleId::try_from(text.to_owned()).unwrap()
}

fn ways() -> Ways {
    let of = |name, addresses: &[&str]| {
        (link(name), addresses.iter().map(|address| address.parse().unwrap()).collect())
    };
    let default = |to: &str, name| Way {
        table: 254,
        destination: to.parse().unwrap(),
        metric: 0,
        link: link(name),
    };
    Ways {
        addresses: [
            of("guest0", &["10.1.1.1/24", "2001:db8:1::1/64"]),
            of("guest1", &["10.1.2.1/24"]),
            of("pub0", &["198.51.100.10/24", "198.51.100.11/24", "2001:db8:f::1/64"]),
        ]
        .into(),
        routes: [default("0.0.0.0/0", "pub0"), default("::/0", "pub0")].into(),
        rules: BTreeMap::new(),
    }
}

fn base(
    kind: ChainKind,
    point: HookPoint,
    priority: i32,
    policy: Policy,
    rules: Vec<Rule>,
) -> Chain {
    Chain { hook: Some(Hook { kind, point, priority, policy }), rules }
}

fn address(text: &str) -> ElementValue {
    match ip(text) {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Egress by link pairs, source NAT by link, port forwards by a map.
fn router(egress: &[&str], source: &str) -> Tables {
    let pair = |guest: &str| Element::from([link(guest).into(), link("pub0").into()]);
    let accept = |name, exprs| Rule::verdict(RuleId::fixed(name), exprs, Verdict::Accept);
    let established = Expr::CtState([CtState::Established, CtState::Related].into());
    let forward = vec![
        accept("forward/established", vec![established]),
        accept(
            "forward/egress",
            vec![Expr::In(vec![Key::Iif, Key::Oif], Ident::fixed("egress-links"))],
        ),
        accept("forward/in", vec![Expr::CtStatus([crate::CtStatus::Dnat].into())]),
    ];
    let inbound = vec![Rule::action(
        RuleId::fixed("nat/forwards"),
        [Expr::L4([L4::Tcp, L4::Udp].into())],
        Expr::DnatMap(
            IpVersion::V4,
            vec![Key::DestinationV4, Key::L4, Key::DestinationPort],
            Ident::fixed("port-forwards"),
        ),
    )];
    let outbound = vec![Rule::action(
        RuleId::fixed("nat/source"),
        [Expr::Oif(LinkSelector::One(link("pub0")))],
        Expr::Snat(ip(source)),
    )];
    let mut forwards =
        Set::map([SetType::Ipv4, SetType::Protocol, SetType::Port], [SetType::Ipv4, SetType::Port]);
    forwards.elements.insert(
        Element::from([address("198.51.100.10"), L4::Tcp.into(), crate::Span::from(80_u16).into()]),
        Entry {
            value: Element::from([address("10.1.1.23"), crate::Span::from(8080_u16).into()]),
            id: Some(id("pf/1")),
        },
    );
    let (filter, nat, accept, drop) =
        (ChainKind::Filter, ChainKind::Nat, Policy::Accept, Policy::Drop);
    let chains = [
        ("filter-forward", base(filter, HookPoint::Forward, 0, drop, forward)),
        ("filter-input", base(filter, HookPoint::Input, 0, drop, Vec::new())),
        ("nat-in", base(nat, HookPoint::Prerouting, -100, accept, inbound)),
        ("nat-out", base(nat, HookPoint::Postrouting, 100, accept, outbound)),
    ];
    let egress =
        Set::of([SetType::Link, SetType::Link]).with(egress.iter().map(|guest| pair(guest)));
    let table = Table {
        chains: chains.map(|(name, chain)| (Ident::fixed(name), chain)).into(),
        sets: [(Ident::fixed("egress-links"), egress), (Ident::fixed("port-forwards"), forwards)]
            .into(),
        ..Table::default()
    };
    [(TableId::inet("sluice"), table)].into()
}

fn tcp(source: &str, destination: &str, port: u16, by: &str) -> Packet {
    let header = Header::Ports { source: 40_000, destination: port, opens: true };
    Packet::between(ip(source), ip(destination), Protocol::TCP, header).unwrap().by(link(by))
}

fn judge(tables: &Tables, packet: &Packet) -> Judgement {
    evaluate(tables, &ways(), packet.clone(), Tracking::first(packet))
}

fn names(judgement: &Judgement) -> Vec<String> {
    judgement.path.iter().filter(|hit| hit.whole).map(|hit| hit.rule.to_string()).collect()
}

#[test]
fn a_guest_goes_out_by_the_address_of_its_network() {
    let tables = router(&["guest0"], "198.51.100.10");
    let judgement = judge(&tables, &tcp("10.1.1.23", "192.0.2.1", 443, "guest0"));
    assert_eq!(judgement.ending, Ending::Sent(link("pub0")));
    assert_eq!(names(&judgement), ["forward/egress", "nat/source"]);
    assert_eq!(judgement.source.unwrap().to, (ip("198.51.100.10"), None));
    assert_eq!(judgement.packet.source, ip("198.51.100.10"));
    let refused = judge(&tables, &tcp("10.1.2.23", "192.0.2.1", 443, "guest1"));
    let policy = By::Policy(TableId::inet("sluice"), Ident::fixed("filter-forward"));
    assert_eq!(refused.ending, Ending::Dropped(policy));
    assert!(names(&refused).is_empty());
}

#[test]
fn a_forwarded_port_reaches_its_guest_and_the_element_is_named() {
    let tables = router(&[], "198.51.100.10");
    let judgement = judge(&tables, &tcp("192.0.2.1", "198.51.100.10", 80, "pub0"));
    assert_eq!(judgement.ending, Ending::Sent(link("guest0")));
    let to = judgement.destination.unwrap();
    assert_eq!(to.to, (ip("10.1.1.23"), Some(8080)));
    assert_eq!(to.by.elements, [id("pf/1")]);
    assert_eq!(
        names(&judge(&tables, &tcp("192.0.2.1", "198.51.100.10", 80, "pub0"))),
        ["nat/forwards", "forward/in"]
    );
    let other = judge(&tables, &tcp("192.0.2.1", "198.51.100.10", 81, "pub0"));
    assert!(matches!(other.ending, Ending::Dropped(By::Policy(..))), "{other:?}");
    assert_eq!(other.path.iter().map(|hit| hit.whole).collect::<Vec<_>>(), [false]);
}

#[test]
fn answers_go_back_as_they_were_asked() {
    let tables = router(&["guest0"], "198.51.100.10");
    let packet = tcp("192.0.2.1", "198.51.100.10", 40_000, "pub0");
    let tracking = Tracking {
        state: CtState::Established,
        direction: crate::Direction::Reply,
        mark: 0,
        labels: 0,
        status: [crate::CtStatus::Snat].into(),
        original: ((ip("10.1.1.23"), Some(40_000)), (ip("192.0.2.1"), Some(443))),
        translated: Translated {
            destination: None,
            source: Some((ip("198.51.100.10"), Some(40_000))),
        },
    };
    let judgement = evaluate(&tables, &ways(), packet, tracking);
    assert_eq!(judgement.ending, Ending::Sent(link("guest0")));
    assert_eq!(judgement.packet.destination, ip("10.1.1.23"));
    assert_eq!(names(&judgement), ["forward/established"]);
}

/// `chain` at the forward hook, with two chains to go to.
fn lists(rules: Vec<Rule>, first: Vec<Rule>, second: Vec<Rule>) -> Tables {
    let plain = |rules| Chain { hook: None, rules };
    let chains = [
        ("filter-forward", base(ChainKind::Filter, HookPoint::Forward, 0, Policy::Drop, rules)),
        ("list-one", plain(first)),
        ("list-two", plain(second)),
    ];
    let table = Table {
        chains: chains.map(|(name, chain)| (Ident::fixed(name), chain)).into(),
        ..Table::default()
    };
    [(TableId::inet("sluice"), table)].into()
}

#[test]
fn jumps_come_back_and_gotos_do_not() {
    let rule = |name, end| Rule::verdict(RuleId::fixed(name), [], end);
    let to = |name| Ident::fixed(name);
    let path =
        |tables: &Tables| names(&judge(tables, &tcp("10.1.1.23", "192.0.2.1", 443, "guest0")));
    let returns = lists(
        vec![rule("a", Verdict::Jump(to("list-one"))), rule("b", Verdict::Accept)],
        vec![rule("c", Verdict::Return), rule("d", Verdict::Drop)],
        vec![],
    );
    assert_eq!(path(&returns), ["a", "c", "b"]);
    let goes = lists(
        vec![rule("a", Verdict::Goto(to("list-one"))), rule("b", Verdict::Accept)],
        vec![],
        vec![],
    );
    let judgement = judge(&goes, &tcp("10.1.1.23", "192.0.2.1", 443, "guest0"));
    assert!(matches!(judgement.ending, Ending::Dropped(By::Policy(..))), "{judgement:?}");
    let through = lists(
        vec![rule("a", Verdict::Jump(to("list-one"))), rule("b", Verdict::Accept)],
        vec![rule("c", Verdict::Goto(to("list-two"))), rule("d", Verdict::Drop)],
        vec![rule("e", Verdict::Return)],
    );
    assert_eq!(path(&through), ["a", "c", "e", "b"]);
    let refuses = lists(
        vec![Rule::action(RuleId::fixed("r"), [], Expr::Reject(RejectWith::TcpReset))],
        vec![],
        vec![],
    );
    let judgement = judge(&refuses, &tcp("10.1.1.23", "192.0.2.1", 443, "guest0"));
    assert!(matches!(judgement.ending, Ending::Refused(RejectWith::TcpReset, _)));
}

#[test]
fn marks_choose_the_way_and_are_carried_by_the_connection() {
    let mut ways = ways();
    ways.addresses.insert(link("pub1"), vec!["203.0.113.2/24".parse().unwrap()]);
    ways.routes.insert(Way {
        table: 100,
        destination: "0.0.0.0/0".parse().unwrap(),
        metric: 0,
        link: link("pub1"),
    });
    ways.rules
        .insert(20_000, vec![Choice { mark: Some((1, 0xff)), table: 100, ..Choice::default() }]);
    let rules = vec![Rule {
        id: id("mark/one"),
        exprs: vec![
            Expr::Iif(LinkSelector::One(link("guest0"))),
            Expr::SetMark(MarkPlace::Packet, MarkValue::Number(1)),
            Expr::SetMark(MarkPlace::Connection, MarkValue::Copy(MarkPlace::Packet)),
        ],
    }];
    let chain = base(ChainKind::Filter, HookPoint::Prerouting, -150, Policy::Accept, rules);
    let table = Table { chains: [(Ident::fixed("marks-in"), chain)].into(), ..Table::default() };
    let tables = [(TableId::inet("sluice"), table)].into();
    let packet = tcp("10.1.1.23", "192.0.2.1", 443, "guest0");
    let judgement = evaluate(&tables, &ways, packet.clone(), Tracking::first(&packet));
    assert_eq!((judgement.ending, judgement.connection_mark), (Ending::Sent(link("pub1")), 1));
    let packet = tcp("10.1.2.23", "192.0.2.1", 443, "guest1");
    let judgement = evaluate(&tables, &ways, packet.clone(), Tracking::first(&packet));
    assert_eq!(judgement.ending, Ending::Sent(link("pub0")));
}

fn flow(
    source: (&str, u16),
    destination: (&str, u16),
    as_seen: ((&str, u16), (&str, u16)),
) -> Flow {
    let tuple = |source: (&str, u16), destination: (&str, u16)| Tuple {
        source: ip(source.0),
        destination: ip(destination.0),
        protocol: Protocol::TCP,
        parts: Parts::Ports(source.1, destination.1),
    };
    let (to, by) = as_seen;
    Flow {
        original: tuple(source, destination),
        reply: tuple(to, by),
        mark: 0,
        master: None,
        id: None,
    }
}

fn out(guest: &str, public: &str) -> Flow {
    flow((guest, 40_000), ("192.0.2.1", 443), (("192.0.2.1", 443), (public, 40_000)))
}

fn ended(old: &Tables, new: &Tables, released: &[&str], flows: &[Flow]) -> Vec<usize> {
    let ways = ways();
    let world = |tables| World { tables, ways: &ways };
    let released: BTreeSet<IpAddr> = released.iter().map(|text| ip(text)).collect();
    ends(world(old), world(new), &released, flows).into_iter().collect()
}

#[test]
fn flows_end_with_the_rule_that_allowed_them_and_no_others() {
    let flows = [
        out("10.1.1.23", "198.51.100.10"),
        out("10.1.2.23", "198.51.100.10"),
        // in by a forwarded port
        flow(("192.0.2.9", 5), ("198.51.100.10", 80), (("10.1.1.23", 8080), ("192.0.2.9", 5))),
        // between guests, which no rule allows: somebody else's doing
        flow(("10.1.1.23", 5), ("10.1.2.23", 80), (("10.1.2.23", 80), ("10.1.1.23", 5))),
    ];
    let before = router(&["guest0", "guest1"], "198.51.100.10");
    assert!(ended(&before, &before, &[], &flows).is_empty());
    assert_eq!(ended(&before, &router(&["guest1"], "198.51.100.10"), &[], &flows), [0]);
    assert_eq!(
        ended(&before, &router(&["guest0", "guest1"], "198.51.100.11"), &[], &flows),
        [0, 1]
    );
    assert_eq!(ended(&before, &before, &["10.1.2.23"], &flows), [1, 3]);
    let mut unforwarded = before.clone();
    for table in unforwarded.values_mut() {
        table.sets.get_mut(&Ident::fixed("port-forwards")).unwrap().elements.clear();
    }
    assert_eq!(ended(&before, &unforwarded, &[], &flows), [2]);
    // what comes up again is not judged by how it was lost
    assert_eq!(ended(&unforwarded, &before, &[], &flows[..2]), [0_usize; 0]);
}

#[test]
fn what_a_helper_opened_ends_with_what_opened_it() {
    let master = out("10.1.1.23", "198.51.100.10");
    let mut child = flow(
        ("192.0.2.1", 20),
        ("198.51.100.10", 50_000),
        (("10.1.1.23", 50_000), ("192.0.2.1", 20)),
    );
    child.master = Some(master.original);
    let flows = [child, master];
    let before = router(&["guest0"], "198.51.100.10");
    assert_eq!(
        ended(&before, &router(&["guest0", "guest1"], "198.51.100.10"), &[], &flows),
        [0_usize; 0]
    );
    assert_eq!(ended(&before, &router(&[], "198.51.100.10"), &[], &flows), [0, 1]);
}

#[test]
fn a_target_that_is_still_among_several_keeps_its_flows() {
    let balanced = |targets: &[&str]| {
        let targets =
            targets.iter().map(|target| (target.parse().unwrap(), 53_u64.try_into().unwrap()));
        let rule = Rule::action(
            RuleId::fixed("lb/dns"),
            [Expr::DestinationPort(L4::Udp, crate::Ports::One(53_u64.try_into().unwrap()))],
            Expr::Balance(Spread::Turns, Targets::V4(targets.collect())),
        );
        let mut tables = router(&[], "198.51.100.10");
        for table in tables.values_mut() {
            table.chains.get_mut(&Ident::fixed("nat-in")).unwrap().rules = vec![rule.clone()];
        }
        tables
    };
    let to = |target: &str| {
        let mut flow =
            flow(("192.0.2.9", 5), ("198.51.100.10", 53), ((target, 53), ("192.0.2.9", 5)));
        flow.original.protocol = Protocol::UDP;
        flow.reply.protocol = Protocol::UDP;
        flow
    };
    let flows = [to("10.1.1.2"), to("10.1.1.3")];
    let (before, after) =
        (balanced(&["10.1.1.2", "10.1.1.3"]), balanced(&["10.1.1.3", "10.1.1.4"]));
    assert_eq!(ended(&before, &after, &[], &flows), [0]);
}

#[test]
fn what_a_machine_sends_to_itself_has_its_way_back() {
    let lost = Rule::verdict(RuleId::fixed("in/lost"), [Expr::NoReturnPath], Verdict::Drop);
    let chain = base(ChainKind::Filter, HookPoint::Input, 0, Policy::Accept, vec![lost]);
    let chains = [(Ident::fixed("in"), chain)].into();
    let tables: Tables = [(TableId::inet("sluice"), Table { chains, ..Table::default() })].into();
    let own = tcp("10.1.1.1", "198.51.100.10", 80, "guest0");
    assert_eq!(names(&judge(&tables, &own)), Vec::<String>::new());
    let own = Packet { iif: None, ..own };
    assert_eq!(names(&judge(&tables, &own)), Vec::<String>::new(), "by loopback");
    let stranger = tcp("192.0.2.1", "198.51.100.10", 80, "guest0");
    assert_eq!(names(&judge(&tables, &stranger)), ["in/lost"]);
}
