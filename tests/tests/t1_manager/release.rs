//! Two-phase release: what is given back is nobody's until the router confirmed a configuration without it.

use reqwest::Method;
use serde_json::{Value, json};

use super::process::Cloud;
use super::wait::until;

async fn releasing(cloud: &Cloud) -> Vec<Value> {
    let all = cloud.get("/v1/allocations").await;
    let all = all.as_array().unwrap().iter();
    all.filter(|item| item["state"] == "releasing").cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_free_only_after_the_router_let_it_go() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let guest = json!({ "network": "net1", "name": "vm9", "address": "10.1.1.9",
        "mac": "02:00:00:00:09:09" });
    assert_eq!(cloud.post("/v1/guests", guest.clone()).await.0, 201);
    until("vm9 is known", || agent.committed() == Some(2)).await;
    agent.set_deaf(true);
    let gone = cloud.call(Method::DELETE, "/v1/guests/vm9", None, &Value::Null).await.unwrap();
    assert_eq!(gone.0, 200, "{gone:?}");
    let held = releasing(&cloud).await;
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(held.iter().all(|item| item["release_generation"] == 3), "{held:?}");
    let (status, problem) = cloud.post("/v1/guests", guest.clone()).await;
    assert_eq!(
        (status, &problem["code"], &problem["field"]),
        (409, &json!("conflict"), &json!("address"))
    );
    agent.set_deaf(false);
    until("the router let it go", || agent.committed() == Some(3)).await;
    let mut last = (0, Value::Null);
    for _ in 0..200 {
        last = cloud.post("/v1/guests", guest.clone()).await;
        if last.0 == 201 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(last.0, 201, "{last:?}");
    assert!(releasing(&cloud).await.is_empty());
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_network_leaves_its_router_idle_until_the_machine_is_gone() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let used = cloud.sluice(["network", "delete", "net1"]);
    assert_eq!(used.code, 5, "{used:?}");
    for guest in ["vm1", "vm2"] {
        assert_eq!(cloud.sluice(["guest", "delete", guest]).code, 0);
    }
    assert_eq!(cloud.sluice(["network", "delete", "net1"]).code, 0);
    until("an idle router", || {
        agent.committed().is_some() && agent.config().role.networks.is_empty()
    })
    .await;
    assert!(agent.config().links.iter().all(|link| link.name.as_str() == "ctl"));
    let mut all = Value::Null;
    for _ in 0..200 {
        all = cloud.get("/v1/allocations").await;
        if all.as_array().unwrap().iter().all(|item| item["owner"] == "r-1") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(all.as_array().unwrap().iter().all(|item| item["owner"] == "r-1"), "{all}");
    let gone = cloud.sluice(["appliance", "delete", "r-1"]);
    assert_eq!((gone.code, gone.out.as_str()), (0, "deleted appliance r-1\n"));
    assert_eq!(cloud.get("/v1/allocations").await, json!([]));
    cloud.stop();
}

/// The zone of the example with nothing in it.
fn empty_zone(cloud: &Cloud) -> String {
    let text = std::fs::read_to_string(super::first_network()).unwrap();
    let start = text.find("[[zones]]").unwrap();
    let zone =
        text[start + 2..].find("\n[[").map_or(&text[start..], |end| &text[start..start + 2 + end]);
    let file = cloud.folder.path().join("empty.toml");
    std::fs::write(&file, zone).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_leaves_a_description_together_with_its_range() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_deaf(true);
    let file = empty_zone(&cloud);
    let kept = cloud.sluice(["apply", &file, "--yes"]);
    assert_eq!((kept.code, kept.out.as_str()), (0, "nothing to do\n"), "nothing goes unasked");
    let told = cloud.sluice(["apply", &file, "--yes", "--prune"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("- network net1"), "{told:?}");
    for kept in ["! public range ", "! physical network "] {
        assert!(told.out.contains(kept), "{told:?}");
    }
    assert!(told.out.contains("waits until r-1 confirmed"), "{told:?}");
    let held = cloud.sluice(["diff", "--prune", &file]);
    assert_eq!(held.code, 10, "{held:?}");
    assert!(held.out.ends_with("nothing to do now\n"), "{held:?}");
    agent.set_deaf(false);
    until("the router let go", || {
        cloud.sluice(["diff", "--prune", &file]).out.contains("- public range")
    })
    .await;
    let told = cloud.sluice(["apply", &file, "--yes", "--prune"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(cloud.sluice(["diff", "--prune", &file]).out, "nothing to do\n");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_shown_is_made() {
    let cloud = Cloud::start().await;
    let text = std::fs::read_to_string(super::first_network()).unwrap();
    let body = serde_json::to_value(toml::from_str::<toml::Value>(&text).unwrap()).unwrap();
    let (status, shown) = cloud.post("/v1/cloud?dry_run=true", body.clone()).await;
    assert_eq!(status, 200, "{shown}");
    let digest = shown["digest"].as_str().unwrap();
    let zone = json!({ "name": "zone1", "resolvers": ["192.0.2.77"] });
    assert_eq!(cloud.post("/v1/zones", zone).await.0, 201);
    let path = format!("/v1/cloud?expect={digest}");
    let (status, problem) = cloud.post(&path, body.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("moved")), "{problem}");
    assert_eq!(cloud.get("/v1/networks").await, json!([]));
    let (_, shown) = cloud.post("/v1/cloud?dry_run=true", body.clone()).await;
    let path = format!("/v1/cloud?expect={}", shown["digest"].as_str().unwrap());
    let (status, made) = cloud.post(&path, body).await;
    assert_eq!((status, &made["changes"]), (200, &shown["changes"]), "{made}");
    cloud.stop();
}
