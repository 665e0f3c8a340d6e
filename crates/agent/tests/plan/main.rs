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

/// A link with these addresses in one network, and a route by it.
fn link_with(addresses: &[&str]) -> sluice_sys::model::Desired {
    let name: sluice_api::types::LinkName = "pub0".parse().unwrap();
    let promote = sluice_sys::model::SysctlKey::fixed("net.ipv4.conf.all.promote_secondaries");
    sluice_sys::model::Desired {
        links: [(
            name.clone(),
            sluice_sys::model::DesiredLink {
                attach: sluice_api::config::Attachment::Nic { mac: world::mac(1) },
                mtu: sluice_api::types::Mtu::ETHERNET,
            },
        )]
        .into(),
        addresses: addresses.iter().map(|text| (name.clone(), text.parse().unwrap())).collect(),
        routes: [sluice_sys::model::RouteEntry {
            table: sluice_sys::model::MAIN_TABLE,
            destination: "0.0.0.0/0".parse().unwrap(),
            metric: 0,
            link: name,
            via: Some("198.51.100.1".parse().unwrap()),
            source: None,
        }]
        .into(),
        sysctls: [(promote, "1".to_owned())].into(),
        ..Default::default()
    }
}

#[test]
fn an_address_goes_alone_and_its_successor_comes_first() {
    let world = World::new();
    let all = ["198.51.100.10/24", "198.51.100.11/24", "198.51.100.12/24"];
    world.reach(&link_with(&all)).unwrap();
    // the first of its network goes: neither its siblings nor the route
    let steps = world.reach(&link_with(&all[1..])).unwrap();
    assert_eq!(steps.len(), 1, "{steps:#?}");
    // all are replaced: never without an address of the network
    let steps = world.reach(&link_with(&["198.51.100.77/24"])).unwrap();
    let words: Vec<_> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(words[0], "+ address 198.51.100.77/24 on pub0", "{words:#?}");
    assert_eq!(words.len(), 3, "{words:#?}");
}

#[test]
fn a_route_that_takes_anothers_place_is_one_step() {
    let world = World::new();
    let mut wanted = link_with(&["198.51.100.10/24"]);
    world.reach(&wanted).unwrap();
    wanted.routes = wanted
        .routes
        .into_iter()
        .map(|route| sluice_sys::model::RouteEntry { via: "198.51.100.2".parse().ok(), ..route })
        .collect();
    let steps = world.reach(&wanted).unwrap();
    assert!(matches!(steps[..], [Step::ChangeRoute { .. }]), "{steps:#?}");
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
