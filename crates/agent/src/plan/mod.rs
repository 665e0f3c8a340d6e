//! The plan: from what is and what should be to ordered steps. Pure: no clock, no log, no I/O.
//!
//! Guarantees: equal states give an empty plan; the same input gives the same plan; nothing that is not ours is in it.
//!
//! What the link steps take along (addresses and routes of a link that goes, is made anew or gets another name) is
//! reckoned with, so that one plan is the whole way.
//!
//! Order, with the reasons:
//! 1. VLANs that go, since one that comes may have the same tag; then NICs get their names, VLANs are made;
//! 2. kernel settings, except the one that starts forwarding;
//! 3. addresses that would collide with new ones go, new ones come;
//! 4. rules, all in one kernel transaction: from here on the new policy judges;
//! 5. forwarding, once there are rules to judge what is forwarded;
//! 6. routes that come or change, policy rules that come, then policy rules, routes and addresses that go: connections
//!    that survive never lose their way.

mod addresses;
mod after;
mod links;
mod routes;

use std::collections::BTreeMap;
use std::fmt;

use sluice_api::report::{PlanSummary, Subsystem};
use sluice_sys::model::{Desired, Observed, Step, SysctlKey};
use sluice_sys::nft;

/// Steps in order, and how much stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub steps: Vec<Step>,
    /// Objects that are right already, by subsystem.
    pub unchanged: BTreeMap<Subsystem, u64>,
}

/// Compares and orders.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let links = links::links(desired, observed, &mut plan);
    let observed = &*after::after(observed, &links);
    let (forwarding, settings): (Vec<Step>, Vec<Step>) =
        sysctls(desired, observed, &mut plan).into_iter().partition(starts_forwarding);
    let addresses = addresses::addresses(desired, observed, &mut plan);
    let observed = &*after::after_addresses(observed, &addresses.first);
    let policy = routes::policy(desired, observed, &mut plan);
    let routes = routes::routes(desired, observed, &mut plan);
    let rules = rules(desired, observed, &mut plan);
    plan.steps = links
        .into_iter()
        .chain(settings)
        .chain(addresses.first)
        .chain(rules)
        .chain(forwarding)
        .chain(routes.first)
        .chain(policy.first)
        .chain(policy.last)
        .chain(routes.last)
        .chain(addresses.last)
        .collect();
    plan
}

/// Steps of one kind that must come before others, and those that must come after.
#[derive(Default)]
struct Phases {
    first: Vec<Step>,
    last: Vec<Step>,
}

impl Plan {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// In words and numbers.
    pub fn summary(&self) -> PlanSummary {
        PlanSummary {
            steps: self.steps.iter().map(ToString::to_string).collect(),
            unchanged: self.unchanged.values().sum(),
        }
    }

    fn keep(&mut self, subsystem: Subsystem, count: usize) {
        *self.unchanged.entry(subsystem).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing to do");
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// The part of an apply that a step belongs to.
pub fn subsystem(step: &Step) -> Subsystem {
    match step {
        Step::AddAddress { .. } | Step::RemoveAddress { .. } => Subsystem::Addresses,
        Step::AddRoute(_)
        | Step::ChangeRoute { .. }
        | Step::RemoveRoute(_)
        | Step::AddPolicy(_)
        | Step::RemovePolicy(_) => Subsystem::Routes,
        Step::SetSysctl { .. } => Subsystem::Sysctls,
        Step::Rules(_) => Subsystem::Rules,
        _ => Subsystem::Links,
    }
}

fn sysctls(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Vec<Step> {
    let mut steps = Vec::new();
    for (key, to) in &desired.sysctls {
        let from = observed.sysctls.get(key);
        if from == Some(to) {
            plan.keep(Subsystem::Sysctls, 1);
        } else {
            let (key, from, to) = (key.clone(), from.cloned(), to.clone());
            steps.push(Step::SetSysctl { key, from, to });
        }
    }
    steps
}

fn starts_forwarding(step: &Step) -> bool {
    let forwards = |key: &SysctlKey| {
        matches!(key.as_str(), "net.ipv4.ip_forward" | "net.ipv6.conf.all.forwarding")
    };
    matches!(step, Step::SetSysctl { key, .. } if forwards(key))
}

fn rules(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Vec<Step> {
    let script = nft::diff(&observed.tables, &desired.tables);
    plan.keep(Subsystem::Rules, usize::try_from(script.unchanged).unwrap_or(usize::MAX));
    if script.is_empty() { Vec::new() } else { vec![Step::Rules(script)] }
}
