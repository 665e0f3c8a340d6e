//! From a configuration to the kernel state that it means: links, routes, and a packet table that lets in the API, what is
//! served, and answers.
//!
//! Guarantees: pure and sorted; nothing is forwarded; whatever comes in unasked and is not named here is dropped and counted.

use std::collections::BTreeSet;

use sluice_agent::fragment::{self, Fragment, merge};
use sluice_api::AGENT_PORT;
use sluice_api::config::SsvmDocument;
use sluice_api::config::ssvm::Listener;
use sluice_api::types::Port;
use sluice_sys::model::{Desired, DesiredLink, MAIN_TABLE, RouteEntry};
use sluice_sys::nft::{
    ChainKind, CtState, Expr, Hook, HookPoint, IcmpType, L4, LinkSelector, Net, Policy, Ports,
    Rule, RuleId, TableId, Verdict,
};

/// Where rules stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    /// Loopback, answers, what fits no connection, neighbours.
    InputFirst,
    /// The API.
    InputControl,
    /// Uploads and downloads.
    InputServed,
    /// The rest is lost.
    InputLast,
    /// Everything: this machine is no router.
    Forward,
}

const fn drop_at(point: HookPoint) -> Hook {
    Hook { kind: ChainKind::Filter, point, priority: 0, policy: Policy::Drop }
}

impl fragment::Slot for Slot {
    const CHAINS: &'static [(&'static str, Hook)] = &[
        ("filter-input", drop_at(HookPoint::Input)),
        ("filter-forward", drop_at(HookPoint::Forward)),
    ];

    fn chain(self) -> &'static str {
        match self {
            Self::Forward => "filter-forward",
            _ => "filter-input",
        }
    }
}

/// Everything that the kernel of this secondary storage VM is to hold.
pub fn desired(config: &SsvmDocument) -> Desired {
    let fragments = [links(config), routes(config), base(), control(config), served(config)];
    merge(TableId::inet(sluice_sys::model::TABLE_NAME), fragments).desired
}

fn links(config: &SsvmDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("links");
    fragment.sysctls = sluice_agent::boot::settings();
    for link in &config.links {
        let wanted = DesiredLink { attach: link.attach.clone(), mtu: link.mtu };
        fragment.links.insert(link.name.clone(), wanted);
        let addresses = link.addresses.iter().map(|address| (link.name.clone(), *address));
        fragment.addresses.extend(addresses);
        fragment.sysctls.extend(sluice_agent::boot::link_settings(&link.name, false));
    }
    fragment
}

fn routes(config: &SsvmDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("routes");
    fragment.routes.extend(config.routes.iter().map(|route| RouteEntry {
        table: route.table.map_or(MAIN_TABLE, sluice_api::types::RouteTable::get),
        destination: route.destination,
        metric: route.kernel_metric(),
        link: route.link.clone(),
        via: route.via,
        source: None,
    }));
    fragment
}

fn base() -> Fragment<Slot> {
    let mut fragment = Fragment::new("base");
    let established = Expr::CtState(BTreeSet::from([CtState::Established, CtState::Related]));
    let invalid = Expr::CtState(BTreeSet::from([CtState::Invalid]));
    let neighbours = [IcmpType::NEIGHBOUR_SOLICITATION, IcmpType::NEIGHBOUR_ADVERTISEMENT];
    fragment.rules(
        Slot::InputFirst,
        [
            accept("input/loopback", [Expr::Iif(LinkSelector::Loopback)]),
            accept("input/established", [established]),
            discard("input/invalid", [invalid]),
            accept("input/neighbours", [Expr::Icmp(neighbours.into())]),
        ],
    );
    fragment.rules(Slot::InputLast, [discard("input/drop", [])]);
    fragment.rules(Slot::Forward, [discard("forward/drop", [])]);
    fragment
}

/// From each of the managers' networks, or from anywhere on the link when none is named.
fn control(config: &SsvmDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("control");
    let link = || Expr::Iif(LinkSelector::One(config.control.link.clone()));
    let managers: BTreeSet<_> = config.control.managers.iter().collect();
    if managers.is_empty() {
        fragment.rules(Slot::InputControl, [accept("input/api", [link(), tcp_to(AGENT_PORT)])]);
    }
    let each = managers.into_iter().map(|network| {
        accept("input/api", [link(), Expr::Source(Net::Cidr(*network)), tcp_to(AGENT_PORT)])
    });
    fragment.rules(Slot::InputControl, each);
    fragment
}

fn served(config: &SsvmDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("storage");
    let ports: BTreeSet<_> = config.role.listeners.iter().filter_map(socket).collect();
    let rules = ports.into_iter().map(|(link, port)| {
        accept("input/storage", [Expr::Iif(LinkSelector::One(link)), tcp_to(port)])
    });
    fragment.rules(Slot::InputServed, rules);
    fragment
}

fn socket(listener: &Listener) -> Option<(sluice_api::types::LinkName, Port)> {
    let port = Port::try_from(u64::from(listener.port())).ok()?;
    Some((listener.link.clone(), port))
}

fn tcp_to(port: Port) -> Expr {
    Expr::DestinationPort(L4::Tcp, Ports::One(port))
}

fn accept(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Accept)
}

fn discard(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Drop)
}
