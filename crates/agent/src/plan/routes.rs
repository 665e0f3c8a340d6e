//! Routes with our protocol number, and policy rules of our priorities.

use sluice_api::report::Subsystem;
use sluice_sys::model::{Desired, Observed, PolicyEntry, RouteEntry, Step};

use super::{Phases, Plan};

/// A route that takes the place of another one is one step: packets never lose their way in between.
pub(super) fn routes(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Phases {
    let mut added: Vec<&RouteEntry> = desired.routes.difference(&observed.routes).collect();
    plan.keep(Subsystem::Routes, desired.routes.len() - added.len());
    let mut phases = Phases::default();
    for old in observed.routes.difference(&desired.routes) {
        // the kernel keeps one IPv4 route per table, destination and metric
        match added.iter().position(|new| same_slot(new, old)) {
            Some(at) => {
                let (from, to) = (old.clone(), added.remove(at).clone());
                phases.first.push(Step::ChangeRoute { from, to });
            }
            None => phases.last.push(Step::RemoveRoute(old.clone())),
        }
    }
    phases.first.extend(added.into_iter().map(|new| Step::AddRoute(new.clone())));
    phases
}

fn same_slot(a: &RouteEntry, b: &RouteEntry) -> bool {
    (a.table, a.destination, a.metric) == (b.table, b.destination, b.metric)
}

/// Rules come once their tables have routes, and go before those do. One whose priority is taken by a rule that goes comes
/// all the same at once: the kernel keeps both, in the order in which they came.
pub(super) fn policy(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Phases {
    let added: Vec<&PolicyEntry> =
        desired.policy_rules.difference(&observed.policy_rules).collect();
    plan.keep(Subsystem::Routes, desired.policy_rules.len() - added.len());
    let gone = observed.policy_rules.difference(&desired.policy_rules);
    Phases {
        first: added.into_iter().map(|rule| Step::AddPolicy(rule.clone())).collect(),
        last: gone.map(|rule| Step::RemovePolicy(rule.clone())).collect(),
    }
}
