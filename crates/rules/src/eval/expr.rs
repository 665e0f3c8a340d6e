//! What each expression makes of a packet: one arm each.
//!
//! Where the kernel's answer hangs on more than the packet, one is taken: a limit is not reached, and of several targets
//! of a spread the connection's own, or else the first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_api::types::LinkName;

use super::lookup::find;
use super::packet::{End, Header};
use super::run::{Run, Seen, Trace, Translates};
use crate::{
    AddressKind, AddressSpan, CtState, Element, ElementValue, Entry, Expr, Ident, IpVersion, Ipsec,
    IpsecWay, Key, L4, LinkSelector, MarkPlace, MarkValue, Net, Ports, Protocol, RejectWith, Table,
    Targets, Verdict,
};

/// How a rule goes on after an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done<'a> {
    /// To its next expression.
    On,
    /// Not at all: it does not match.
    No,
    /// It ends.
    Stop(Stop<'a>),
}

/// How a rule ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop<'a> {
    Accept,
    Drop,
    Reject(RejectWith),
    Return,
    Jump(&'a Ident),
    Goto(&'a Ident),
    /// Rewrites an end: where to, and all of which that could be.
    Translate(End, Vec<End>),
}

fn when<'a>(holds: bool) -> Done<'a> {
    if holds { Done::On } else { Done::No }
}

/// One expression of a rule of `table`.
#[allow(clippy::too_many_lines)] // one arm for each expression
pub(super) fn evaluate<'a>(
    run: &mut Run<'a>,
    table: &'a Table,
    expr: &'a Expr,
    trace: &mut Trace,
) -> Done<'a> {
    let packet = &run.packet;
    match expr {
        Expr::Iif(link) => when(link_is(table, link, packet.iif.as_ref())),
        Expr::Oif(link) => when(link_is(table, link, run.oif.as_ref())),
        Expr::Version(version) => when(packet.version() == *version),
        Expr::Source(net) => when(within(table, net, packet.source)),
        Expr::Destination(net) => when(within(table, net, packet.destination)),
        Expr::CtState(states) => when(states.contains(&state(run))),
        Expr::CtStatus(any) => {
            when(run.tracking().is_some_and(|is| any.iter().any(|way| is.status.contains(way))))
        }
        Expr::CtDirection(way) => when(run.tracking().is_some_and(|is| is.direction == *way)),
        Expr::OriginalSource(net) => {
            when(run.tracking().is_some_and(|is| within(table, net, is.original.0.0)))
        }
        Expr::OriginalDestination(net) => {
            when(run.tracking().is_some_and(|is| within(table, net, is.original.1.0)))
        }
        Expr::OriginalDestinationPort(l4, ports) => {
            let port = run.tracking().and_then(|is| is.original.1.1);
            when(carried(packet.protocol, *l4) && port_in(ports, port))
        }
        Expr::L4(any) => when(any.iter().any(|l4| carried(packet.protocol, *l4))),
        Expr::Protocol(any) => when(any.contains(&packet.protocol)),
        Expr::DestinationPort(l4, ports) => {
            let port = packet.ports().map(|both| both.1);
            when(carried(packet.protocol, *l4) && port_in(ports, port))
        }
        Expr::SourcePort(l4, ports) => {
            let port = packet.ports().map(|both| both.0);
            when(carried(packet.protocol, *l4) && port_in(ports, port))
        }
        Expr::AnyDestinationPort(ports) => when(port_in(ports, packet.ports().map(|both| both.1))),
        Expr::Icmp(types) => when(types.iter().any(|of| icmp(run, of.version, of.number, None))),
        Expr::IcmpCode(of, code) => when(icmp(run, of.version, of.number, Some(*code))),
        Expr::ToSelf => when(run.ways.kind(packet.destination) == AddressKind::Local),
        Expr::DestinationKind(kinds) => when(kinds.contains(&run.ways.kind(packet.destination))),
        Expr::Mark { mask, value } => when(packet.mark & mask == *value),
        Expr::ConnectionMark { mask, value } => {
            when(run.tracking().is_some_and(|is| is.mark & mask == *value))
        }
        Expr::Label(label) => when(run.tracking().is_some_and(|is| is.labels & label.bit() != 0)),
        Expr::SocketUser(users) => when(packet.user.is_some_and(|user| users.contains(&user))),
        Expr::Ipsec(way, with) => {
            let has = match way {
                IpsecWay::In => packet.ipsec_in,
                IpsecWay::Out => packet.ipsec_out,
            };
            when(match with {
                Ipsec::Some => has.is_some(),
                Ipsec::None => has.is_none(),
                Ipsec::Request(id) => has == Some(*id),
            })
        }
        Expr::In(key, set) => when(named(find(run, table, key, set), trace).is_some()),
        Expr::NotIn(key, set) => when(not_in(run, table, key, set)),
        Expr::Vmap(key, map) => match named(find(run, table, key, map), trace) {
            Some(value) => match value.0.first() {
                Some(ElementValue::Verdict(verdict)) => ended(verdict),
                _ => Done::No,
            },
            None => Done::No,
        },
        Expr::NoReturnPath => {
            // what this machine sends to itself has its way back, whatever source it was given (`nft_fib_can_skip`)
            let by = packet.iif.as_ref().filter(|link| **link != LinkName::loopback());
            when(by.is_some_and(|link| !run.ways.returns(packet.source, link)))
        }
        Expr::Limit { .. } => Done::On,
        Expr::OverLimit { .. } => Done::No,
        Expr::Snat(to) | Expr::Dnat(to, None) => translated(run, vec![(*to, None)]),
        Expr::Dnat(to, Some(port)) => translated(run, vec![(*to, Some(port.get()))]),
        Expr::SnatMap(_, key, map) | Expr::DnatMap(_, key, map) => {
            let to = named(find(run, table, key, map), trace).and_then(end_of);
            to.map_or(Done::No, |to| translated(run, vec![to]))
        }
        Expr::Masquerade => {
            let to = run.oif.as_ref().and_then(|link| leaving_as(run, link));
            // a link without an address loses what should have it
            to.map_or(Done::Stop(Stop::Drop), |to| translated(run, vec![(to, None)]))
        }
        Expr::Redirect(port) => {
            let port = port.map(sluice_api::types::Port::get);
            let to = here(run);
            to.map_or(Done::Stop(Stop::Drop), |to| translated(run, vec![(to, port)]))
        }
        Expr::Balance(_, targets) => match ends(targets) {
            none if none.is_empty() => Done::Stop(Stop::Drop),
            all => translated(run, all),
        },
        Expr::ClampMss => when(matches!(packet.header, Header::Ports { opens: true, .. })),
        Expr::SetMark(place, value) => set_mark(run, table, *place, value, trace),
        Expr::SetLabel(label) => {
            if let Some(tracking) = run.tracking_mut() {
                tracking.labels |= label.bit();
            }
            Done::On
        }
        Expr::NoTrack => {
            if matches!(run.seen, Seen::NotYet(_)) {
                run.seen = Seen::Never;
            }
            Done::On
        }
        Expr::CtHelper(helper) => {
            run.helper = Some(helper.clone());
            Done::On
        }
        Expr::Offload(_) => {
            run.offloaded = true;
            Done::On
        }
        Expr::Counter => {
            trace.counted = true;
            Done::On
        }
        Expr::Log { .. } | Expr::NamedCounter(_) => Done::On,
        Expr::CounterMap(key, map) => when(named(find(run, table, key, map), trace).is_some()),
        Expr::Reject(with) => Done::Stop(Stop::Reject(*with)),
        Expr::Verdict(verdict) => ended(verdict),
    }
}

fn ended(verdict: &Verdict) -> Done<'_> {
    Done::Stop(match verdict {
        Verdict::Accept => Stop::Accept,
        Verdict::Drop => Stop::Drop,
        Verdict::Return => Stop::Return,
        Verdict::Jump(chain) => Stop::Jump(chain),
        Verdict::Goto(chain) => Stop::Goto(chain),
    })
}

/// The value of an element that was found; its id goes on the trace.
fn named<'t>(found: Option<(&'t Element, &'t Entry)>, trace: &mut Trace) -> Option<&'t Element> {
    let (_, entry) = found?;
    trace.elements.extend(entry.id.clone());
    Some(&entry.value)
}

fn state(run: &Run<'_>) -> CtState {
    match &run.seen {
        Seen::Tracked(tracking) => tracking.state,
        Seen::Never => CtState::Untracked,
        // so the kernel answers before tracking too
        Seen::NotYet(_) | Seen::Invalid => CtState::Invalid,
    }
}

fn carried(protocol: Protocol, by: L4) -> bool {
    protocol == Protocol::from(by)
}

fn port_in(ports: &Ports, port: Option<u16>) -> bool {
    port.is_some_and(|port| ports.spans().iter().any(|span| span.contains(port)))
}

fn icmp(run: &Run<'_>, version: IpVersion, number: u8, wanted: Option<u8>) -> bool {
    let of = match version {
        IpVersion::V4 => Protocol::ICMP,
        IpVersion::V6 => Protocol::ICMPV6,
    };
    let Header::Icmp { kind, code } = run.packet.header else { return false };
    run.packet.protocol == of
        && run.packet.version() == version
        && kind == number
        && wanted.is_none_or(|wanted| code == wanted)
}

fn link_is(table: &Table, selector: &LinkSelector, link: Option<&LinkName>) -> bool {
    let name = link.map_or("", LinkName::as_str);
    match selector {
        LinkSelector::One(one) => name == one.as_str(),
        LinkSelector::Not(one) => name != one.as_str(),
        LinkSelector::Beginning(start) => name.starts_with(start.as_str()),
        LinkSelector::Loopback => name == "lo",
        LinkSelector::Set(set) => link.is_some_and(|link| {
            let key = Element::from([ElementValue::Link(link.clone())]);
            table.sets.get(set).is_some_and(|set| set.elements.contains_key(&key))
        }),
    }
}

fn within(table: &Table, net: &Net, address: IpAddr) -> bool {
    let version = IpVersion::of(address);
    match net {
        Net::Cidr(network) => network.contains(address),
        Net::Host(host) => *host == address,
        Net::Span(span) => span.contains(address),
        Net::Outside(network) => {
            AddressSpan::of(network).version() == version && !network.contains(address)
        }
        Net::Set(of, set) => *of == version && listed(table, set, address),
        Net::NotSet(of, set) => *of == version && !listed(table, set, address),
    }
}

fn listed(table: &Table, set: &Ident, address: IpAddr) -> bool {
    let part = match address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => address.into(),
    };
    let set = table.sets.get(set);
    set.is_some_and(|set| super::lookup::holding(set, &Element::from([part])).is_some())
}

/// True for a packet that has such a key, which the set does not hold.
fn not_in(run: &Run<'_>, table: &Table, key: &[Key], set: &Ident) -> bool {
    super::lookup::has(run, key) && find(run, table, key, set).is_none()
}

/// An address, with a port or without.
fn end_of(value: &Element) -> Option<End> {
    let mut parts = value.0.iter();
    let address = match parts.next()? {
        ElementValue::Ipv4(span) => span.first().into(),
        ElementValue::Ipv6(span) => span.first().into(),
        _ => return None,
    };
    let port = match parts.next() {
        Some(ElementValue::Port(span)) => Some(span.first()),
        _ => None,
    };
    Some((address, port))
}

fn ends(targets: &Targets) -> Vec<End> {
    match targets {
        Targets::V4(all) => all.iter().map(|(ip, port)| ((*ip).into(), Some(port.get()))).collect(),
        Targets::V6(all) => all.iter().map(|(ip, port)| ((*ip).into(), Some(port.get()))).collect(),
    }
}

/// Ends the rule with one of these; the kernel passes over a translation of the other version of IP.
fn translated<'a>(run: &Run<'_>, mut all: Vec<End>) -> Done<'a> {
    all.retain(|(address, _)| IpVersion::of(*address) == run.packet.version());
    let own = run.tracking().and_then(|tracking| match run.translates {
        Translates::Destination => tracking.translated.destination,
        Translates::Source => tracking.translated.source,
        Translates::Nothing => None,
    });
    let same =
        |end: &&End| own.is_some_and(|own| own.0 == end.0 && end.1.is_none_or(|_| own.1 == end.1));
    match all.iter().find(same).or_else(|| all.first()) {
        Some(to) => Done::Stop(Stop::Translate(*to, all.clone())),
        None => Done::On,
    }
}

/// The address that this machine puts on what leaves by a link. What comes back by loopback, which has none for others,
/// gets one of another link.
fn leaving_as(run: &Run<'_>, link: &LinkName) -> Option<IpAddr> {
    let version = run.packet.version();
    if *link != LinkName::loopback() {
        return run.ways.address_on(link, version);
    }
    match version {
        IpVersion::V4 => run.ways.addresses.keys().find_map(|of| run.ways.address_on(of, version)),
        // the best source is the destination itself (RFC 6724, rule 1)
        IpVersion::V6 => Some(run.packet.destination),
    }
}

/// The address of this machine that a redirected packet goes to.
fn here(run: &Run<'_>) -> Option<IpAddr> {
    match (&run.packet.iif, run.packet.version()) {
        (Some(link), version) => run.ways.address_on(link, version),
        (None, IpVersion::V4) => Some(Ipv4Addr::LOCALHOST.into()),
        (None, IpVersion::V6) => Some(Ipv6Addr::LOCALHOST.into()),
    }
}

fn set_mark<'a>(
    run: &mut Run<'_>,
    table: &Table,
    place: MarkPlace,
    value: &MarkValue,
    trace: &mut Trace,
) -> Done<'a> {
    let from = |place: &MarkPlace| match place {
        MarkPlace::Packet => Some(run.packet.mark),
        MarkPlace::Connection => run.tracking().map(|tracking| tracking.mark),
    };
    let mark = match value {
        MarkValue::Number(number) => Some(*number),
        MarkValue::Copy(place) => from(place),
        MarkValue::Masked(place, mask) => from(place).map(|mark| mark & mask),
        MarkValue::Replaced { from: place, mask, value } => {
            from(place).map(|mark| (mark & !mask) | value)
        }
        MarkValue::Map(key, map) => match named(find(run, table, key, map), trace) {
            Some(value) => match value.0.first() {
                Some(ElementValue::Mark(mark)) => Some(*mark),
                _ => None,
            },
            None => None,
        },
    };
    let Some(mark) = mark else { return Done::No };
    match place {
        MarkPlace::Packet => run.packet.mark = mark,
        MarkPlace::Connection => {
            if let Some(tracking) = run.tracking_mut() {
                tracking.mark = mark;
            }
        }
    }
    Done::On
}
