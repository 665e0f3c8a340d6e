//! Of several machines that are told to be one appliance, only the newest gets anything.

use super::agent::Agent;
use super::answers::status_says;
use super::process::Cloud;
use super::wait::until;

async fn looked_at(agent: &Agent) {
    let looks = agent.looks();
    until("it is looked at again", || agent.looks() > looks + 3).await;
}

/// The older machine answers: nothing is sent to it, until the newer one, which started `uptime` seconds ago, answers.
async fn fenced(cloud: &Cloud, agent: &Agent, why: &str, newer: (u64, u64)) {
    status_says(cloud, "fenced", why).await;
    let told = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    let pushed = agent.pushed();
    looked_at(agent).await;
    assert_eq!(agent.pushed(), pushed, "the older machine gets nothing");
    agent.set_machine(newer.0, newer.1);
    until("the newer one gets it", || agent.committed() == Some(2)).await;
    until("it is no longer told", || !cloud.sluice(["status"]).out.contains("fenced")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_an_older_boot_document_is_fenced() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    assert_eq!(agent.incarnation(), 1);
    // a boot document that nobody booted changes nothing
    let told = cloud.sluice(["appliance", "boot-document", "r-1", "-o", "-"]);
    assert!(told.out.contains("\"incarnation\": 2"), "{told:?}");
    looked_at(&agent).await;
    assert!(!cloud.sluice(["status"]).out.contains("fenced"));
    agent.set_machine(2, 10);
    looked_at(&agent).await;
    agent.set_machine(1, 3600);
    let why = "a machine with boot document 1 answers, and 2 was seen in use";
    fenced(&cloud, &agent, why, (2, 20)).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_machines_with_one_boot_document_the_older_is_fenced() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_machine(1, 10);
    looked_at(&agent).await;
    agent.set_machine(1, 3600);
    fenced(&cloud, &agent, "two machines with one boot document", (1, 10)).await;
    cloud.stop();
}
