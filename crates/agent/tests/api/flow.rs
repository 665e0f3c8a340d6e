//! What works: push, confirm, ask, and the document that describes it.

use std::sync::Arc;

use serde_json::json;
use sluice_agent::ServiceName;
use sluice_api::report::{PowerAction, Verdict};
use tokio::time::timeout;

use crate::client::{BOUND, exchange};
use crate::world::{World, at, document, own_address};

#[tokio::test]
async fn a_configuration_is_applied_confirmed_and_shown() {
    let world = World::new().await;
    let manager = world.manager();
    let applied = manager.push("", &document(1)).await.is(200, "applied");
    assert_eq!(applied["confirm_within"], 30, "{applied}");
    assert_eq!(manager.get("/v1/status").await.json()["phase"], "awaiting-confirm");
    manager.post("/v1/config/confirm", &json!({"generation": 2})).await.is(409, "not-pending");
    manager.post("/v1/config/confirm", &json!({"generation": 1})).await.is(200, "committed");
    let status = manager.get("/v1/status").await.json();
    assert_eq!(
        (&status["phase"], &status["current"]["generation"]),
        (&json!("in-force"), &json!(1))
    );
    assert_eq!(manager.get("/v1/config").await.json()["generation"], 1);
    assert_eq!(manager.get("/v1/health").await.status, 200);
    assert!(world.kernel.state().links.contains_key("pub0"), "{}", world.kernel);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let world = World::new().await;
    let manager = world.manager();
    let before = world.kernel.state();
    let preview = manager.push("?dry_run=true", &document(1)).await.json();
    assert!(!preview["plan"]["steps"].as_array().unwrap().is_empty(), "{preview}");
    assert_eq!(world.kernel.state(), before);
    assert_eq!(manager.get("/v1/status").await.json()["phase"], "unconfigured");
}

#[tokio::test]
async fn metrics_and_logs_can_be_read() {
    let world = World::new().await;
    let manager = world.manager();
    manager.push("?confirm_seconds=0", &document(3)).await.is(200, "applied");
    let text = manager.get("/metrics").await.body;
    for line in [
        "sluice_generation 3",
        "sluice_in_force 1",
        "sluice_applies_total{result=\"applied\"} 1",
        "sluice_drift_repairs_total{result=\"ok\"} 0",
    ] {
        assert!(text.lines().any(|have| have == line), "no `{line}` in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    let page = manager.get("/v1/logs?limit=1").await.json();
    assert_eq!(page["entries"][0]["message"], "the first entry", "{page}");
    assert_eq!(page["next_after"], 1, "{page}");
}

#[tokio::test]
async fn a_wish_about_the_power_is_passed_on() {
    let mut world = World::new().await;
    let reply = world.manager().post("/v1/power", &json!({"action": "reboot"})).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let wish = timeout(BOUND, world.power.recv()).await.unwrap();
    assert_eq!(wish, Some(PowerAction::Reboot));
}

#[tokio::test]
async fn the_server_follows_the_control_address_and_open_connections_go_on() {
    let world = World::new().await;
    let manager = world.manager();
    let mut open = manager.open().await.unwrap();
    assert_eq!(exchange(&mut open, "GET", "/v1/health", b"").await.unwrap().status, 200);
    let next = own_address();
    world.listen.send_replace(at(next));
    let moved = world.manager().to(next);
    assert_eq!(moved.get("/v1/health").await.status, 200);
    assert_eq!(exchange(&mut open, "GET", "/v1/status", b"").await.unwrap().status, 200);
    let old = std::net::SocketAddr::new(world.address, 3922);
    let closed = async { while tokio::net::TcpStream::connect(old).await.is_ok() {} };
    timeout(BOUND, closed).await.expect("the old address still accepts");
}

#[tokio::test]
async fn every_path_of_the_document_is_served() {
    let world = World::new().await;
    let manager = world.manager();
    let document = serde_json::to_value(sluice_agent::server::openapi::document()).unwrap();
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let reply = manager.ask(&method.to_uppercase(), path, b"").await.unwrap();
            let served = !reply.body.contains("unknown-path") && reply.status != 405;
            assert!(served, "{method} {path}: {reply:?}");
            seen += 1;
        }
    }
    assert!(seen >= 9, "only {seen} operations in the document");
}

#[tokio::test]
async fn a_manager_comes_for_questions_and_the_first_answer_counts() {
    let world = World::new().await;
    let manager = world.manager();
    assert_eq!(manager.get("/v1/questions").await.json(), json!({ "questions": [] }));
    let question = json!({ "vm": "vm-7", "address": "10.8.0.17", "port": 5907 });
    let asked = Arc::clone(&world.questions).ask(ServiceName("console"), question.clone());
    let answered = async {
        let waiting = manager.get("/v1/questions?wait=30").await.json();
        let first = &waiting["questions"][0];
        assert_eq!((&first["service"], &first["question"]), (&json!("console"), &question));
        let verdict = json!({ "stands": false, "reason": "elsewhere" });
        let answers = json!({ "answers": [{ "id": first["id"], "verdict": verdict }] });
        let taken = async || manager.post("/v1/questions", &answers).await.json()["taken"].clone();
        assert_eq!((taken().await, taken().await), (json!(1), json!(0)));
    };
    let (verdict, ()) = tokio::join!(asked, answered);
    assert_eq!(verdict, Some(Verdict::no("elsewhere")));
    manager.get("/v1/questions?wait=31").await.refuses(422, "query");
    manager.get("/v1/questions?wait=x").await.refuses(422, "query");
    manager
        .post("/v1/questions", &json!({ "answers": [{ "id": 1 }] }))
        .await
        .refuses(422, "missing-field");
}
