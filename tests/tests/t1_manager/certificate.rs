//! Certificates are renewed by what the appliance shows, whatever was issued to it since.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_manager::ca::{Authority, Issued};
use sluice_manager::store::wanted;

use super::agent::Agent;
use super::answers::status_says;
use super::process::Cloud;
use super::wait::until;

/// A cloud whose router shows a certificate that ends within the hour, and a manager that gives out longer ones; the
/// router does not hear yet.
async fn nearly_ended() -> (Cloud, Agent) {
    let mut cloud = Cloud::start().await;
    cloud.restart(&["--certificate-hours", "1"]).await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_deaf(true);
    // an hour is less than a third of the life that certificates get now
    cloud.restart(&["--certificate-hours", "100"]).await;
    (cloud, agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_before_it_ends() {
    let mut cloud = Cloud::start().await;
    cloud.restart(&["--certificate-hours", "1"]).await;
    let agent = cloud.first_network_in_sync().await;
    let first = agent.certificate();
    // an hour is less than a third of the life that certificates get now
    cloud.restart(&["--certificate-hours", "100"]).await;
    until("a new certificate", || agent.certificate() != first).await;
    let renewals = || agent.certificate();
    let second = renewals();
    let told = cloud.sluice(["guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    until("pushed under the new certificate", || agent.committed() == Some(2)).await;
    assert_eq!(renewals(), second, "renewed once");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_document_that_nobody_booted_does_not_put_off_the_renewal() {
    let (cloud, agent) = nearly_ended().await;
    let first = agent.certificate();
    let told = cloud.sluice(["appliance", "boot-document", "r-1", "-o", "-"]);
    assert_eq!(told.code, 0, "{told:?}");
    agent.set_deaf(false);
    until("a new certificate", || agent.certificate() != first).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_with_the_old_boot_document_is_noticed() {
    let (cloud, agent) = nearly_ended().await;
    let old = agent.identity();
    agent.set_deaf(false);
    until("a new certificate", || agent.certificate() != old.certificate).await;
    let second = agent.certificate();
    agent.set_identity(old.clone());
    until("the old certificate is replaced again", || {
        ![&old.certificate, &second].contains(&&agent.certificate())
    })
    .await;
    cloud.stop();
}

/// A certificate of the cloud's authority that has ended by now.
async fn ended(cloud: &Cloud) -> Issued {
    let store = cloud.folder.path().join("manager.db");
    let authority = Authority::open(&store, Duration::from_hours(1)).unwrap();
    let issued = authority.appliance_for(&"r-1".parse().unwrap(), Duration::ZERO).unwrap();
    let end = UNIX_EPOCH + Duration::from_secs(issued.until.try_into().unwrap());
    until("its end", || SystemTime::now() > end + Duration::from_secs(1)).await;
    issued
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_past_its_end_is_told_with_the_way_back() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_deaf(true);
    agent.set_identity(ended(&cloud).await.identity);
    agent.set_deaf(false);
    status_says(&cloud, "unreachable", "its certificate has run out").await;
    status_says(&cloud, "unreachable", "start its machine with a new boot document").await;
    let status = cloud.sluice(["--json", "status"]);
    assert!(status.out.contains("\"certificate_until\""), "{status:?}");
    // the way back
    let told = cloud.sluice(["appliance", "boot-document", "r-1", "-o", "-"]);
    let document = sluice_api::boot::BootDocument::decode(told.out.as_bytes()).unwrap();
    agent.set_identity(document.identity);
    let waited = cloud.sluice(["status", "--wait", "30"]);
    assert_eq!(waited.code, 0, "{waited:?}\n{}", cloud.log());
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_renewed_is_an_alarm_until_it_is() {
    let (cloud, agent) = nearly_ended().await;
    agent.set_fixed(true);
    agent.set_deaf(false);
    status_says(&cloud, "r-1", "alarm: its certificate ends at 20").await;
    agent.set_fixed(false);
    let first = agent.certificate();
    until("a new certificate", || agent.certificate() != first).await;
    until("no alarm", || !cloud.sluice(["status"]).out.contains("alarm")).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_whose_key_is_known_is_good_for_its_renewal() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_deaf(true);
    let issued = ended(&cloud).await;
    let store = cloud.store().await;
    let mut transaction = store.begin().await.unwrap();
    // as if it had been issued a week ago, and the machine been switched off since
    wanted::add_certificate(&mut transaction, "r-1", issued.until, &issued.key).await.unwrap();
    transaction.commit().await.unwrap();
    agent.set_identity(issued.identity.clone());
    agent.set_deaf(false);
    until("a new certificate", || agent.certificate() != issued.identity.certificate).await;
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(agent.committed(), Some(2));
    store.close().await;
    cloud.stop();
}
