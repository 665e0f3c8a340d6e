//! Random tables and packets out of a small world, so that rules match often, from a number that says all of it.

use std::net::{IpAddr, Ipv4Addr};

use sluice_sys::nft::eval::{Header, Packet};
use sluice_sys::nft::{
    AddressKind, AddressSpan, Chain, ChainKind, CtState, CtStatus, Direction, Element,
    ElementValue, Entry, Expr, Hook, HookPoint, IcmpType, Ident, IpVersion, Ipsec, IpsecWay, Key,
    L4, Label, LinkSelector, MarkPlace, MarkValue, Net, Per, Policy, Ports, Protocol, RejectWith,
    Rule, RuleId, Set, SetType, Span, Spread, Table, Targets, Verdict, merged,
};

use super::fits::Asked;
use super::wires::{HOSTS, LINKS, ip, name, theirs};
use crate::world::{named, one, port};

/// Numbers that look random (SplitMix64), the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count).unwrap()).unwrap()
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

const PORTS: [u64; 5] = [22, 53, 80, 443, 8080];
const MARKS: [u32; 4] = [0, 1, 2, 0x0000_0103];

fn hosts() -> Vec<IpAddr> {
    HOSTS.iter().flat_map(|(_, hosts)| hosts.iter().map(|host| ip(host))).collect()
}

/// Addresses of the router, of both versions.
fn own() -> Vec<IpAddr> {
    let all = LINKS.iter().flat_map(|(_, addresses)| addresses.iter());
    all.map(|address| ip(address.split('/').next().unwrap())).collect()
}

fn of(version: IpVersion, all: &[IpAddr]) -> Vec<IpAddr> {
    all.iter().copied().filter(|ip| IpVersion::of(*ip) == version).collect()
}

fn v4(random: &mut Random) -> Ipv4Addr {
    let all = [hosts(), own()].concat();
    match random.pick(&of(IpVersion::V4, &all)) {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => unreachable!("filtered"),
    }
}

fn value(address: IpAddr) -> ElementValue {
    match address {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

fn version(random: &mut Random) -> IpVersion {
    if random.chance(70) { IpVersion::V4 } else { IpVersion::V6 }
}

fn link(random: &mut Random) -> sluice_api::types::LinkName {
    name(random.pick(&LINKS).0)
}

fn l4(random: &mut Random) -> L4 {
    random.pick(&[L4::Tcp, L4::Udp])
}

/// Chains that only others lead to.
const LISTS: [&str; 2] = ["list-one", "list-two"];

const fn hook(kind: ChainKind, point: HookPoint, priority: i32, policy: Policy) -> Hook {
    Hook { kind, point, priority, policy }
}

const BASES: [(&str, Hook); 14] = {
    use ChainKind::{Filter, Nat, Route};
    use HookPoint::{Forward, Input, Output, Postrouting, Prerouting};
    use Policy::{Accept, Drop};
    [
        ("raw-pre", hook(Filter, Prerouting, -300, Accept)),
        ("mark-pre", hook(Filter, Prerouting, -150, Accept)),
        ("late-pre", hook(Filter, Prerouting, -50, Accept)),
        ("nat-pre", hook(Nat, Prerouting, -100, Accept)),
        ("nat-pre-two", hook(Nat, Prerouting, -90, Accept)),
        ("filter-in", hook(Filter, Input, 0, Accept)),
        ("filter-through", hook(Filter, Forward, 0, Drop)),
        ("filter-through-two", hook(Filter, Forward, 10, Accept)),
        ("raw-out", hook(Filter, Output, -300, Accept)),
        ("route-out", hook(Route, Output, -150, Accept)),
        ("nat-out", hook(Nat, Output, -100, Accept)),
        ("filter-out", hook(Filter, Output, 0, Accept)),
        ("late-post", hook(Filter, Postrouting, 50, Accept)),
        ("nat-post", hook(Nat, Postrouting, 100, Accept)),
    ]
};

fn set(name: &'static str) -> Ident {
    Ident::fixed(name)
}

fn ports(random: &mut Random) -> Ports {
    match random.below(3) {
        0 => Ports::One(port(random.pick(&PORTS))),
        1 => Ports::Range(port(50), port(500)),
        _ => Ports::Several([Span::new(22, 22), Span::new(80, 443)].into()),
    }
}

fn net(random: &mut Random) -> Net {
    let all = [hosts(), own()].concat();
    match random.below(6) {
        0 => Net::Host(random.pick(&all)),
        1 => Net::Cidr(
            random
                .pick(&[
                    "10.1.0.0/16",
                    "10.1.1.0/24",
                    "0.0.0.0/0",
                    "192.0.2.0/25",
                    "2001:db8::/32",
                    "::/0",
                    "2001:db8:1::/48",
                ])
                .parse()
                .unwrap(),
        ),
        2 => Net::Outside(
            random.pick(&["10.1.1.0/24", "192.0.2.0/25", "2001:db8:1::/64"]).parse().unwrap(),
        ),
        3 => Net::Span(AddressSpan::between(ip("10.1.1.20"), ip("10.1.2.99")).unwrap()),
        4 => {
            let version = version(random);
            Net::Set(version, set(if version == IpVersion::V4 { "nets-v4" } else { "nets-v6" }))
        }
        _ => {
            let version = version(random);
            Net::NotSet(version, set(if version == IpVersion::V4 { "nets-v4" } else { "hosts-v6" }))
        }
    }
}

/// A match that the kernel takes at this hook.
fn matching(random: &mut Random, point: Option<HookPoint>) -> Vec<Expr> {
    use HookPoint::{Forward, Input, Postrouting, Prerouting};
    let inbound = matches!(point, Some(Prerouting | Input | Forward));
    let service = || vec![Key::DestinationV4, Key::L4, Key::DestinationPort];
    let both = || Expr::L4([L4::Tcp, L4::Udp].into());
    let one = match random.below(35) {
        0 => Expr::Iif(LinkSelector::One(link(random))),
        1 => Expr::Iif(LinkSelector::Not(link(random))),
        2 => Expr::Iif(LinkSelector::Beginning(name("guest"))),
        3 => Expr::Oif(LinkSelector::One(link(random))),
        4 => Expr::Oif(LinkSelector::Set(set("some-links"))),
        5 => Expr::Oif(LinkSelector::Not(link(random))),
        6 => Expr::Version(version(random)),
        7 => Expr::Source(net(random)),
        8 => Expr::Destination(net(random)),
        9 => Expr::CtState(
            [random.pick(&[
                CtState::New,
                CtState::Established,
                CtState::Invalid,
                CtState::Untracked,
            ])]
            .into(),
        ),
        10 => Expr::CtState([CtState::New, CtState::Related].into()),
        11 => Expr::CtStatus([random.pick(&[CtStatus::Snat, CtStatus::Dnat])].into()),
        12 => Expr::CtDirection(random.pick(&[Direction::Original, Direction::Reply])),
        13 => Expr::OriginalSource(net(random)),
        14 => Expr::OriginalDestination(net(random)),
        15 => Expr::OriginalDestinationPort(l4(random), ports(random)),
        16 => Expr::L4([l4(random)].into()),
        17 => Expr::Protocol(
            [random.pick(&[Protocol::ICMP, Protocol::ESP, Protocol::TCP, Protocol::ICMPV6])].into(),
        ),
        18 => Expr::DestinationPort(l4(random), ports(random)),
        19 => Expr::SourcePort(l4(random), Ports::Range(port(1), port(30_000))),
        20 => return vec![both(), Expr::AnyDestinationPort(ports(random))],
        21 => Expr::Icmp(
            [random.pick(&[IcmpType::ECHO_REQUEST, IcmpType::v4(0), IcmpType::ECHO_REQUEST_V6])]
                .into(),
        ),
        22 => Expr::IcmpCode(random.pick(&[IcmpType::ECHO_REQUEST, IcmpType::v4(3)]), 0),
        23 => Expr::ToSelf,
        24 => Expr::DestinationKind(
            [random.pick(&[AddressKind::Unicast, AddressKind::Local, AddressKind::Broadcast])]
                .into(),
        ),
        25 => Expr::Mark {
            mask: random.pick(&[0xff, u32::MAX, 0x100]),
            value: random.pick(&[0, 1, 0x100]),
        },
        26 => Expr::ConnectionMark {
            mask: random.pick(&[0xff, 0x100]),
            value: random.pick(&[0, 1, 0x100]),
        },
        27 => Expr::In(vec![Key::SourceV4], set("hosts-v4")),
        28 => {
            return vec![
                both(),
                Expr::In(service(), set(random.pick(&["services", "service-nets"]))),
            ];
        }
        29 => Expr::In(vec![Key::Iif, Key::Oif], set("link-pairs")),
        30 => Expr::NotIn(vec![Key::Iif, Key::SourceV4], set("link-hosts")),
        31 => Expr::In(vec![Key::Mark], set("some-marks")),
        32 if inbound => random.pick(&[
            Expr::NoReturnPath,
            Expr::In(vec![Key::SourceMac, Key::SourceV4], set("macs")),
            Expr::Ipsec(IpsecWay::In, Ipsec::None),
        ]),
        32 if point == Some(Postrouting) => Expr::Ipsec(IpsecWay::Out, Ipsec::None),
        33 => Expr::SocketUser([0].into()),
        34 => Expr::Label(label(random)),
        _ => random.pick(&[
            Expr::Limit { rate: 1_000_000, per: Per::Second, burst: 100_000 },
            Expr::OverLimit { rate: 1_000_000, per: Per::Second, burst: 100_000 },
        ]),
    };
    vec![one]
}

/// What a rule of a filter chain does, after its counter.
fn filtering(random: &mut Random, chain: &str, point: Option<HookPoint>) -> Vec<Expr> {
    let lists = if chain == LISTS[0] { &LISTS[1..] } else { &LISTS[..] };
    let leads = chain != LISTS[1];
    match random.below(17) {
        0..=2 => vec![Expr::Verdict(Verdict::Accept)],
        3 => vec![Expr::Verdict(Verdict::Drop)],
        4 => vec![Expr::Verdict(Verdict::Return)],
        5..=6 if leads => vec![Expr::Verdict(Verdict::Jump(set(random.pick(lists))))],
        7 if leads => vec![Expr::Verdict(Verdict::Goto(set(random.pick(lists))))],
        // the maps lead to the second list alone, which leads nowhere
        8 if leads => vec![Expr::Vmap(vec![Key::Iif], set("verdict-by-link"))],
        9 if leads => vec![Expr::Vmap(vec![Key::DestinationV4], set("verdict-by-net"))],
        10 if matches!(point, Some(HookPoint::Input | HookPoint::Forward)) => {
            vec![Expr::Reject(
                random.pick(&[RejectWith::AdminProhibited, RejectWith::PortUnreachable]),
            )]
        }
        11 => vec![Expr::CounterMap(vec![Key::SourceV4], set("usage"))],
        12 => vec![Expr::SetMark(MarkPlace::Packet, mark(random))],
        13 => vec![Expr::SetMark(MarkPlace::Connection, mark(random))],
        15 => vec![Expr::SetLabel(label(random))],
        14 if chain == "raw-pre" => vec![Expr::NoTrack],
        _ => vec![Expr::NamedCounter(set("count-some"))],
    }
}

fn mark(random: &mut Random) -> MarkValue {
    let from = random.pick(&[MarkPlace::Packet, MarkPlace::Connection]);
    match random.below(5) {
        0 => MarkValue::Number(random.pick(&MARKS)),
        1 => MarkValue::Copy(from),
        2 => MarkValue::Masked(from, 0xff),
        3 => MarkValue::Replaced { from, mask: 0xff, value: 1 },
        _ => MarkValue::Map(vec![Key::SourceV4], set("mark-by-source")),
    }
}

fn label(random: &mut Random) -> Label {
    Label::try_from(random.pick(&[1, 100])).unwrap()
}

fn translating(random: &mut Random, chain: &str) -> Vec<Expr> {
    if chain == "nat-post" {
        let to = random.pick(&[
            "198.51.100.10",
            "198.51.100.11",
            "203.0.113.9",
            "2001:db8:f::1",
            "2001:db8:77::7",
        ]);
        return match random.below(5) {
            0 | 1 => vec![Expr::Snat(ip(to))],
            2 => vec![Expr::SnatMap(IpVersion::V4, vec![Key::SourceV4], set("source-by-source"))],
            3 => vec![Expr::Masquerade],
            _ => vec![Expr::Verdict(Verdict::Accept)],
        };
    }
    let v4s = || -> Vec<(Ipv4Addr, sluice_api::types::Port)> {
        ["10.1.1.23", "10.1.2.23"].map(|to| (to.parse().unwrap(), port(8080))).into()
    };
    let to = random.pick(&[hosts(), own()].concat());
    let tcp = || Expr::DestinationPort(L4::Tcp, Ports::Range(port(1), port(65_535)));
    match random.below(8) {
        0 | 1 => vec![Expr::Dnat(to, None)],
        2 => vec![tcp(), Expr::Dnat(to, Some(port(8080)))],
        3 => vec![Expr::DnatMap(IpVersion::V4, vec![Key::DestinationV4], set("to-by-address"))],
        4 => {
            let key = vec![Key::DestinationV4, Key::L4, Key::DestinationPort];
            vec![
                Expr::L4([L4::Tcp, L4::Udp].into()),
                Expr::DnatMap(IpVersion::V4, key, set("to-by-service")),
            ]
        }
        5 => vec![tcp(), Expr::Redirect(Some(port(80)))],
        6 => vec![tcp(), Expr::Balance(Spread::Turns, Targets::V4(v4s()[..1].to_vec()))],
        _ => vec![Expr::Verdict(random.pick(&[Verdict::Accept, Verdict::Return]))],
    }
}

fn rule(random: &mut Random, chain: &str, number: usize, at: Option<Hook>) -> Rule {
    let point = at.map(|hook| hook.point);
    let matches: Vec<_> = (0..random.below(3)).map(|_| matching(random, point)).collect();
    let nat = at.is_some_and(|hook| hook.kind == ChainKind::Nat);
    let mut action = if nat { translating(random, chain) } else { filtering(random, chain, point) };
    let mut asked = Asked::default();
    assert!(asked.take(&action), "{action:?}");
    let last = action.pop().unwrap();
    let mut exprs: Vec<Expr> =
        matches.into_iter().filter(|group| asked.take(group)).flatten().collect();
    exprs.extend(action);
    exprs.extend([Expr::Counter, last]);
    Rule { id: RuleId::try_from(format!("{chain}/{number}")).unwrap(), exprs }
}

fn chain(random: &mut Random, name: &str, hook: Option<Hook>) -> Chain {
    let count = match name {
        "filter-through" => 3 + random.below(5),
        _ => random.below(4),
    };
    let mut rules: Vec<Rule> = (0..count).map(|number| rule(random, name, number, hook)).collect();
    if name == "filter-through" && random.chance(70) {
        // some of what comes here shall pass
        let exprs = vec![Expr::Counter, Expr::Verdict(Verdict::Accept)];
        rules.push(Rule { id: RuleId::fixed("filter-through/rest"), exprs });
    }
    Chain { hook, rules }
}

fn nets(random: &mut Random) -> Vec<Element> {
    let mut spans = Vec::new();
    for _ in 0..random.below(4) {
        let start = v4(random);
        spans.push(match random.below(3) {
            0 => Span::from(start),
            1 => Span::network(start, random.pick(&[16, 24, 25, 30])).unwrap(),
            _ => Span::new(start, Ipv4Addr::from_bits(start.to_bits() | 0x15)),
        });
    }
    merged(spans).into_iter().map(|span| one(span.into())).collect()
}

fn sets(random: &mut Random) -> std::collections::BTreeMap<Ident, Set> {
    let service = [SetType::Ipv4, SetType::Protocol, SetType::Port];
    let mut some = |count: usize, make: &mut dyn FnMut(&mut Random) -> Element| -> Vec<Element> {
        (0..random.below(count + 1)).map(|_| make(random)).collect()
    };
    let hosts_v4 = some(4, &mut |random| one(v4(random).into()));
    let hosts_v6 = some(2, &mut |random| one(value(random.pick(&of(IpVersion::V6, &hosts())))));
    let services = some(6, &mut |random| {
        Element::from([v4(random).into(), l4(random).into(), port(random.pick(&PORTS)).into()])
    });
    let links = some(2, &mut |random| one(link(random).into()));
    let pairs = some(5, &mut |random| Element::from([link(random).into(), link(random).into()]));
    let link_hosts = some(5, &mut |random| Element::from([link(random).into(), v4(random).into()]));
    let marks = some(2, &mut |random| one(ElementValue::Mark(random.pick(&MARKS))));
    let macs = some(4, &mut |random| {
        let number = random.below(3);
        Element::from([theirs(number).into(), v4(random).into()])
    });
    let to = |random: &mut Random| one(v4(random).into());
    let net: Span<Ipv4Addr> =
        Span::network("10.1.0.0".parse().unwrap(), random.pick(&[16, 23])).unwrap();
    let service_net = Element::from([net.into(), l4(random).into(), Span::new(50, 500).into()]);
    let verdict = |random: &mut Random| {
        let verdict = random.pick(&[
            Verdict::Accept,
            Verdict::Drop,
            Verdict::Return,
            Verdict::Jump(set(LISTS[1])),
            Verdict::Goto(set(LISTS[1])),
        ]);
        Entry { value: one(verdict.into()), id: None }
    };
    let v4_to_v4 = |random: &mut Random, count: usize| {
        (0..count).map(|_| (to(random), to(random))).collect::<Vec<_>>()
    };
    let by_service = services.iter().map(|key| {
        (key.clone(), Element::from([v4(random).into(), port(random.pick(&PORTS)).into()]))
    });
    let by_service: Vec<_> = by_service.collect();
    let mut by_link = Set::map([SetType::Link], [SetType::Verdict]);
    by_link.elements.extend(links.iter().map(|link| (link.clone(), verdict(random))));
    let mut by_net = Set::map([SetType::Ipv4], [SetType::Verdict]).interval();
    by_net.elements.extend(nets(random).into_iter().map(|net| (net, verdict(random))));
    let sources = (0..2).map(|_| {
        (to(random), one(ip("203.0.113.9").to_string().parse::<Ipv4Addr>().unwrap().into()))
    });
    let sources: Vec<_> = sources.collect();
    let usage =
        hosts_v4.iter().map(|host| (host.clone(), one(ElementValue::Counter(set("count-some")))));
    let mark_by = hosts_v4.iter().map(|host| (host.clone(), one(ElementValue::Mark(2))));
    let net_v6: Span<std::net::Ipv6Addr> =
        Span::network("2001:db8:1::".parse().unwrap(), 47).unwrap();
    let to_by_address = v4_to_v4(random, 3);
    named([
        ("hosts-v4", Set::of([SetType::Ipv4]).with(hosts_v4.clone())),
        ("hosts-v6", Set::of([SetType::Ipv6]).with(hosts_v6)),
        ("nets-v4", Set::of([SetType::Ipv4]).interval().with(nets(random))),
        ("nets-v6", Set::of([SetType::Ipv6]).interval().with([one(net_v6.into())])),
        ("services", Set::of(service).with(services)),
        ("service-nets", Set::of(service).interval().with([service_net])),
        ("some-links", Set::of([SetType::Link]).with(links)),
        ("link-pairs", Set::of([SetType::Link, SetType::Link]).with(pairs)),
        ("link-hosts", Set::of([SetType::Link, SetType::Ipv4]).with(link_hosts)),
        ("some-marks", Set::of([SetType::Mark]).with(marks)),
        ("macs", Set::of([SetType::Mac, SetType::Ipv4]).with(macs)),
        ("verdict-by-link", by_link),
        ("verdict-by-net", by_net),
        ("usage", Set::map([SetType::Ipv4], [SetType::Counter]).mapping(usage)),
        ("mark-by-source", Set::map([SetType::Ipv4], [SetType::Mark]).mapping(mark_by)),
        ("source-by-source", Set::map([SetType::Ipv4], [SetType::Ipv4]).mapping(sources)),
        ("to-by-address", Set::map([SetType::Ipv4], [SetType::Ipv4]).mapping(to_by_address)),
        ("to-by-service", Set::map(service, [SetType::Ipv4, SetType::Port]).mapping(by_service)),
    ])
}

/// A table that the kernel takes.
pub(crate) fn table(random: &mut Random) -> Table {
    let mut chains = std::collections::BTreeMap::new();
    for (name, hook) in BASES {
        chains.insert(Ident::fixed(name), chain(random, name, Some(hook)));
    }
    for name in LISTS {
        chains.insert(Ident::fixed(name), chain(random, name, None));
    }
    Table { chains, sets: sets(random), counters: [set("count-some")].into(), ..Table::default() }
}

/// The first packet of a connection that is like no other, come in by a link; and the number of that link.
pub(crate) fn packet(random: &mut Random, number: u16) -> (usize, Packet) {
    let at = random.below(3);
    let own_version = version(random);
    let near: Vec<IpAddr> = HOSTS[at].1.iter().map(|host| ip(host)).collect();
    let source = if random.chance(90) {
        random.pick(&of(own_version, &near))
    } else {
        random.pick(&of(own_version, &hosts()))
    };
    let broadcast = if own_version == IpVersion::V4 { vec![ip("10.1.1.255")] } else { Vec::new() };
    let targets = of(own_version, &[hosts(), hosts(), own(), broadcast].concat());
    let destination = random.pick(&targets);
    let (icmp, echo) = match own_version {
        IpVersion::V4 => (Protocol::ICMP, 8),
        IpVersion::V6 => (Protocol::ICMPV6, 128),
    };
    let opens = random.chance(50);
    let (protocol, header) = match random.below(10) {
        0..=6 => {
            let protocol = if opens { Protocol::TCP } else { Protocol::UDP };
            let destination = u16::try_from(random.pick(&PORTS)).unwrap();
            (protocol, Header::Ports { source: 20_000 + number, destination, opens })
        }
        // of a connection without ports there can be but one between two addresses
        7 if number % 50 == 0 => (Protocol::ESP, Header::Other),
        8 if own_version == IpVersion::V4 => (icmp, Header::Icmp { kind: 3, code: 0 }),
        _ => (icmp, Header::Icmp { kind: echo, code: 0 }),
    };
    let mut packet =
        Packet::between(source, destination, protocol, header).unwrap().by(name(LINKS[at].0));
    packet.source_mac = Some(theirs(at));
    (at, packet)
}
