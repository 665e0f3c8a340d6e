//! The authority is the store's, can be lost and put back, and changed without losing an appliance.

use std::fs;

use serde_json::{Value, json};
use sluice_tests::manager::Manager;

use super::process::Cloud;
use super::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_authority_is_not_replaced_without_a_word() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    cloud.manager.end();
    let file = cloud.folder.path().join("manager.ca.pem");
    let text = fs::read_to_string(&file).unwrap();
    let address = cloud.manager.address;
    let refused = async |why: &str| {
        let error = Manager::start(cloud.folder.path(), address, &[]).await.unwrap_err();
        let told = format!("{error:#}");
        assert!(told.contains(why) && told.contains("--replace-authority"), "{told}");
    };
    fs::remove_file(&file).unwrap();
    refused("is lost, and every appliance knows that authority alone").await;
    assert!(!file.exists(), "no new one was made");
    let other = tempfile::tempdir().unwrap();
    let foreign = Manager::start(other.path(), "127.0.0.1:0".parse().unwrap(), &[]).await.unwrap();
    fs::copy(other.path().join("manager.ca.pem"), &file).unwrap();
    foreign.kill();
    refused("is not that of the store").await;
    fs::write(&file, text).unwrap();
    cloud.restart(&[]).await;
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(agent.committed(), Some(2));
    fs::remove_file(&file).unwrap();
    cloud.restart(&["--replace-authority"]).await;
    assert!(file.exists(), "it was asked for");
    cloud.stop();
}

fn shown(cloud: &Cloud) -> Value {
    let told = cloud.sluice(["--json", "ca", "show"]);
    serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{told:?}"))
}

fn changed(cloud: &Cloud, name: &str) {
    let told = cloud.sluice(["--wait", "30", "guest", "create", name, "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}\n{}", cloud.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_changed_with_no_appliance_lost() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let (first, before) = (agent.certificate(), shown(&cloud));
    // one that is away while it happens comes back with what it knows
    agent.set_deaf(true);
    let told = cloud.sluice(["ca", "rotate"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(shown(&cloud)["older"], json!([before["current"]]));
    let told = cloud.sluice(["ca", "retire"]);
    assert_eq!(told.code, 5, "it knows the older one alone: {told:?}");
    agent.set_deaf(false);
    until("a certificate of the new authority", || agent.certificate() != first).await;
    until("it is seen with it", || shown(&cloud)["waiting"] == json!([])).await;
    changed(&cloud, "vm3");
    let second = agent.certificate();
    assert_eq!(cloud.sluice(["ca", "retire"]).code, 0);
    assert_eq!(shown(&cloud)["older"], json!([]));
    until("it is told to trust the new one alone", || agent.certificate() != second).await;
    assert_eq!(agent.identity().authority.matches("BEGIN CERTIFICATE").count(), 1);
    changed(&cloud, "vm4");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_manager_takes_up_a_changed_authority() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let second =
        Manager::start(cloud.folder.path(), "127.0.0.1:0".parse().unwrap(), &[]).await.unwrap();
    let first = agent.certificate();
    assert_eq!(second.sluice(["ca", "rotate"]).unwrap().code, 0);
    until("a certificate of the new authority", || agent.certificate() != first).await;
    // the other manager says so until it has read the changed file itself
    until("the older one can be given up", || second.sluice(["ca", "retire"]).unwrap().code == 0)
        .await;
    second.kill();
    changed(&cloud, "vm3");
    cloud.restart(&[]).await;
    changed(&cloud, "vm4");
    cloud.stop();
}
