//! The kernel state of an appliance that is an end of connections and no router: links, routes, and a packet table that
//! lets in the API, what is served, and answers.
//!
//! Guarantees: pure and sorted; nothing is forwarded; whatever comes in unasked and is not named here is dropped and counted.

use std::collections::BTreeSet;

use sluice_api::types::{Cidr, LinkName, Port, RouteTable};
use sluice_api::{AGENT_PORT, ApplianceConfig};
use sluice_sys::model::{Desired, DesiredLink, MAIN_TABLE, RouteEntry, TABLE_NAME};
use sluice_sys::nft::{
    ChainKind, CtState, Expr, Hook, HookPoint, IcmpType, L4, LinkSelector, Net, Policy, Ports,
    Rule, RuleId, TableId, Verdict,
};

use crate::fragment::{self, Fragment, merge};

/// A TCP port that others may connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Served {
    /// The link that they come by.
    pub link: LinkName,
    /// The port.
    pub port: Port,
    /// The network that they come from; none: any.
    pub from: Option<Cidr>,
}

/// Where rules stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    /// Loopback, answers, what fits no connection, neighbours.
    InputFirst,
    /// The API.
    InputControl,
    /// What the appliance is there for.
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

/// Everything that the kernel is to hold, with `served` let in under the rule `id`.
pub fn desired<P>(
    config: &ApplianceConfig<P>,
    id: &'static str,
    served: impl IntoIterator<Item = Served>,
) -> Desired {
    let fragments = [links(config), routes(config), base(), control(config), let_in(id, served)];
    merge(TableId::inet(TABLE_NAME), fragments).desired
}

fn links<P>(config: &ApplianceConfig<P>) -> Fragment<Slot> {
    let mut fragment = Fragment::new("links");
    fragment.sysctls = crate::boot::settings();
    for link in &config.links {
        let wanted = DesiredLink { attach: link.attach.clone(), mtu: link.mtu };
        fragment.links.insert(link.name.clone(), wanted);
        let addresses = link.addresses.iter().map(|address| (link.name.clone(), *address));
        fragment.addresses.extend(addresses);
        fragment.sysctls.extend(crate::boot::link_settings(&link.name, false));
    }
    fragment
}

fn routes<P>(config: &ApplianceConfig<P>) -> Fragment<Slot> {
    let mut fragment = Fragment::new("routes");
    fragment.routes.extend(config.routes.iter().map(|route| RouteEntry {
        table: route.table.map_or(MAIN_TABLE, RouteTable::get),
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
fn control<P>(config: &ApplianceConfig<P>) -> Fragment<Slot> {
    let mut fragment = Fragment::new("control");
    let managers: BTreeSet<_> = config.control.managers.iter().copied().collect();
    let from = |from| Served { link: config.control.link.clone(), port: AGENT_PORT, from };
    let mut sources: Vec<_> = managers.into_iter().map(Some).collect();
    if sources.is_empty() {
        sources.push(None);
    }
    fragment.rules(Slot::InputControl, sources.into_iter().map(|it| rule("input/api", from(it))));
    fragment
}

fn let_in(id: &'static str, served: impl IntoIterator<Item = Served>) -> Fragment<Slot> {
    let mut fragment = Fragment::new("served");
    let served: BTreeSet<_> = served.into_iter().collect();
    fragment.rules(Slot::InputServed, served.into_iter().map(|one| rule(id, one)));
    fragment
}

fn rule(id: &'static str, served: Served) -> Rule {
    let link = Expr::Iif(LinkSelector::One(served.link));
    let from = served.from.map(|network| Expr::Source(Net::Cidr(network)));
    let port = Expr::DestinationPort(L4::Tcp, Ports::One(served.port));
    accept(id, [Some(link), from, Some(port)].into_iter().flatten())
}

fn accept(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Accept)
}

fn discard(id: &'static str, matches: impl IntoIterator<Item = Expr>) -> Rule {
    Rule::verdict(RuleId::fixed(id), matches, Verdict::Drop)
}
