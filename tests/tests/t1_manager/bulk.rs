//! A change that concerns many appliances is made at once; their configurations follow.

use reqwest::Method;
use serde_json::{Value, json};
use sluice_manager::store::promises;
use sluice_tests::manager::Manager;

use super::process::Cloud;
use super::wait::until;

/// Routers besides the example's: more than are compiled within a change.
const MORE: usize = 40;

async fn resolve(cloud: &Cloud, resolver: &str) -> Vec<Value> {
    let change = json!({ "resolvers": [resolver] });
    let call = cloud.call(Method::PATCH, "/v1/zones/zone1", None, &change).await;
    let (status, answer) = call.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer["effects"].as_array().unwrap().clone()
}

/// What became of the change in this generation, as soon as that is settled.
async fn became(cloud: &Cloud, effect: &Value) -> Value {
    let (appliance, generation) = (effect["appliance"].as_str().unwrap(), &effect["generation"]);
    cloud.get(&format!("/v1/appliances/{appliance}/generations/{generation}?wait=30s")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_many_appliances_is_made_at_once_and_compiled_afterwards() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    for _ in 0..MORE {
        let body = json!({ "zone": "zone1", "role": "router" });
        let (status, answer) = cloud.post("/v1/appliances", body).await;
        assert_eq!(status, 201, "{answer}");
    }
    let mut last = Value::Null;
    for resolver in ["192.0.2.61", "192.0.2.62"] {
        let effects = resolve(&cloud, resolver).await;
        assert_eq!(effects.len(), MORE + 1);
        last = effects.iter().find(|effect| effect["appliance"] == "r-1").unwrap().clone();
    }
    let settled = became(&cloud, &last).await;
    assert_eq!(settled["state"], "in-force", "{settled}");
    assert_eq!(settled["reason"], "zone zone1 changed", "{settled}");
    let config = serde_json::to_value(agent.config()).unwrap();
    assert!(config.to_string().contains("192.0.2.62"), "{config}");
    assert!(!config.to_string().contains("192.0.2.61"), "{config}");
    let numbers = agent.pushed();
    assert!(numbers.is_sorted() && numbers.len() <= 3, "{numbers:?}");
    // one whose configuration did not change is told about by the number that it was promised all the same
    let status = cloud.get("/v1/appliances/r-2/generations/2").await;
    assert_eq!(status["generation"], 2, "{status}");
    let (status, _) = cloud
        .call(Method::GET, "/v1/appliances/r-2/generations/9", None, &Value::Null)
        .await
        .unwrap();
    assert_eq!(status, 404, "nobody promised that");
    // a single change while all of that goes on
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}");
    until("the guest is there", || agent.config().role.networks[0].guests.len() == 3).await;
    // two managers share the work while changes go on, and the last word counts for every appliance
    let place = "127.0.0.1:0".parse().unwrap();
    let second = Manager::start(cloud.folder.path(), place, &[]).await.unwrap();
    let mut effects = Vec::new();
    for number in 70..82 {
        effects = resolve(&cloud, &format!("192.0.2.{number}")).await;
    }
    assert_eq!(effects.len(), MORE + 1);
    let own = effects.iter().find(|effect| effect["appliance"] == "r-1").unwrap();
    let settled = became(&cloud, own).await;
    assert_eq!(settled["state"], "in-force", "{settled}");
    let config = serde_json::to_value(agent.config()).unwrap().to_string();
    assert!(config.contains("192.0.2.81") && !config.contains("192.0.2.80"), "{config}");
    let store = cloud.store().await;
    let mut open = None;
    for _ in 0..600 {
        let found = promises::open(&mut store.read().await.unwrap(), 1).await.unwrap().pop();
        open = found;
        if open.is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(open, None, "what was promised is kept");
    store.close().await;
    second.kill();
    cloud.stop();
}
