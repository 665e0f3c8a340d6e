//! The table that drops everything until the first configuration (design section 3).
//!
//! Guarantees: loaded before any NIC is up, nothing gets in, through or out but loopback traffic and, in the second
//! variant, the agent's API on the control link with what IP needs for it. It hooks before `inet sluice`, so later
//! tables cannot let in what it drops; it goes in the transaction that brings the first rules.

use std::collections::BTreeSet;

use sluice_api::AGENT_PORT;
use sluice_api::types::{Cidr, LinkName};

use crate::{
    Chain, ChainKind, CtState, Expr, Hook, HookPoint, IcmpType, Ident, L4, LinkSelector, Net,
    Policy, Ports, Rule, RuleId, Table, TableId, Verdict,
};

/// Name of the table.
pub const EARLY_TABLE: &str = "sluice_early";
/// Before the usual filter priority.
const PRIORITY: i32 = -10;

/// The table's name, `inet sluice_early`.
pub fn table_id() -> TableId {
    TableId::inet(EARLY_TABLE)
}

/// The table that lets nothing pass but loopback traffic.
pub fn drop_all() -> Table {
    table(Vec::new(), Vec::new())
}

/// [`drop_all`], but the control API answers: TCP 3922 on `link` from `managers` (empty: from anywhere), ping, and
/// neighbour discovery. ARP is not IP and passes anyway.
pub fn control_only(link: &LinkName, managers: &[Cidr]) -> Table {
    table(input(link, managers), output(link))
}

fn table(input: Vec<Rule>, output: Vec<Rule>) -> Table {
    let lo = LinkSelector::Loopback;
    let first = accept("early/loopback-in", [Expr::Iif(lo.clone())]);
    let own = accept("early/loopback-out", [Expr::Oif(lo)]);
    let chains = [
        ("early-input", HookPoint::Input, std::iter::once(first).chain(input).collect()),
        ("early-forward", HookPoint::Forward, Vec::new()),
        ("early-output", HookPoint::Output, std::iter::once(own).chain(output).collect()),
    ];
    let chains = chains.map(|(name, point, rules)| (Ident::fixed(name), base(point, rules)));
    Table { chains: chains.into(), ..Table::default() }
}

fn base(point: HookPoint, rules: Vec<Rule>) -> Chain {
    let hook = Hook { kind: ChainKind::Filter, point, priority: PRIORITY, policy: Policy::Drop };
    Chain { hook: Some(hook), rules }
}

fn accept(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Accept)
}

fn neighbours() -> Expr {
    // without these two IPv6 finds nobody (RFC 4861 4.3, 4.4)
    let types = [IcmpType::NEIGHBOUR_SOLICITATION, IcmpType::NEIGHBOUR_ADVERTISEMENT];
    Expr::Icmp(types.into())
}

fn input(link: &LinkName, managers: &[Cidr]) -> Vec<Rule> {
    let on = || Expr::Iif(LinkSelector::One(link.clone()));
    let api = || Expr::DestinationPort(L4::Tcp, Ports::One(AGENT_PORT));
    let managers: BTreeSet<_> = managers.iter().copied().collect();
    let sources: Vec<Vec<Expr>> = if managers.is_empty() {
        vec![Vec::new()]
    } else {
        managers.into_iter().map(|from| vec![Expr::Source(Net::Cidr(from))]).collect()
    };
    let mut rules = vec![accept("early/replies-in", [on(), replies()])];
    rules.extend(
        sources
            .into_iter()
            .map(|source| accept("early/api", std::iter::once(on()).chain(source).chain([api()]))),
    );
    rules.push(accept("early/neighbours-in", [on(), neighbours()]));
    rules.push(accept("early/ping", [on(), Expr::Icmp([IcmpType::ECHO_REQUEST].into())]));
    rules.push(accept("early/ping-v6", [on(), Expr::Icmp([IcmpType::ECHO_REQUEST_V6].into())]));
    rules
}

fn replies() -> Expr {
    Expr::CtState([CtState::Established, CtState::Related].into())
}

fn output(link: &LinkName) -> Vec<Rule> {
    let on = || Expr::Oif(LinkSelector::One(link.clone()));
    vec![
        accept("early/replies-out", [on(), replies()]),
        accept("early/neighbours-out", [on(), neighbours()]),
    ]
}
