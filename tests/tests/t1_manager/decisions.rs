//! What is never sent by itself, and what a person decides: undone, foreign, earlier.

use serde_json::{Value, json};
use sluice_api::ApplianceConfig;
use sluice_api::config::AnyPart;

use super::agent::Agent;
use super::answers::status_says;
use super::process::{Cloud, first_network};
use super::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn what_cut_the_manager_off_is_not_sent_again_by_itself() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_cutting();
    let told = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    until("it is applied, and the manager cut off", || agent.is_pending()).await;
    status_says(&cloud, "unreachable", "r-1:").await;
    agent.undo();
    status_says(&cloud, "reverted", "generation 2 cut the manager off and was undone").await;
    let (pushed, looks) = (agent.pushed(), agent.looks());
    until("it is looked at again and again", || agent.looks() > looks + 5).await;
    assert_eq!(agent.pushed(), pushed, "sent again by itself");
    let waited = cloud.get("/v1/appliances/r-1/generations/2").await;
    assert_eq!(waited["state"], "reverted", "{waited}");
    assert_eq!(cloud.sluice(["appliance", "push", "r-1"]).code, 0);
    until("sent when asked", || agent.committed() == Some(2)).await;
    cloud.stop();
}

/// It is told as undone, and is sent again when somebody asks and not before.
async fn stays_undone(cloud: &Cloud, agent: &Agent, generation: u64) {
    let told = format!("generation {generation} cut the manager off and was undone");
    status_says(cloud, "reverted", &told).await;
    let (pushed, looks) = (agent.pushed(), agent.looks());
    until("it is looked at again and again", || agent.looks() > looks + 5).await;
    assert_eq!(agent.pushed(), pushed, "sent again by itself");
    assert_eq!(cloud.sluice(["appliance", "push", "r-1"]).code, 0);
    until("sent when asked", || agent.committed() == Some(generation)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_the_answer_along_is_not_sent_again_by_itself() {
    // the answer never comes, or when it was undone already
    for late in [false, true] {
        let cloud = Cloud::start().await;
        let agent = cloud.first_network_in_sync().await;
        agent.set_mute();
        assert_eq!(cloud.sluice(["guest", "create", "vm3", "--network", "net1"]).code, 0);
        until("it is applied", || agent.is_pending()).await;
        agent.undo();
        agent.end_mute(late);
        stays_undone(&cloud, &agent, 2).await;
        cloud.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_of_all_is_not_sent_again_by_itself_either() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let agent = cloud.boot_with("r-1", Agent::set_cutting).await;
    until("it is applied", || agent.is_pending()).await;
    status_says(&cloud, "unreachable", "r-1:").await;
    agent.undo();
    stays_undone(&cloud, &agent, 1).await;
    cloud.stop();
}

/// A change is applied whose manager gets no answer, and ends.
async fn dies_unanswered(cloud: &mut Cloud, agent: &Agent) {
    agent.set_mute();
    assert_eq!(cloud.sluice(["guest", "create", "vm3", "--network", "net1"]).code, 0);
    until("it is applied", || agent.is_pending()).await;
    cloud.manager.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_was_away_while_it_was_undone_sends_it_once_more() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    dies_unanswered(&mut cloud, &agent).await;
    agent.undo();
    agent.end_mute(true);
    cloud.restart(&[]).await;
    until("sent once more", || agent.committed() == Some(2)).await;
    assert_eq!(agent.pushed(), [1, 2, 2]);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_dies_before_it_confirms_is_no_reason_to_give_up() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    // one that got its answer might have found out already that it is cut off, which is another story
    dies_unanswered(&mut cloud, &agent).await;
    agent.restart();
    cloud.restart(&[]).await;
    until("sent again after a restart of the machine", || agent.committed() == Some(2)).await;
    cloud.stop();
}

/// The example in force, and then a configuration of number `generation` that this store never gave.
async fn foreign(generation: u64) -> (Cloud, Agent) {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_foreign(generation);
    let detail = format!("it has generation {generation}, which this store never gave");
    status_says(&cloud, "diverged", &detail).await;
    (cloud, agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_store_never_gave_is_not_overwritten_until_somebody_says_so() {
    for generation in [1, 40] {
        let (cloud, agent) = foreign(generation).await;
        let told = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
        assert_eq!(told.code, 0, "{told:?}");
        let looks = agent.looks();
        until("it is looked at again", || agent.looks() > looks + 5).await;
        assert_eq!(agent.pushed(), [1], "nothing was sent over it");
        let diff = cloud.sluice(["appliance", "diff", "r-1", "--from", "found"]);
        assert_eq!(diff.code, 10, "{diff:?}");
        assert!(diff.out.contains("control.managers"), "{diff:?}");
        let told = cloud.sluice(["--wait", "30", "appliance", "overwrite", "r-1"]);
        assert_eq!(told.code, 0, "{told:?}");
        assert_eq!(agent.committed(), Some(generation.max(2) + 1));
        assert!(agent.config().control.managers.is_empty(), "what is wanted is in force");
        cloud.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_store_never_gave_can_be_adopted() {
    let (cloud, agent) = foreign(40).await;
    let told = cloud.sluice(["--wait", "30", "appliance", "adopt", "r-1"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(agent.committed(), Some(41));
    assert_eq!(agent.config().control.managers.len(), 1, "what it had stays");
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(agent.config().control.managers.is_empty(), "a change of the model ends it");
    cloud.stop();
}

/// A guest that this store never made, with this address.
fn lost_guest(config: &mut ApplianceConfig, address: &str) {
    let AnyPart::Router(router) = &mut config.role else { panic!("no router: {config:?}") };
    let network = &mut router.networks[0];
    let mut guest = network.guests[0].clone();
    guest.id = "nic-77".parse().unwrap();
    guest.hostname = "lost".parse().unwrap();
    guest.mac = "02:00:00:77:77:77".parse().unwrap();
    guest.address = address.parse().unwrap();
    network.guests.push(guest);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_adopted_that_others_were_given_since() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.make_foreign(40, |config| lost_guest(config, "10.1.1.77"));
    status_says(&cloud, "diverged", "it has generation 40").await;
    let guest = ["guest", "create", "vm3", "--network", "net1", "--address", "10.1.1.77"];
    assert_eq!(cloud.sluice(guest).code, 0);
    let told = cloud.sluice(["appliance", "adopt", "r-1"]);
    assert_eq!(told.code, 5, "{told:?}");
    assert!(told.err.contains("address 10.1.1.77 is of guest vm3 (g-3)"), "{told:?}");
    assert_eq!(cloud.sluice(["guest", "delete", "vm3"]).code, 0);
    let told = cloud.sluice(["--wait", "30", "appliance", "adopt", "r-1"]);
    assert_eq!(told.code, 0, "{told:?}");
    // as long as it is in force nobody else gets what it has
    let taken = async |pool: &str, value: &str| {
        let all = cloud.get(&format!("/v1/allocations?pool={pool}")).await;
        let item = all.as_array().unwrap().iter().find(|item| item["value"] == value).cloned();
        item.map(|item| item["state"].clone())
    };
    assert_eq!(taken("guest:n-1", "10.1.1.77").await, Some(json!("releasing")));
    assert_eq!(taken("mac", "02:00:00:77:77:77").await, Some(json!("releasing")));
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm4", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    let end = std::time::Instant::now() + super::wait::PATIENCE;
    while taken("mac", "02:00:00:77:77:77").await.is_some() {
        assert!(std::time::Instant::now() < end, "it is never free");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(taken("guest:n-1", "10.1.1.77").await, None);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_kept_and_can_be_gone_back_to() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    for egress in ["deny", "allow", "deny"] {
        let told = cloud.sluice(["--wait", "30", "network", "update", "net1", "--egress", egress]);
        assert_eq!(told.code, 0, "{told:?}");
    }
    let history = cloud.get("/v1/appliances/r-1/generations").await;
    let numbers: Vec<_> =
        history.as_array().unwrap().iter().map(|one| one["generation"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    assert_eq!(history[0]["reason"], "network net1 changed", "{history}");
    let diff = cloud.sluice(["appliance", "diff", "r-1", "--from", "3", "--to", "4"]);
    assert_eq!(diff.out.lines().count(), 2, "the number and the policy: {diff:?}");
    assert!(diff.out.contains("networks[n-1].egress: \"allow\" -> \"deny\""), "{diff:?}");
    let told = cloud.sluice(["--wait", "30", "appliance", "rollback", "r-1", "--to", "3"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(agent.committed(), Some(5));
    assert_eq!(agent.pushed(), [1, 2, 3, 4, 5]);
    let egress = |config: &Value| config["role"]["router"]["networks"][0]["egress"].clone();
    assert_eq!(egress(&serde_json::to_value(agent.config()).unwrap()), "allow");
    // another start of the manager does not undo it; the next change of the model does
    cloud.restart(&[]).await;
    assert_eq!(egress(&cloud.get("/v1/appliances/r-1/config").await), "allow");
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(egress(&cloud.get("/v1/appliances/r-1/config").await), "deny");
    let told = cloud.sluice(["appliance", "rollback", "r-1", "--to", "77"]);
    assert_eq!(told.code, 4, "{told:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_gone_back_to_that_somebody_else_may_have_by_now() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let (_, made) = cloud.post("/v1/public-ips", json!({ "network": "net1", "name": "web" })).await;
    let address = made["address"].as_str().unwrap().to_owned();
    let told = cloud.sluice(["--wait", "30", "public-ip", "delete", "web"]);
    assert_eq!(told.code, 0, "{told:?}");
    let told = cloud.sluice(["appliance", "rollback", "r-1", "--to", "2"]);
    assert_eq!(told.code, 5, "{told:?}");
    let reason = format!("generation 2 has {address}, which r-1 has no longer");
    assert!(told.err.contains(&reason), "{told:?}");
    assert_eq!(agent.committed(), Some(3));
    let told = cloud.sluice(["--wait", "30", "appliance", "rollback", "r-1", "--to", "1"]);
    assert_eq!(told.code, 0, "{told:?}");
    cloud.stop();
}

/// Whatever time the other manager had by its own clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_by_a_clock_that_was_ahead_does_not_stand_for_ever() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let store = cloud.store().await;
    let mut turn = store.begin().await.unwrap();
    sqlx::query("UPDATE observations SET looked = looked + 86400000")
        .execute(&mut *turn)
        .await
        .unwrap();
    turn.commit().await.unwrap();
    store.close().await;
    agent.set_foreign(40);
    status_says(&cloud, "diverged", "it has generation 40").await;
    cloud.stop();
}
