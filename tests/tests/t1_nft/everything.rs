//! Every expression, set type and object that the model has.

use std::collections::BTreeSet;

use sluice_sys::nft::{
    AddressKind, AddressSpan, Chain, ChainKind, CtState, CtStatus, Direction, Element, Entry, Expr,
    Helper, HelperKind, HookPoint, IcmpType, Ident, IpVersion, Ipsec, IpsecWay, Key, L4, Label,
    LinkSelector, MarkPlace, MarkValue, Net, Per, Ports, Protocol, RejectWith, Set, SetType, Span,
    Spread, Table, Targets, Verdict,
};

use crate::world::{World, base, id, link, named, one, port, rules, v4, v6};

fn set(name: &'static str) -> Ident {
    Ident::fixed(name)
}

fn tcp() -> Expr {
    Expr::L4([L4::Tcp].into())
}

fn both() -> Expr {
    Expr::L4([L4::Tcp, L4::Udp].into())
}

fn several() -> Ports {
    Ports::Several([Span::new(22, 22), Span::new(80, 90), Span::new(1000, 2000)].into())
}

fn links() -> Vec<Expr> {
    let pub0 = || "pub0".parse().unwrap();
    vec![
        Expr::Iif(LinkSelector::Loopback),
        Expr::Iif(LinkSelector::One(pub0())),
        Expr::Iif(LinkSelector::Set(set("guest-links"))),
        Expr::Oif(LinkSelector::Not(pub0())),
        Expr::Oif(LinkSelector::Beginning("ppp".parse().unwrap())),
    ]
}

fn addresses() -> Vec<Expr> {
    let cidr = |text: &str| Net::Cidr(text.parse().unwrap());
    let between = |one: &str, other: &str| {
        Net::Span(AddressSpan::between(one.parse().unwrap(), other.parse().unwrap()).unwrap())
    };
    vec![
        Expr::Version(IpVersion::V4),
        Expr::Version(IpVersion::V6),
        Expr::Source(cidr("10.1.1.0/24")),
        Expr::Source(cidr("10.1.1.9/32")),
        Expr::Source(cidr("10.128.0.0/9")),
        Expr::Source(cidr("0.0.0.0/0")),
        Expr::Source(cidr("::/0")),
        Expr::Source(cidr("2001:db8::/32")),
        Expr::Source(Net::Outside("10.1.1.0/24".parse().unwrap())),
        Expr::Source(Net::Set(IpVersion::V4, set("v4-nets"))),
        Expr::Source(Net::NotSet(IpVersion::V6, set("v6-nets"))),
        Expr::Destination(Net::Host("192.0.2.7".parse().unwrap())),
        Expr::Destination(Net::Host("2001:db8::7".parse().unwrap())),
        Expr::Destination(between("192.0.2.7", "192.0.2.9")),
        Expr::Destination(between("192.0.2.0", "192.0.2.255")),
        Expr::Destination(between("2001:db8::7", "2001:db8::9")),
        Expr::ToSelf,
        Expr::DestinationKind([AddressKind::Broadcast].into()),
        Expr::DestinationKind(
            [AddressKind::Local, AddressKind::Multicast, AddressKind::Unicast].into(),
        ),
        Expr::NoReturnPath,
    ]
}

fn tracking() -> Vec<Expr> {
    let host = |text: &str| Net::Host(text.parse().unwrap());
    vec![
        Expr::CtState([CtState::Invalid].into()),
        Expr::CtState(
            [CtState::New, CtState::Established, CtState::Related, CtState::Untracked].into(),
        ),
        Expr::CtStatus([CtStatus::Dnat].into()),
        Expr::CtStatus([CtStatus::Dnat, CtStatus::Snat].into()),
        Expr::CtDirection(Direction::Original),
        Expr::CtDirection(Direction::Reply),
        Expr::OriginalSource(host("10.1.1.9")),
        Expr::OriginalDestination(host("192.0.2.7")),
        Expr::OriginalDestination(Net::Cidr("2001:db8::/32".parse().unwrap())),
        Expr::OriginalDestination(Net::Set(IpVersion::V4, set("v4-nets"))),
        Expr::OriginalDestinationPort(L4::Tcp, Ports::One(port(80))),
        Expr::OriginalDestinationPort(L4::Udp, Ports::Range(port(80), port(90))),
    ]
}

fn transport() -> Vec<Expr> {
    vec![
        Expr::L4([L4::Udp].into()),
        both(),
        Expr::Protocol([Protocol::GRE].into()),
        Expr::Protocol([Protocol::ESP, Protocol::AH, Protocol::TCP, Protocol::new(112)].into()),
        Expr::DestinationPort(L4::Tcp, Ports::One(port(3922))),
        Expr::DestinationPort(L4::Udp, Ports::Range(port(1000), port(2000))),
        Expr::DestinationPort(L4::Tcp, several()),
        Expr::SourcePort(L4::Udp, Ports::One(port(68))),
        Expr::Icmp([IcmpType::ECHO_REQUEST].into()),
        Expr::Icmp([IcmpType::v4(3), IcmpType::v4(8), IcmpType::v4(200)].into()),
        Expr::Icmp([IcmpType::NEIGHBOUR_SOLICITATION, IcmpType::ECHO_REQUEST_V6].into()),
        Expr::Icmp([IcmpType::v6(200)].into()),
        Expr::IcmpCode(IcmpType::v4(3), 4),
        Expr::IcmpCode(IcmpType::v4(3), 1),
        Expr::IcmpCode(IcmpType::v4(200), 7),
        Expr::IcmpCode(IcmpType::v6(1), 4),
    ]
}

fn other_matches() -> Vec<Expr> {
    vec![
        Expr::Mark { mask: 0xff, value: 0x1 },
        Expr::Mark { mask: u32::MAX, value: 0x1 },
        Expr::ConnectionMark { mask: 0xff00, value: 0x100 },
        Expr::Label(Label::try_from(5).unwrap()),
        Expr::Label(Label::try_from(127).unwrap()),
        Expr::SocketUser([64_001].into()),
        Expr::SocketUser([0, 64_001, 64_002].into()),
        Expr::Ipsec(IpsecWay::In, Ipsec::Some),
        Expr::Ipsec(IpsecWay::In, Ipsec::None),
        Expr::Ipsec(IpsecWay::In, Ipsec::Request(5)),
        Expr::Ipsec(IpsecWay::Out, Ipsec::Some),
        Expr::Ipsec(IpsecWay::Out, Ipsec::None),
        Expr::Ipsec(IpsecWay::Out, Ipsec::Request(5)),
        Expr::Limit { rate: 10, per: Per::Second, burst: 5 },
        Expr::Limit { rate: 3, per: Per::Minute, burst: 1 },
        Expr::OverLimit { rate: 100, per: Per::Hour, burst: 20 },
        Expr::In(vec![Key::Iif, Key::Oif], set("link-pairs")),
        Expr::NotIn(vec![Key::SourceMac, Key::SourceV4], set("guest-macs")),
        Expr::In(vec![Key::Mark], set("some-marks")),
        Expr::In(vec![Key::ConnectionMark], set("some-marks")),
        Expr::Vmap(vec![Key::Iif], set("by-link")),
        Expr::Vmap(vec![Key::OriginalDestinationV4], set("by-address")),
    ]
}

/// Lists of expressions that only work together, in a filter chain.
fn together() -> Vec<Vec<Expr>> {
    let ports = vec![Key::DestinationV4, Key::L4, Key::DestinationPort];
    let accept = || Expr::Verdict(Verdict::Accept);
    vec![
        vec![both(), Expr::AnyDestinationPort(Ports::One(port(53))), accept()],
        vec![tcp(), Expr::AnyDestinationPort(several()), accept()],
        vec![tcp(), Expr::DestinationPort(L4::Tcp, Ports::One(port(25))), accept()],
        vec![
            Expr::Version(IpVersion::V4),
            Expr::Source(Net::Host("10.1.1.9".parse().unwrap())),
            accept(),
        ],
        vec![both(), Expr::In(ports.clone(), set("services")), accept()],
        vec![both(), Expr::Vmap(ports, set("by-service"))],
        vec![both(), Expr::In(vec![Key::SourcePort], set("some-ports")), accept()],
        vec![Expr::In(vec![Key::SourceV6, Key::DestinationV6], set("v6-pairs")), accept()],
        vec![tcp(), Expr::Reject(RejectWith::TcpReset)],
        vec![Expr::Reject(RejectWith::AdminProhibited)],
        vec![Expr::Reject(RejectWith::PortUnreachable)],
        vec![Expr::Reject(RejectWith::HostUnreachable)],
        vec![Expr::Reject(RejectWith::NoRoute)],
        vec![Expr::ClampMss],
        vec![
            Expr::DestinationPort(L4::Tcp, Ports::One(port(21))),
            Expr::CtHelper(set("helper-ftp")),
        ],
        vec![Expr::Log { prefix: id("drop:input"), group: None }],
        vec![Expr::Log { prefix: id("drop:input"), group: Some(2) }],
        vec![Expr::NamedCounter(set("count-one"))],
        vec![Expr::CounterMap(vec![Key::SourceV4], set("usage-by-source"))],
        vec![Expr::Verdict(Verdict::Jump(set("other-chain")))],
        vec![Expr::Verdict(Verdict::Goto(set("other-chain")))],
        vec![Expr::Verdict(Verdict::Return)],
        vec![Expr::Verdict(Verdict::Drop)],
    ]
}

fn marks() -> Vec<Vec<Expr>> {
    let places = [MarkPlace::Packet, MarkPlace::Connection];
    let values = |from| {
        [
            MarkValue::Number(7),
            MarkValue::Copy(from),
            MarkValue::Masked(from, 0xffff),
            MarkValue::Replaced { from, mask: 0xff, value: 0x5 },
        ]
    };
    let pairs = places.into_iter().flat_map(|to| places.map(|from| (to, from)));
    let mut all: Vec<Vec<Expr>> = pairs
        .flat_map(|(to, from)| values(from).map(|value| vec![Expr::SetMark(to, value)]))
        .collect();
    let by_source = MarkValue::Map(vec![Key::SourceV4], set("mark-by-source"));
    all.push(vec![Expr::SetMark(MarkPlace::Packet, by_source)]);
    all.push(vec![Expr::SetLabel(Label::try_from(5).unwrap())]);
    all
}

fn destinations() -> Vec<Vec<Expr>> {
    let to = |ip: &str, port| Expr::Dnat(ip.parse().unwrap(), port);
    let v4s =
        || vec![("10.1.1.2".parse().unwrap(), port(53)), ("10.1.1.3".parse().unwrap(), port(54))];
    let v6s = vec![
        ("2001:db8::2".parse().unwrap(), port(53)),
        ("2001:db8::3".parse().unwrap(), port(53)),
    ];
    let udp = || Expr::DestinationPort(L4::Udp, Ports::One(port(53)));
    let service = vec![Key::DestinationV4, Key::L4, Key::DestinationPort];
    vec![
        vec![tcp(), to("10.1.1.2", None)],
        vec![tcp(), to("10.1.1.2", Some(port(80)))],
        vec![tcp(), to("2001:db8::2", None)],
        vec![tcp(), to("2001:db8::2", Some(port(80)))],
        vec![Expr::DnatMap(IpVersion::V4, vec![Key::DestinationV4], set("static-in"))],
        vec![Expr::DnatMap(IpVersion::V6, vec![Key::DestinationV6], set("static-in-6"))],
        vec![both(), Expr::DnatMap(IpVersion::V4, service.clone(), set("port-forwards"))],
        vec![both(), Expr::DnatMap(IpVersion::V4, service, set("range-forwards"))],
        vec![udp(), Expr::Balance(Spread::Turns, Targets::V4(v4s()))],
        vec![udp(), Expr::Balance(Spread::Random, Targets::V4(v4s()))],
        vec![udp(), Expr::Balance(Spread::SourceHash(0xabcd), Targets::V4(v4s()))],
        vec![udp(), Expr::Balance(Spread::SourceHash(0xabcd), Targets::V6(v6s))],
        vec![udp(), Expr::Balance(Spread::Turns, Targets::V4(vec![v4s()[0]]))],
        vec![udp(), Expr::Balance(Spread::Turns, Targets::V4(Vec::new()))],
        vec![Expr::Redirect(None)],
        vec![tcp(), Expr::Redirect(Some(port(8080)))],
    ]
}

fn sources() -> Vec<Vec<Expr>> {
    vec![
        vec![Expr::Snat("198.51.100.10".parse().unwrap())],
        vec![Expr::Snat("2001:db8::10".parse().unwrap())],
        vec![Expr::SnatMap(IpVersion::V4, vec![Key::Iif, Key::Oif], set("snat-by-link"))],
        vec![Expr::SnatMap(IpVersion::V6, vec![Key::SourceV6], set("static-in-6"))],
        vec![Expr::Masquerade],
    ]
}

fn sets() -> std::collections::BTreeMap<Ident, Set> {
    let span = |first: &str, last: &str| -> Span<std::net::Ipv4Addr> {
        Span::new(first.parse().unwrap(), last.parse().unwrap())
    };
    let net6: Span<std::net::Ipv6Addr> = Span::network("2001:db8::".parse().unwrap(), 32).unwrap();
    let service = [SetType::Ipv4, SetType::Protocol, SetType::Port];
    let mac = |text: &str| text.parse::<sluice_api::types::MacAddr>().unwrap();
    let mut nets = Set::of([SetType::Ipv4]).interval().counted();
    let owned = |id| Entry { id: Some(id), ..Entry::default() };
    nets.elements = [
        (one(span("10.0.0.0", "10.255.255.255").into()), owned(id("egress/1"))),
        (one(v4("192.0.2.1")), Entry::default()),
        (one(span("192.0.2.4", "192.0.2.9").into()), owned(id("egress/2"))),
    ]
    .into();
    let everyone = span("0.0.0.0", "255.255.255.255");
    let services = [
        Element::from([everyone.into(), L4::Udp.into(), port(53).into()]),
        Element::from([
            span("10.0.0.0", "10.0.0.255").into(),
            L4::Tcp.into(),
            Span::new(0, 65535).into(),
        ]),
        Element::from([v4("192.0.2.1"), L4::Tcp.into(), Span::new(80, 90).into()]),
        Element::from([span("192.0.2.2", "192.0.2.4").into(), L4::Tcp.into(), port(22).into()]),
    ];
    let jump = || one(Verdict::Jump(set("other-chain")).into());
    let forward = |from: u16, to: u16, port: u64| {
        let key = Element::from([v4("192.0.2.1"), L4::Tcp.into(), Span::new(from, to).into()]);
        (key, Element::from([v4("10.1.1.2"), crate::world::port(port).into()]))
    };
    let kept = |from: u16, to: u16| {
        let key = Element::from([v4("192.0.2.1"), L4::Tcp.into(), Span::new(from, to).into()]);
        (key, one(v4("10.1.1.2")))
    };
    named([
        ("guest-links", Set::of([SetType::Link]).with([one(link("guest0")), one(link("guest1"))])),
        (
            "link-pairs",
            Set::of([SetType::Link, SetType::Link])
                .with([Element::from([link("guest0"), link("pub0")])]),
        ),
        ("v4-nets", nets),
        (
            "v6-nets",
            Set::of([SetType::Ipv6]).interval().with([one(net6.into()), one(v6("2001:db9::1"))]),
        ),
        (
            "v6-pairs",
            Set::of([SetType::Ipv6, SetType::Ipv6])
                .with([Element::from([v6("::1"), v6("2001:db9::1")])]),
        ),
        ("services", Set::of(service).interval().counted().with(services)),
        (
            "some-ports",
            Set::of([SetType::Port])
                .interval()
                .with([one(Span::new(1, 1023).into()), one(port(8080).into())]),
        ),
        (
            "some-marks",
            Set::of([SetType::Mark]).with([one(sluice_sys::nft::ElementValue::Mark(1))]),
        ),
        (
            "guest-macs",
            Set::of([SetType::Mac, SetType::Ipv4])
                .with([Element::from([mac("02:00:00:00:00:01").into(), v4("10.1.1.2")])]),
        ),
        (
            "by-link",
            Set::map([SetType::Link], [SetType::Verdict]).mapping([(one(link("guest0")), jump())]),
        ),
        (
            "by-address",
            Set::map([SetType::Ipv4], [SetType::Verdict]).interval().counted().mapping([
                (
                    one(span("192.0.2.0", "192.0.2.127").into()),
                    one(Verdict::Goto(set("other-chain")).into()),
                ),
                (one(v4("192.0.2.200")), one(Verdict::Drop.into())),
            ]),
        ),
        (
            "by-service",
            Set::map(service, [SetType::Verdict]).interval().mapping([(
                Element::from([v4("192.0.2.1"), L4::Tcp.into(), Span::new(80, 90).into()]),
                jump(),
            )]),
        ),
        (
            "usage-by-source",
            Set::map([SetType::Ipv4], [SetType::Counter]).mapping([(
                one(v4("10.1.1.2")),
                one(sluice_sys::nft::ElementValue::Counter(set("count-one"))),
            )]),
        ),
        (
            "mark-by-source",
            Set::map([SetType::Ipv4], [SetType::Mark])
                .mapping([(one(v4("10.1.1.2")), one(sluice_sys::nft::ElementValue::Mark(0x10)))]),
        ),
        (
            "static-in",
            Set::map([SetType::Ipv4], [SetType::Ipv4])
                .counted()
                .mapping([(one(v4("192.0.2.1")), one(v4("10.1.1.2")))]),
        ),
        (
            "static-in-6",
            Set::map([SetType::Ipv6], [SetType::Ipv6])
                .mapping([(one(v6("2001:db8::1")), one(v6("fd00::2")))]),
        ),
        (
            "port-forwards",
            Set::map(service, [SetType::Ipv4, SetType::Port]).mapping([forward(80, 80, 8080)]),
        ),
        (
            "range-forwards",
            Set::map(service, [SetType::Ipv4])
                .interval()
                .counted()
                .mapping([kept(80, 90), kept(443, 443)]),
        ),
        (
            "snat-by-link",
            Set::map([SetType::Link, SetType::Link], [SetType::Ipv4]).mapping([(
                Element::from([link("guest0"), link("pub0")]),
                one(v4("198.51.100.10")),
            )]),
        ),
    ])
}

pub(crate) fn everything() -> Table {
    let lists = [links(), addresses(), tracking(), transport(), other_matches()];
    let single = lists.into_iter().flatten().map(|expr| vec![expr, Expr::Verdict(Verdict::Accept)]);
    // a map of verdicts ends its rule
    let matches: Vec<Vec<Expr>> = single
        .map(|mut exprs| {
            if matches!(exprs[0], Expr::Vmap(..)) {
                exprs.truncate(1);
            }
            exprs
        })
        .collect();
    let untracked = vec![vec![Expr::DestinationPort(L4::Udp, Ports::One(port(53))), Expr::NoTrack]];
    let by_user = vec![vec![
        Expr::SocketUser([64_001].into()),
        Expr::SetMark(MarkPlace::Packet, MarkValue::Number(1)),
    ]];
    let (filter, nat) = (ChainKind::Filter, ChainKind::Nat);
    let chains = [
        ("other-chain", Chain::default()),
        ("every-match", base(filter, HookPoint::Forward, 0, rules("match", matches))),
        ("in-company", base(filter, HookPoint::Forward, 1, rules("with", together()))),
        ("every-mark", base(filter, HookPoint::Prerouting, -150, rules("mark", marks()))),
        ("not-tracked", base(filter, HookPoint::Prerouting, -300, rules("raw", untracked))),
        ("routed-again", base(ChainKind::Route, HookPoint::Output, -150, rules("route", by_user))),
        ("nat-out", base(nat, HookPoint::Postrouting, 100, rules("snat", sources()))),
        ("nat-in", base(nat, HookPoint::Prerouting, -100, rules("dnat", destinations()))),
    ];
    let helper = |kind| Helper { kind };
    Table {
        chains: named(chains),
        sets: sets(),
        counters: BTreeSet::from([set("count-one"), set("count-two")]),
        helpers: named([
            ("helper-ftp", helper(HelperKind::Ftp)),
            ("helper-sip", helper(HelperKind::Sip)),
        ]),
        ..Table::default()
    }
}

#[test]
fn every_expression_is_listed_back_as_it_was_loaded() {
    let world = World::new("every");
    world.reach(&everything());
}
