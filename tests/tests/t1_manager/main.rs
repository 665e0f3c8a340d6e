//! The real manager process against a simulated agent: what it pushes, confirms, watches, and what survives `kill -9`.
//!
//! The agent is simulated so that it can be told to answer anything; the contract's types are the real ones on both
//! sides, and so is TLS. No rights are needed, but for one test with a real agent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests and their helpers

mod access;
mod addresses;
mod agent;
mod answers;
mod asked;
mod asking;
mod authority;
mod backup;
mod balancers;
mod bulk;
mod by_hand;
mod certificate;
mod consoles;
mod crash;
mod decisions;
mod describing;
mod diagnostics;
mod explaining;
mod first_shape;
mod guests;
mod image_rules;
mod images;
mod ipv6;
mod kinds;
mod lookups;
mod machines;
mod model;
mod openapi;
mod owners;
mod postgres;
mod process;
mod real;
mod recorded;
mod refusing;
mod release;
mod requests;
mod schemathesis;
mod seeding;
mod surface;
mod tls;
mod together;
mod tunnel_ends;
mod tunnels;
mod two;
mod uplinks;
mod wait;
mod waiting;

use process::{Cloud, first_network};
use wait::until;

/// A file with a second network beside the example's.
fn second_network(cloud: &Cloud) -> String {
    let file = cloud.folder.path().join("second.toml");
    std::fs::write(&file, include_str!("second-network.toml")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_applied_confirmed_and_watched() {
    let cloud = Cloud::start().await;
    let told = cloud.sluice(["apply", &first_network(), "--yes"]);
    assert!(told.out.contains("+ network net1"), "{told:?}");
    assert_eq!(
        told.out.lines().last(),
        Some("applied: 6 added, 0 changed, 0 destroyed"),
        "{told:?}"
    );
    let agent = cloud.boot("r-1").await;
    let waited = cloud.sluice(["status", "--wait", "30"]);
    assert_eq!(waited.code, 0, "{waited:?}\n{}", cloud.log());

    let exchanges = agent.exchanges();
    let push = exchanges.iter().find(|call| call.route == "PUT /v1/config").unwrap();
    let confirm = exchanges.iter().find(|call| call.route == "POST /v1/config/confirm").unwrap();
    assert_ne!(push.connection, confirm.connection, "a confirmation needs a new connection");
    assert_eq!(agent.config().role.networks[0].guests.len(), 2);

    let again = cloud.sluice(["apply", &first_network(), "--yes"]);
    assert_eq!((again.code, again.out.as_str()), (0, "nothing to do\n"));
    let changed = cloud.sluice(["network", "update", "net1", "--egress", "deny"]);
    assert_eq!(changed.code, 0, "{changed:?}");
    until("generation 2", || agent.committed() == Some(2)).await;
    assert_eq!(agent.pushed(), [1, 2]);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appliance_that_lost_its_configuration_gets_it_again() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.rebuild();
    until("the rebuilt appliance is configured", || agent.committed() == Some(1)).await;
    let guest = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(guest.code, 0, "{guest:?}");
    until("generation 2", || agent.committed() == Some(2)).await;
    agent.revert(1);
    until("the reverted appliance is brought forward", || agent.committed() == Some(2)).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_and_logs_are_asked_from_the_appliance() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let plan = cloud.sluice(["appliance", "plan", "r-1"]);
    assert!(plan.out.contains("1 steps, 0 objects unchanged"), "{plan:?}");
    let logs = cloud.sluice(["appliance", "logs", "r-1"]);
    assert!(logs.out.contains("info  agent: hello"), "{logs:?}");
    let json = cloud.sluice(["--json", "status"]);
    let status: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(status[0]["in_sync"], true, "{status}");
    cloud.stop();
}
