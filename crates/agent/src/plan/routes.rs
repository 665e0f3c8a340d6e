//! Routes with our protocol number; a changed one is replaced in its place, without a gap.

use sluice_api::report::Subsystem;
use sluice_sys::model::{Desired, Observed, Step};

use super::{Phases, Plan};

pub(super) fn routes(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Phases {
    let mut phases = Phases::default();
    for route in &desired.routes {
        if observed.routes.contains(route) {
            plan.keep(Subsystem::Routes, 1);
            continue;
        }
        let stale = observed
            .routes
            .iter()
            .find(|old| old.same_slot(route) && !desired.routes.contains(old));
        phases.first.push(match stale {
            Some(old) => Step::ReplaceRoute { from: old.clone(), to: route.clone() },
            None => Step::AddRoute(route.clone()),
        });
    }
    let gone = observed.routes.iter().filter(|old| {
        !desired.routes.contains(old) && !desired.routes.iter().any(|new| new.same_slot(old))
    });
    phases.last = gone.map(|old| Step::RemoveRoute(old.clone())).collect();
    phases
}
