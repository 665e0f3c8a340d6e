//! Two managers on one store.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sluice_tests::manager::Manager;

use super::process::{Cloud, call};

/// Addresses in the pool, and requests for them at once.
const POOL: usize = 1000;

async fn prepare(cloud: &Cloud) {
    let cloud_of = json!({
        "zones": [{ "name": "zone1", "resolvers": ["192.0.2.53"] }],
        "physical_networks": [{ "zone": "zone1", "name": "physnet1", "vlans": ["100-2000"] }],
        "public_ranges": [{ "zone": "zone1", "name": "public1", "gateway": "198.18.0.1",
            "prefix": 16, "start": "198.18.1.0", "end": "198.18.4.231" }],
    });
    let (status, answer) = cloud.post("/v1/cloud", cloud_of).await;
    assert_eq!(status, 200, "{answer}");
}

fn network(number: usize) -> Value {
    json!({ "zone": "zone1", "name": format!("net{number}"), "domain": "d.internal", "egress": "deny" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_parallel_requests_get_a_thousand_addresses() {
    let cloud = Cloud::start().await;
    prepare(&cloud).await;
    let second =
        Manager::start(cloud.folder.path(), "127.0.0.1:0".parse().unwrap(), &[]).await.unwrap();
    let managers = [cloud.manager.address, second.address];
    let http = cloud.http();
    let begun = std::time::Instant::now();
    let calls = (0..=POOL).map(|number| {
        let (http, address) = (http.clone(), managers[number % 2]);
        tokio::spawn(async move {
            let body = network(number);
            loop {
                let call = call(&http, address, Method::POST, "/v1/networks", None, &body);
                let answer = call.await.unwrap();
                // busy is an answer of a machine with too much to do, and asks for another try
                if answer.0 != 503 {
                    return answer;
                }
            }
        })
    });
    let answers: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    println!("{} requests in {:?}", answers.len(), begun.elapsed());
    let made: Vec<_> = answers.iter().filter(|(status, _)| *status == 201).collect();
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status != 201).collect();
    assert_eq!(made.len(), POOL, "{:?}", refused.first());
    assert_eq!((refused[0].0, &refused[0].1["code"]), (507, &json!("exhausted")), "{refused:?}");
    for field in ["source_nat", "vlan", "router"] {
        let values: BTreeSet<_> = made.iter().map(|(_, made)| made[field].to_string()).collect();
        assert_eq!(values.len(), POOL, "{field} was given twice");
    }
    let taken = cloud.get("/v1/allocations?pool=public:z-1").await;
    assert_eq!(taken.as_array().unwrap().len(), POOL);
    let vlans = cloud.get("/v1/allocations?pool=vlan:pn-1").await;
    assert_eq!(vlans.as_array().unwrap().len(), POOL, "the refused request kept a VLAN");
    second.kill();
    cloud.stop();
}
