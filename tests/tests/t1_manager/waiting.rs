//! Every answer to a change says when it is in force, and can be waited for.

use axum::Json;
use axum::http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::Finding;
use sluice_api::report::Answer;

use super::process::Cloud;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_waited_for_until_it_is_in_force() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 0, "{told:?}\n{}", cloud.log());
    assert!(told.out.contains("r-1 generation 2: in force"), "{told:?}");
    assert_eq!(agent.committed(), Some(2));
    let told =
        cloud.sluice(["--wait", "30", "--json", "network", "update", "net1", "--egress", "deny"]);
    let answer: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(answer["answer"]["effects"], json!([{ "appliance": "r-1", "generation": 3 }]));
    assert_eq!(answer["settled"][0]["state"], "in-force", "{answer}");
    // what concerns no appliance is in force at once
    let zone = ["--wait", "30", "zone", "create", "z9", "--resolvers", "192.0.2.1"];
    assert_eq!(cloud.sluice(zone).code, 0);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_change_ends_the_waiting_with_its_findings() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let findings = vec![Finding::error("links[0].name", "test", "no such luck")];
    agent.script(vec![Answer::Rejected { findings }; 100]);
    let told = cloud.sluice(["--wait", "30", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 9, "{told:?}");
    assert!(told.out.contains("r-1 generation 2: rejected"), "{told:?}");
    assert!(told.out.contains("error: links[0].name: no such luck [test]"), "{told:?}");
    let status = cloud.get("/v1/appliances/r-1/generations/2").await;
    assert_eq!(status["findings"][0]["path"], "links[0].name", "{status}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_the_time_is_over() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    agent.set_deaf(true);
    let told = cloud.sluice(["--wait", "1", "guest", "create", "vm3", "--network", "net1"]);
    assert_eq!(told.code, 8, "{told:?}");
    assert!(told.out.contains("r-1 generation 2: pending"), "{told:?}");
    let begun = std::time::Instant::now();
    let path = "/v1/appliances/r-1/generations/2?wait=1s";
    assert_eq!(cloud.get(path).await["state"], "pending");
    assert!(begun.elapsed().as_millis() >= 1000, "it waited");
    for (path, status) in [
        ("/v1/appliances/r-1/generations/9", 404),
        ("/v1/appliances/r-1/generations/x", 404),
        ("/v1/appliances/r-1/generations/2?wait=soon", 422),
    ] {
        let (got, body) = cloud.call(Method::GET, path, None, &Value::Null).await.unwrap();
        assert_eq!(got, status, "{path}: {body}");
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn status_can_name_appliances() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let second = super::second_network(&cloud);
    assert_eq!(cloud.sluice(["apply", &second, "--yes"]).code, 0);
    assert_eq!(cloud.sluice(["--wait", "1", "status"]).code, 8, "r-2 has no machine");
    let told = cloud.sluice(["--wait", "30", "status", "r-1"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(!told.out.contains("r-2"), "{told:?}");
    assert_eq!(cloud.sluice(["status", "r-9"]).code, 4);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_services_say_is_asked_from_the_appliance() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let report = cloud.get("/v1/appliances/r-1/reports/dhcp").await;
    assert_eq!((&report["state"], &report["report"]["leases"]), (&json!("running"), &json!(2)));
    let told = cloud.sluice(["appliance", "report", "r-1"]);
    assert!(told.out.contains("dhcp") && told.out.contains("leases=2"), "{told:?}");
    assert_eq!(cloud.sluice(["appliance", "report", "r-1", "dhcp"]).out, "leases  2\n");
    assert_eq!(cloud.sluice(["appliance", "report", "r-1", "vpn"]).code, 4);
    cloud.stop();
}

/// The change is made whatever comes of the waiting, and a secret in its answer is told this once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_answered_is_told_though_the_waiting_fails() {
    let cloud = Cloud::start().await;
    let effects = json!([{ "appliance": "r-1", "generation": 2 }]);
    let answer =
        json!({ "id": "g-1", "effects": effects, "once": { "g-1": { "password": "told" } } });
    let made = answer.clone();
    let gone = json!({ "code": "not-found", "message": "there is no appliance r-1" });
    let stub = axum::Router::new().fallback(move |method: Method| {
        let changes = method == Method::POST;
        let answer = if changes { (StatusCode::OK, made) } else { (StatusCode::NOT_FOUND, gone) };
        std::future::ready((answer.0, Json(answer.1)))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, stub).await });
    let words = ["--manager", &url, "--json", "--wait", "5", "guest", "reset-password", "g-1"];
    let told = cloud.sluice(words);
    assert_eq!(told.code, 4, "{told:?}");
    let shown: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(shown["answer"], answer, "{told:?}");
    cloud.stop();
}
