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
    until("an idle router", || agent.committed().is_some() && agent.config().networks.is_empty())
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
