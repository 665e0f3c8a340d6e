//! Every answer that an appliance can give, and none.

use sluice_api::Finding;
use sluice_api::report::{Answer, Busy};
use sluice_api::types::Generation;

use super::agent::Agent;
use super::process::Cloud;
use super::wait::until;

fn generation(number: u64) -> Generation {
    Generation::try_from(number).unwrap()
}

/// A cloud in sync whose next push, of generation 2, is answered by `answers`.
async fn with(answers: impl IntoIterator<Item = Answer>) -> (Cloud, Agent) {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.script(answers);
    let told = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    (cloud, agent)
}

pub(crate) async fn status_says(cloud: &Cloud, answer: &str, detail: &str) {
    let mut last = String::new();
    until(&format!("{answer}: {detail}"), || {
        last = cloud.sluice(["status"]).out;
        last.contains(answer) && last.contains(detail)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_is_tried_again() {
    let busy = || {
        let reason = "generation 1 waits for its confirmation".to_owned();
        Answer::Busy(Busy { generation: generation(1), reason })
    };
    let (cloud, agent) = with([busy(), busy()]).await;
    until("committed", || agent.committed() == Some(2)).await;
    assert_eq!(agent.pushed(), [1, 2, 2, 2]);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_is_shown_with_its_findings_and_tried_less_and_less() {
    let findings = vec![Finding::error("links[0].name", "test", "no such luck")];
    let rejected = Answer::Rejected { findings };
    let (cloud, agent) = with(vec![rejected; 3]).await;
    status_says(&cloud, "rejected", "error: links[0].name: no such luck [test]").await;
    until("committed in the end", || agent.committed() == Some(2)).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_is_shown_and_tried_again() {
    let current = Some(generation(1));
    let failed = Answer::Failed { reason: "step 3: no".to_owned(), rolled_back: true, current };
    let (cloud, agent) = with(vec![failed; 3]).await;
    status_says(&cloud, "failed", "step 3: no (rolled back)").await;
    until("committed in the end", || agent.committed() == Some(2)).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_is_shown_and_ends() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_deaf(true);
    status_says(&cloud, "unreachable", "r-1: 127.0.0.1:").await;
    let told = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "a change does not wait for the appliance: {told:?}");
    let plan = cloud.sluice(["appliance", "plan", "r-1"]);
    assert_eq!(plan.code, 7, "{plan:?}");
    assert!(plan.err.contains("hint:"), "{plan:?}");
    agent.set_deaf(false);
    until("back", || agent.committed() == Some(2)).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_shown_for_as_long_as_it_is_reported() {
    let findings = vec![Finding::error("links[0].name", "test", "no such luck")];
    let (cloud, agent) = with(vec![Answer::Rejected { findings }; 1000]).await;
    status_says(&cloud, "rejected", "no such luck").await;
    agent.set_alarms(&["the ledger cannot be read", "the clock is wrong"]);
    status_says(&cloud, "rejected", "r-1: alarm: the ledger cannot be read").await;
    status_says(&cloud, "no such luck", "r-1: alarm: the clock is wrong").await;
    agent.set_alarms(&[]);
    until("no alarm", || !cloud.sluice(["status"]).out.contains("alarm")).await;
    status_says(&cloud, "rejected", "no such luck").await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_appliance_at_the_address_is_not_believed() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let second = include_str!("second-network.toml");
    let file = cloud.folder.path().join("second.toml");
    std::fs::write(&file, second).unwrap();
    let told = cloud.sluice(["apply", file.to_str().unwrap(), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    let other = cloud.boot("r-2").await;
    until("the second router is configured", || other.committed() == Some(1)).await;
    let address = other.address.to_string();
    let moved = cloud.sluice(["appliance", "endpoint", "r-1", &address]);
    assert_eq!(moved.code, 0, "{moved:?}");
    status_says(&cloud, "unreachable", "no TLS session").await;
    assert_eq!(other.pushed(), [1]);
    assert_eq!(agent.pushed(), [1]);
    cloud.stop();
}
