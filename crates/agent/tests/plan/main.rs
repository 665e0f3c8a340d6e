//! Properties of the plan on a kernel in memory: any state leads to any other in one plan, and nothing foreign moves.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may fail loudly anywhere, its helpers included

mod states;
mod world;

use proptest::prelude::*;
use sluice_agent::plan::{plan, subsystem};
use sluice_api::report::Subsystem;
use sluice_sys::model::Step;
use states::desired;
use world::{World, own};

/// Routes that are added, addresses that are added, settings and so on come in order of what they are about.
fn sorted(steps: &[Step]) -> bool {
    let routes = steps.iter().filter_map(|step| match step {
        Step::AddRoute(route) => Some(route),
        _ => None,
    });
    let addresses = steps.iter().filter_map(|step| match step {
        Step::AddAddress { link, address } => Some((link, address)),
        _ => None,
    });
    let vlans = steps.iter().filter_map(|step| match step {
        Step::CreateVlan { link, .. } => Some(link),
        _ => None,
    });
    routes.is_sorted() && addresses.is_sorted() && vlans.is_sorted()
}

/// Link steps, then settings, then the rest: each subsystem's steps follow what they stand on.
fn in_phases(steps: &[Step]) -> bool {
    let last = |kind| steps.iter().rposition(|step| subsystem(step) == kind);
    let first = |kind| steps.iter().position(|step| subsystem(step) == kind);
    let before = |one, other| match (last(one), first(other)) {
        (Some(one), Some(other)) => one < other,
        _ => true,
    };
    let on_links = [Subsystem::Sysctls, Subsystem::Addresses, Subsystem::Routes, Subsystem::Rules];
    on_links.into_iter().all(|other| before(Subsystem::Links, other))
        && before(Subsystem::Rules, Subsystem::Routes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// From nothing to a, from a to b, and from b back to a: one plan each, and what is reached is what a fresh kernel
    /// would have, whatever the way.
    #[test]
    fn one_plan_leads_from_any_state_to_any_other(a in desired(), b in desired()) {
        let world = World::new();
        for wanted in [&a, &b, &a] {
            let steps = world.reach(wanted)?;
            prop_assert!(sorted(&steps), "{steps:#?}");
            prop_assert!(in_phases(&steps), "{steps:#?}");
            let fresh = World::new();
            fresh.reach(wanted)?;
            prop_assert_eq!(own(&world, wanted), own(&fresh, wanted));
        }
    }

    #[test]
    fn nothing_to_do_is_an_empty_plan_and_equal_states_give_equal_plans(a in desired(), b in desired()) {
        let world = World::new();
        world.reach(&a)?;
        let seen = world.observe(&a);
        prop_assert!(plan(&a, &seen).is_empty());
        let seen = world.observe(&b);
        prop_assert_eq!(plan(&b, &seen), plan(&b.clone(), &seen.clone()));
        prop_assert_eq!(plan(&b, &seen).to_string(), plan(&b, &seen).to_string());
    }

    #[test]
    fn what_is_foreign_stays_and_is_in_no_plan(a in desired(), b in desired()) {
        let world = World::new();
        let before = world.foreign();
        for wanted in [&a, &b] {
            let steps = world.reach(wanted)?;
            prop_assert!(steps.iter().all(|step| !world::names_foreign(step)), "{steps:#?}");
            prop_assert_eq!(&world.foreign(), &before);
        }
    }
}
