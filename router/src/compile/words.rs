//! Rules and matches that several subsystems make.

use std::collections::BTreeSet;

use sluice_api::types::Port;
use sluice_sys::nft::{CtState, Expr, IcmpType, L4, Ports, Rule, RuleId, Verdict};

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
