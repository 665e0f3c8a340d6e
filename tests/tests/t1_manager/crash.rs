//! A manager that is killed at any moment loses and doubles nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use super::process::{Cloud, call};
use super::wait::{PATIENCE, until};

/// Guests made while managers die.
const GUESTS: usize = 80;
/// Callers at once.
const CALLERS: usize = 8;

/// Creates guest number `number`, asking with the same request id until there is an answer.
async fn insist(http: &reqwest::Client, address: SocketAddr, number: usize) -> Value {
    let body = json!({ "network": "net1", "name": format!("c{number}") });
    let key = format!("crash-{number}");
    loop {
        let answer = call(http, address, Method::POST, "/v1/guests", Some(&key), &body).await;
        match answer {
            Some((201, guest)) => return guest,
            Some((503, _)) | None => tokio::task::yield_now().await,
            Some(other) => panic!("guest c{number}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_managers_lose_and_double_nothing() {
    killed(Cloud::start().await, 12).await;
}

/// Guests are made while the manager is killed so many times.
pub(crate) async fn killed(mut cloud: Cloud, kills: usize) {
    let agent = cloud.first_network_in_sync().await;
    let (http, address) = (cloud.http(), cloud.manager.address);
    let done = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (http, done) = (http.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut made = Vec::new();
                for number in (caller..GUESTS).step_by(CALLERS) {
                    made.push(insist(&http, address, number).await);
                    done.fetch_add(1, Ordering::SeqCst);
                }
                made
            })
        })
        .collect();
    for round in 1..=kills {
        let enough = round * GUESTS / (kills + 1);
        until("guests are made", || done.load(Ordering::SeqCst) >= enough).await;
        cloud.restart(&[]).await;
    }
    let mut answered = Vec::new();
    for caller in callers {
        answered.extend(caller.await.unwrap());
    }
    nothing_lost_or_doubled(&cloud, &answered).await;
    until("the router has all", || {
        agent.committed().is_some() && agent.config().role.networks[0].guests.len() == GUESTS + 2
    })
    .await;
    let pushed = agent.pushed();
    assert!(pushed.is_sorted(), "an older generation was sent: {pushed:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_outlives_a_manager_that_is_restarted() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_deaf(true);
    until("it is noticed", || cloud.sluice(["status"]).out.contains("unreachable")).await;
    let waiting = cloud.manager.start_sluice(["status", "--wait", "60"]).unwrap();
    let address = cloud.manager.address;
    cloud.manager.end();
    // whoever looks now is cut off, and it is certain that somebody did
    let nobody = tokio::net::TcpListener::bind(address).await.unwrap();
    drop(tokio::time::timeout(PATIENCE, nobody.accept()).await.unwrap().unwrap());
    drop(nobody);
    agent.set_deaf(false);
    cloud.restart(&[]).await;
    let told = waiting.wait_with_output().unwrap();
    assert!(told.status.success(), "{told:?}");
    cloud.stop();
}

async fn nothing_lost_or_doubled(cloud: &Cloud, answered: &[Value]) {
    let guests = cloud.get("/v1/guests").await;
    let guests = guests.as_array().unwrap();
    assert_eq!(guests.len(), GUESTS + 2);
    for answer in answered {
        let mut made = answer.clone();
        assert!(made.as_object_mut().unwrap().remove("effects").is_some(), "{answer}");
        assert!(guests.contains(&made), "{answer} was answered and is lost");
    }
    let addresses: BTreeSet<_> =
        guests.iter().map(|g| g["nics"][0]["address"].to_string()).collect();
    let macs: BTreeSet<_> = guests.iter().map(|g| g["nics"][0]["mac"].to_string()).collect();
    assert_eq!((addresses.len(), macs.len()), (GUESTS + 2, GUESTS + 2));
    let taken = cloud.get("/v1/allocations?pool=guest:n-1").await;
    let taken: BTreeSet<_> =
        taken.as_array().unwrap().iter().map(|item| item["value"].to_string()).collect();
    assert_eq!(taken, addresses, "an address leaked or is not taken");
}
