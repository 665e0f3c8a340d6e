//! Live flows obey the commit: of the connections that a real kernel tracks exactly those end that the new rules would
//! judge or translate otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_sys::kernel::{Kernel, RealKernel};
use sluice_sys::nft::eval::{Flow, Header, Packet, Way, Ways, World as Held, ends};
use sluice_sys::nft::{
    self, ChainKind, CtState, Element, Expr, HookPoint, Ident, IpVersion, Key, Protocol, Rule,
    RuleId, Set, SetType, Table, TableId, Verdict,
};

use crate::agree::frames::frame;
use crate::agree::wires::{Ends, Wires, ip, name, ours, theirs};
use crate::world::{base, named, ours as table_id};

type Tables = BTreeMap<TableId, Table>;

/// What the rules of a router are made of here.
#[derive(Clone)]
struct Policy {
    /// Links whose guests may go out by `pub0`.
    egress: Vec<&'static str>,
    /// Source addresses by the link that a connection comes in by, and the one it leaves by.
    sources: Vec<(&'static str, &'static str, &'static str)>,
}

const BEFORE: [(&str, &str, &str); 4] = [
    ("guest0", "pub0", "198.51.100.10"),
    ("guest1", "pub0", "198.51.100.11"),
    ("guest0", "pub0", "2001:db8:f::1"),
    ("guest1", "pub0", "2001:db8:f::1"),
];

impl Policy {
    fn before() -> Self {
        Self { egress: vec!["guest0", "guest1"], sources: BEFORE.into() }
    }

    fn tables(&self) -> Tables {
        let pair = |guest: &str, out: &str| Element::from([name(guest).into(), name(out).into()]);
        let links = [SetType::Link, SetType::Link];
        let egress = Set::of(links).with(self.egress.iter().map(|guest| pair(guest, "pub0")));
        let sources = |version: IpVersion, kind: SetType| {
            let all = self.sources.iter().filter_map(|(guest, out, to)| {
                let to: IpAddr = ip(to);
                let part = match to {
                    IpAddr::V4(to) => to.into(),
                    IpAddr::V6(to) => to.into(),
                };
                (IpVersion::of(to) == version).then(|| (pair(guest, out), Element::from([part])))
            });
            Set::map(links, [kind]).mapping(all)
        };
        let key = || vec![Key::Iif, Key::Oif];
        let accept = |id, exprs| Rule::verdict(RuleId::fixed(id), exprs, Verdict::Accept);
        let forward = vec![
            accept(
                "forward/established",
                vec![Expr::CtState([CtState::Established, CtState::Related].into())],
            ),
            accept("forward/egress", vec![Expr::In(key(), Ident::fixed("egress-links"))]),
            Rule::verdict(RuleId::fixed("forward/drop"), [], Verdict::Drop),
        ];
        let source = |id, version, map| {
            Rule::action(RuleId::fixed(id), [], Expr::SnatMap(version, key(), Ident::fixed(map)))
        };
        let outward = vec![
            source("nat/source", IpVersion::V4, "sources-v4"),
            source("nat/source-v6", IpVersion::V6, "sources-v6"),
        ];
        let table = Table {
            chains: named([
                ("filter-forward", base(ChainKind::Filter, HookPoint::Forward, 0, forward)),
                ("nat-postrouting", base(ChainKind::Nat, HookPoint::Postrouting, 100, outward)),
            ]),
            sets: named([
                ("egress-links", egress),
                ("sources-v4", sources(IpVersion::V4, SetType::Ipv4)),
                ("sources-v6", sources(IpVersion::V6, SetType::Ipv6)),
            ]),
            ..Table::default()
        };
        [(table_id(), table)].into()
    }
}

/// A change, and who of two connections ends with it.
struct Case {
    what: &'static str,
    after: Policy,
    ways: Ways,
    /// Addresses that belong to somebody else afterwards.
    released: Vec<&'static str>,
    /// Source, destination and incoming link of the one that ends.
    ends: [(&'static str, &'static str, usize); 2],
    /// Of the one that stays.
    stays: [(&'static str, &'static str, usize); 2],
}

/// Each with an IPv4 and an IPv6 connection.
fn cases() -> Vec<Case> {
    let guest0 = [("10.1.1.23", "192.0.2.1", 0), ("2001:db8:1::23", "2001:db8:9::1", 0)];
    let guest1 = [("10.1.2.23", "192.0.2.1", 1), ("2001:db8:2::23", "2001:db8:9::1", 1)];
    let mut denied = Policy::before();
    denied.egress.retain(|guest| *guest != "guest0");
    let mut moved = Policy::before();
    moved.sources[0].2 = "198.51.100.11";
    moved.sources[2].2 = "2001:db8:f::2";
    // a second uplink takes over a part of the Internet
    let mut added = Policy::before();
    added.sources.extend([("guest0", "pub1", "203.0.113.2"), ("guest0", "pub1", "2001:db8:e::2")]);
    let mut ways = Wires::ways();
    ways.addresses.insert(
        name("pub1"),
        ["203.0.113.2/24", "2001:db8:e::2/64"].map(|address| address.parse().unwrap()).into(),
    );
    for destination in ["192.0.2.128/25", "2001:db8:9:1::/64"] {
        let destination = destination.parse().unwrap();
        ways.routes.insert(Way { table: 254, destination, metric: 0, link: name("pub1") });
    }
    let case = |what, after: Policy, ends, stays| Case {
        what,
        after,
        ways: Wires::ways(),
        released: Vec::new(),
        ends,
        stays,
    };
    vec![
        case("egress denied", denied, guest0, guest1),
        case("source NAT moved", moved, guest0, guest1),
        Case {
            released: vec!["10.1.1.23", "2001:db8:1::23"],
            ..case("guest's address reused", Policy::before(), guest0, guest1)
        },
        Case {
            ways,
            ..case(
                "link added",
                added,
                [("10.1.1.23", "192.0.2.200", 0), ("2001:db8:1::23", "2001:db8:9:1::1", 0)],
                guest0,
            )
        },
    ]
}

const PROTOCOLS: [Protocol; 3] = [Protocol::TCP, Protocol::UDP, Protocol::ICMP];

/// Opens a connection by a packet from a guest, and returns its source port or its ICMP identifier.
fn open(wires: &Ends, of: (&str, &str, usize), protocol: Protocol, number: u16) {
    let (source, destination, at) = of;
    let (source, destination) = (ip(source), ip(destination));
    let (protocol, header) = match (protocol, source) {
        (Protocol::ICMP, IpAddr::V4(_)) => (protocol, Header::Icmp { kind: 8, code: 0 }),
        (Protocol::ICMP, IpAddr::V6(_)) => (Protocol::ICMPV6, Header::Icmp { kind: 128, code: 0 }),
        _ => (protocol, Header::Ports { source: number, destination: 443, opens: true }),
    };
    let packet = Packet::between(source, destination, protocol, header).unwrap();
    wires.send(at, &frame(&packet, theirs(at), ours(at), number, false));
}

/// Those of `flows` between these two ends.
fn between<'a>(flows: &'a [Flow], of: (&str, &str, usize)) -> Vec<&'a Flow> {
    let ends = (ip(of.0), ip(of.1));
    flows.iter().filter(|flow| (flow.original.source, flow.original.destination) == ends).collect()
}

#[test]
fn exactly_the_flows_end_that_the_new_rules_would_judge_or_translate_otherwise() {
    let before = Policy::before().tables();
    for case in cases() {
        let wires = Wires::new();
        let script = nft::diff(&nft::ObservedTables::new(), &before).render();
        wires.router.load(&script);
        let opened = wires.on(async |ends| {
            for (place, of) in case.ends.iter().chain(&case.stays).enumerate() {
                for (number, protocol) in PROTOCOLS.iter().enumerate() {
                    let port = 30_000 + u16::try_from(10 * place + number).unwrap();
                    open(&ends, *of, *protocol, port);
                }
            }
            ends.heard().await.len()
        });
        assert_eq!(opened, 12, "{}: all go out before the change", case.what);
        let after = case.after.tables();
        let released: BTreeSet<IpAddr> = case.released.iter().map(|address| ip(address)).collect();
        let left = wires
            .router
            .ns
            .enter_async(async || {
                let kernel = RealKernel::open().unwrap();
                let flows = kernel.flows().await.unwrap();
                let ways = Wires::ways();
                let old = Held { tables: &before, ways: &ways };
                let new = Held { tables: &after, ways: &case.ways };
                assert_eq!(
                    ends(old, old, &BTreeSet::new(), &flows),
                    BTreeSet::new(),
                    "{}",
                    case.what
                );
                for at in ends(old, new, &released, &flows) {
                    kernel.end(&flows[at]).await.unwrap();
                    // what is gone is ended
                    kernel.end(&flows[at]).await.unwrap();
                }
                kernel.flows().await.unwrap()
            })
            .unwrap();
        for of in case.ends {
            assert_eq!(
                between(&left, of),
                Vec::<&Flow>::new(),
                "{}: {of:?} is still there",
                case.what
            );
        }
        for of in case.stays {
            assert_eq!(between(&left, of).len(), 3, "{}: {of:?} is gone\n{left:#?}", case.what);
        }
    }
}

#[test]
fn the_tracking_table_says_how_full_it_is() {
    let wires = Wires::new();
    let counts = wires
        .router
        .ns
        .enter_async(async || RealKernel::open().unwrap().tracking().await.unwrap())
        .unwrap();
    assert!(counts.limit > 0, "{counts:?}");
    assert!(counts.entries < counts.limit, "{counts:?}");
}
