//! Rules and matches that several subsystems make.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_api::types::{Cidr, Port};
use sluice_sys::nft::{
    CtState, Element, ElementValue, Expr, IcmpType, L4, Ports, Rule, RuleId, Set, SetType, Span,
    Verdict, merged,
};

pub(super) fn accept(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Accept)
}

pub(super) fn discard(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Drop)
}

/// The first packet of a connection.
pub(super) fn new() -> Expr {
    Expr::CtState(BTreeSet::from([CtState::New]))
}

pub(super) fn icmp(kinds: impl Into<BTreeSet<IcmpType>>) -> Expr {
    Expr::Icmp(kinds.into())
}

pub(super) fn udp_to(port: Port) -> Expr {
    Expr::DestinationPort(L4::Udp, Ports::One(port))
}

pub(super) fn tcp_to(port: Port) -> Expr {
    Expr::DestinationPort(L4::Tcp, Ports::One(port))
}

/// The addresses of a network of IPv4.
pub(super) fn span_v4(network: &Cidr) -> Option<Span<Ipv4Addr>> {
    match (network.network(), network.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Some(Span::new(first, last)),
        _ => None,
    }
}

/// The same of IPv6.
pub(super) fn span_v6(network: &Cidr) -> Option<Span<Ipv6Addr>> {
    match (network.network(), network.last()) {
        (IpAddr::V6(first), IpAddr::V6(last)) => Some(Span::new(first, last)),
        _ => None,
    }
}

/// A set of these spans, joined where they overlap.
pub(super) fn intervals<T>(kind: SetType, spans: impl IntoIterator<Item = Span<T>>) -> Set
where
    T: Copy + Ord,
    ElementValue: From<Span<T>>,
{
    let elements = merged(spans).into_iter().map(|span| Element::from([span.into()]));
    Set::of([kind]).interval().with(elements)
}
