//! A back-up is whole, and what comes of it rolls nothing back and gives no id twice.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::agent::Agent;
use super::answers::status_says;
use super::process::{Cloud, Place};
use super::wait::until;

/// Writes a back-up of a running manager.
pub(crate) fn back_up(cloud: &Cloud) -> PathBuf {
    let file = cloud.folder.path().join("back-up");
    let told = cloud.sluice(["backup", file.to_str().unwrap()]);
    assert_eq!(told.code, 0, "{told:?}\n{}", cloud.log());
    file
}

/// Puts it back into the store of `folder`.
pub(crate) fn put_back(folder: &Path, file: &Path) -> Output {
    Command::new(sluice_tests::bin("sluice-manager"))
        .args(sluice_tests::manager::store(folder))
        .arg("restore")
        .arg(file)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

/// The example in force with a third guest, a back-up of that, and a manager on a store that was made of it; `since` is
/// done after the back-up.
async fn restored(since: impl FnOnce(&Cloud)) -> (Cloud, Agent, String) {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    let exported = cloud.sluice(["export"]).out;
    let file = back_up(&cloud);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    since(&cloud);
    let place = Place::new().await;
    let put = put_back(place.path(), &file);
    assert!(put.status.success(), "{put:?}");
    cloud.stop();
    (Cloud::on(place).await, agent, exported)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_rolls_nothing_back_and_gives_no_id_twice() {
    let (cloud, agent, exported) = restored(|cloud| {
        let change = ["--wait", "30", "network", "update", "net1", "--egress", "deny"];
        assert_eq!(cloud.sluice(change).code, 0);
        let second = super::second_network(cloud);
        assert_eq!(cloud.sluice(["apply", &second, "--yes"]).code, 0);
    })
    .await;
    assert_eq!(cloud.sluice(["export"]).out, exported, "nothing is lost");
    status_says(&cloud, "diverged", "it has generation 3, which this store never gave").await;
    assert_eq!(cloud.sluice(["resume"]).code, 0);
    let looks = agent.looks();
    until("it is looked at again", || agent.looks() > looks + 5).await;
    assert_eq!(agent.committed(), Some(3), "nothing is rolled back by itself");
    let diff = cloud.sluice(["appliance", "diff", "r-1", "--from", "found"]);
    assert!(diff.out.contains("networks[n-1].egress: \"deny\" -> \"allow\""), "{diff:?}");
    // r-2 and n-2 were given out after the back-up, and may be in use somewhere
    let second = super::second_network(&cloud);
    let told = cloud.sluice(["apply", &second, "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    let networks = cloud.get("/v1/networks").await;
    let made = &networks[1];
    assert_eq!((made["id"].as_str(), made["router"].as_str()), (Some("n-20001"), Some("r-20001")));
    let told = cloud.sluice(["--wait", "30", "appliance", "overwrite", "r-1"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(agent.committed(), Some(4));
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_pushes_nothing_until_somebody_says_so() {
    let (cloud, agent, _) = restored(|_| ()).await;
    let told = cloud.sluice(["guest", "create", "vm4", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    status_says(&cloud, "held", "the store was put back from the back-up of 20").await;
    assert_eq!(agent.committed(), Some(2));
    assert_eq!(cloud.sluice(["resume"]).code, 0);
    until("it is pushed", || agent.committed() == Some(3)).await;
    cloud.stop();
}

/// What was said by a restore that must be refused.
fn refused(folder: &Path, file: &Path) -> String {
    let put = put_back(folder, file);
    assert_eq!(put.status.code(), Some(1), "{put:?}");
    String::from_utf8(put.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_up_is_put_back_whole_or_not_at_all() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &super::first_network(), "--yes"]).code, 0);
    let file = back_up(&cloud);
    let told = refused(cloud.folder.path(), &file);
    assert!(told.contains("is not empty"), "{told}");
    let other = Place::new().await;
    let stranger = Cloud::start().await;
    let authority = stranger.folder.path().join("manager.ca.pem");
    fs::copy(authority, other.path().join("manager.ca.pem")).unwrap();
    stranger.stop();
    let told = refused(other.path(), &file);
    assert!(told.contains("holds another authority"), "{told}");
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let broken = |text: String| {
        let path = cloud.folder.path().join("broken");
        fs::write(&path, text).unwrap();
        path
    };
    let without_end = lines[..lines.len() - 1].join("\n");
    let without_a_row = [&lines[..3], &lines[4..]].concat().join("\n");
    let half = text[..text.len() / 2].to_owned();
    let later = text.replacen("\"backup\":1", "\"backup\":2", 1);
    for (text, why) in [
        (without_end, "it broke off here"),
        (without_a_row, "rows were written"),
        (half, "line"),
        (later, "it was made by a later build"),
        (String::new(), "it is no back-up"),
        ("{\"a\": 1}\n".to_owned(), "it is no back-up"),
    ] {
        let place = Place::new().await;
        let told = refused(place.path(), &broken(text));
        assert!(told.contains(why), "{why}: {told}");
        assert!(!place.path().join("manager.ca.pem").exists(), "{why}: the authority is there");
        let put = put_back(place.path(), &file);
        assert!(put.status.success(), "{why}: something was left behind: {put:?}");
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_up_can_be_taken_while_the_cloud_changes() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &super::first_network(), "--yes"]).code, 0);
    let file = cloud.folder.path().join("back-up");
    let mut changing = cloud.manager.start_sluice(["backup", file.to_str().unwrap()]).unwrap();
    for number in 0..5 {
        let name = format!("w{number}");
        let told = cloud.sluice(["guest", "create", &name, "--network", "net1"]);
        assert_eq!(told.code, 0, "{told:?}");
    }
    assert!(changing.wait().unwrap().success());
    let place = Place::new().await;
    assert!(put_back(place.path(), &file).status.success());
    let other = Cloud::on(place).await;
    let guests = other.get("/v1/guests").await;
    let addresses = other.get("/v1/allocations?pool=guest:n-1").await;
    assert_eq!(guests.as_array().unwrap().len(), addresses.as_array().unwrap().len(), "one moment");
    other.stop();
    cloud.stop();
}
