//! Routes with our protocol number.

use sluice_api::report::Subsystem;
use sluice_sys::model::{Desired, Observed, RouteEntry, Step};

use super::{Phases, Plan};

pub(super) fn routes(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Phases {
    let added: Vec<&RouteEntry> = desired.routes.difference(&observed.routes).collect();
    plan.keep(Subsystem::Routes, desired.routes.len() - added.len());
    let mut phases = Phases::default();
    for old in observed.routes.difference(&desired.routes) {
        let step = Step::RemoveRoute(old.clone());
        // the kernel keeps one route per table, destination and metric, so the old one has to make room
        if added.iter().any(|new| same_slot(new, old)) {
            phases.first.push(step);
        } else {
            phases.last.push(step);
        }
    }
    phases.first.extend(added.into_iter().map(|new| Step::AddRoute(new.clone())));
    phases
}

fn same_slot(a: &RouteEntry, b: &RouteEntry) -> bool {
    (a.table, a.destination, a.metric) == (b.table, b.destination, b.metric)
}
