//! What every router has, whatever it is for: loopback, answers, neighbours, and the last rule of each filter.
//!
//! Guarantees: nothing comes in or through unless a rule between the first and the last names it; every packet that is
//! dropped has a rule that counted it.

use std::collections::BTreeSet;

use sluice_agent::fragment::Fragment;
use sluice_sys::nft::{CtState, Expr, IcmpType, LinkSelector, Rule, RuleId};

use super::skeleton::Slot;
use super::words::{accept, discard, icmp};

pub(super) fn fragment() -> Fragment<Slot> {
    let mut fragment = Fragment::new("base");
    let neighbours = [IcmpType::NEIGHBOUR_SOLICITATION, IcmpType::NEIGHBOUR_ADVERTISEMENT];
    fragment.rules(
        Slot::InputFirst,
        [
            accept("input/loopback", [Expr::Iif(LinkSelector::Loopback)]),
            accept("input/established", [established()]),
            discard("input/invalid", [invalid()]),
            accept("input/neighbours", [icmp(neighbours)]),
        ],
    );
    fragment.rules(
        Slot::ForwardFirst,
        [
            Rule { id: RuleId::fixed("forward/mss"), exprs: vec![Expr::ClampMss, Expr::Counter] },
            accept("forward/established", [established()]),
            discard("forward/invalid", [invalid()]),
        ],
    );
    fragment.rules(Slot::InputLast, [discard("input/drop", [])]);
    fragment.rules(Slot::ForwardLast, [discard("forward/drop", [])]);
    fragment
}

fn established() -> Expr {
    Expr::CtState(BTreeSet::from([CtState::Established, CtState::Related]))
}

fn invalid() -> Expr {
    Expr::CtState(BTreeSet::from([CtState::Invalid]))
}
