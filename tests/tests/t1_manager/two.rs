//! Two managers on one store.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use futures_util::future::join;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use sluice_tests::manager::Manager;

use super::answers::status_says;
use super::process::{Cloud, call};

/// A zone with `pool` public addresses.
async fn prepare(cloud: &Cloud, pool: u32) {
    let last = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 1, 0)) + pool - 1);
    let cloud_of = json!({
        "zones": [{ "name": "zone1", "resolvers": ["192.0.2.53"] }],
        "physical_networks": [{ "zone": "zone1", "name": "physnet1", "vlans": ["100-2000"] }],
        "public_ranges": [{ "zone": "zone1", "name": "public1", "gateway": "198.18.0.1",
            "prefix": 16, "start": "198.18.1.0", "end": last }],
    });
    let (status, answer) = cloud.post("/v1/cloud", cloud_of).await;
    assert_eq!(status, 200, "{answer}");
}

fn network(number: usize) -> Value {
    json!({ "zone": "zone1", "name": format!("net{number}"), "domain": "d.internal", "egress": "deny" })
}

/// Two managers and one more request than there are addresses, of `clients` callers at once.
pub(crate) async fn race(cloud: Cloud, pool: u32, clients: usize) {
    prepare(&cloud, pool).await;
    let second =
        Manager::start(cloud.folder.path(), "127.0.0.1:0".parse().unwrap(), &[]).await.unwrap();
    let managers = [cloud.manager.address, second.address];
    let http = cloud.http();
    let begun = std::time::Instant::now();
    let calls = (0..=pool as usize).map(|number| {
        let (http, address) = (http.clone(), managers[number % 2]);
        async move {
            let body = network(number);
            loop {
                let call = call(&http, address, Method::POST, "/v1/networks", None, &body);
                let answer = call.await.unwrap();
                // busy is an answer of a machine with too much to do, and asks for another try
                if answer.0 != 503 {
                    return answer;
                }
            }
        }
    });
    let answers: Vec<_> = stream::iter(calls).buffer_unordered(clients).collect().await;
    eprintln!("{} requests in {:?}", answers.len(), begun.elapsed());
    let made: Vec<_> = answers.iter().filter(|(status, _)| *status == 201).collect();
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status != 201).collect();
    assert_eq!(made.len(), pool as usize, "{:?}", refused.first());
    assert_eq!((refused[0].0, &refused[0].1["code"]), (507, &json!("exhausted")), "{refused:?}");
    for field in ["source_nat", "vlan", "router"] {
        let values: BTreeSet<_> = made.iter().map(|(_, made)| made[field].to_string()).collect();
        assert_eq!(values.len(), pool as usize, "{field} was given twice");
    }
    let taken = cloud.get("/v1/allocations?pool=public:z-1").await;
    assert_eq!(taken.as_array().unwrap().len(), pool as usize);
    let vlans = cloud.get("/v1/allocations?pool=vlan:pn-1").await;
    assert_eq!(vlans.as_array().unwrap().len(), pool as usize, "the refused request kept a VLAN");
    second.kill();
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_parallel_requests_get_a_thousand_addresses() {
    race(Cloud::start().await, 1000, 1001).await;
}

/// One request, sent to two managers at the same time and again: one answer, and one object.
pub(crate) async fn one_key(cloud: Cloud) {
    prepare(&cloud, 20).await;
    let second =
        Manager::start(cloud.folder.path(), "127.0.0.1:0".parse().unwrap(), &[]).await.unwrap();
    let http = cloud.http();
    for number in 0..8 {
        let (body, key) = (network(number), format!("key-{number}"));
        let ask = |address| call(&http, address, Method::POST, "/v1/networks", Some(&key), &body);
        let (first, other) = join(ask(cloud.manager.address), ask(second.address)).await;
        let (first, other) = (first.unwrap(), other.unwrap());
        assert_eq!(first.0, 201, "{first:?}");
        assert_eq!(first, other);
    }
    assert_eq!(cloud.get("/v1/networks").await.as_array().unwrap().len(), 8);
    second.kill();
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_to_two_managers_at_once_has_one_answer() {
    one_key(Cloud::start().await).await;
}

/// Two managers watch one router; whichever is killed, the other goes on, and nothing is sent twice.
pub(crate) async fn either_goes(cloud: Cloud) {
    let mut cloud = cloud;
    let agent = cloud.first_network_in_sync().await;
    let mut second =
        Manager::start(cloud.folder.path(), "127.0.0.1:0".parse().unwrap(), &[]).await.unwrap();
    for round in 0..2 {
        agent.set_deaf(true);
        status_says(&cloud, "unreachable", "r-1: 127.0.0.1:").await;
        // the one that saw it last is gone, and what it saw must not stay
        if round == 0 {
            cloud.manager.end();
            agent.set_deaf(false);
            let told = second.sluice(["--wait", "30", "status", "r-1"]).unwrap();
            assert_eq!(told.code, 0, "{told:?}");
            cloud.restart(&[]).await;
        } else {
            second.end();
            agent.set_deaf(false);
            let told = cloud.sluice(["--wait", "30", "status", "r-1"]);
            assert_eq!(told.code, 0, "{told:?}");
        }
        let name = format!("w{round}");
        let told = cloud.sluice(["--wait", "30", "guest", "create", &name, "--network", "net1"]);
        assert_eq!(told.code, 0, "{told:?}");
    }
    let status = cloud.get("/v1/appliances/r-1/status").await;
    assert!(status["seen_by"].as_str().unwrap().starts_with("manager-"), "{status}");
    assert_eq!(agent.committed(), Some(3));
    let pushed = agent.pushed();
    assert!(pushed.is_sorted(), "an older generation was sent: {pushed:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_manager_goes_the_other_goes_on() {
    either_goes(Cloud::start().await).await;
}
