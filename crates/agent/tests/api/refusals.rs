//! What is refused: with a reason, and with no effect.

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::client::{BOUND, Reply, exchange_as};
use crate::world::{Authority, World, document, own_address};

async fn nobody_but_clients(world: &World, identity: Option<&sluice_api::boot::Identity>) {
    let answer = world.client(identity).ask("GET", "/v1/status", b"").await;
    let error = answer.expect_err("an answer without a client's certificate");
    let text = error.to_string().to_lowercase();
    assert!(text.contains("certificate") || text.contains("alert"), "{error}");
}

#[tokio::test]
async fn only_a_client_certificate_of_our_authority_opens() {
    let world = World::new().await;
    let other = Authority::new();
    nobody_but_clients(&world, None).await;
    nobody_but_clients(&world, Some(&other.manager())).await;
    nobody_but_clients(&world, Some(&world.authority.server("r-2"))).await;
    nobody_but_clients(&world, Some(&world.authority.issue("manager", &[]))).await;
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let both = world.client(Some(&world.authority.issue("manager", &both)));
    assert_eq!(both.get("/v1/status").await.status, 200);
}

#[tokio::test]
async fn garbage_and_silence_are_hung_up_on_and_others_are_served() {
    let world = World::new().await;
    let manager = world.manager();
    let mut silent = manager.tcp().await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0x16, 3, 1, 0xff, 0xff]] {
        let mut stream = manager.tcp().await;
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // a reset is as good as an orderly end
        let _ = timeout(BOUND, stream.read_to_end(&mut rest)).await.expect("hung up");
        assert!(!rest.starts_with(b"HTTP"), "answered to garbage: {rest:?}");
        assert_eq!(manager.get("/v1/status").await.status, 200);
    }
    let mut rest = Vec::new();
    let _ = timeout(BOUND, silent.read_to_end(&mut rest)).await.expect("silence hung up on");
}

#[tokio::test]
async fn a_crowd_without_certificates_does_not_keep_the_manager_out() {
    let world = World::new().await;
    let manager = world.manager();
    assert_eq!(manager.get("/v1/health").await.status, 200);
    // twenty addresses have more than all places between them; their handshakes end after five seconds each time, and
    // the manager's own then has its turn
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let source = own_address();
        for _ in 0..15 {
            crowd.push(manager.tcp_from(source).await);
        }
    }
    assert_eq!(manager.get("/v1/health").await.status, 200);
}

#[tokio::test]
async fn one_silent_neighbour_does_not_keep_the_manager_waiting() {
    let world = World::with_handshakes_of(Duration::from_mins(1)).await;
    let manager = world.manager();
    assert_eq!(manager.get("/v1/health").await.status, 200);
    let source = own_address();
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(manager.tcp_from(source).await);
    }
    // a handshake may take a minute: whoever waits for the crowd's waits so long
    let soon = timeout(Duration::from_secs(30), manager.get("/v1/health")).await;
    assert_eq!(soon.expect("the crowd holds all handshakes").status, 200);
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused() {
    let world = World::new().await;
    let before = world.kernel.state();
    let body = vec![b' '; 10 * 1024 * 1024];
    let reply = world.manager().ask("PUT", "/v1/config", &body).await.unwrap();
    reply.refuses(413, "too-large");
    assert_eq!(world.kernel.state(), before);
}

/// `PUT /v1/config` of a body that says it is packed in some way.
async fn packed(world: &World, encoding: &str, body: &[u8]) -> Reply {
    let mut stream = world.manager().open().await.unwrap();
    let line = format!("content-encoding: {encoding}\r\n");
    exchange_as(&mut stream, "PUT", "/v1/config?confirm_seconds=0", &line, body).await.unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn a_packed_configuration_is_what_it_unpacks_to_and_takes_no_more_memory_than_is_said() {
    let world = World::new().await;
    let before = world.kernel.state();
    let document = document(1).to_string();
    packed(&world, "br", document.as_bytes()).await.refuses(415, "encoding");
    packed(&world, "gzip", document.as_bytes()).await.refuses(400, "encoding");
    let whole = gzip(document.as_bytes());
    packed(&world, "gzip", &whole[..whole.len() - 9]).await.refuses(400, "encoding");
    // some ten thousand bytes that would be ten million and more
    let bomb = gzip(&vec![b' '; sluice_api::MAX_CONFIG + 1]);
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    packed(&world, "gzip", &bomb).await.refuses(413, "too-large");
    assert_eq!(world.kernel.state(), before);
    packed(&world, "gzip", &whole).await.is(200, "applied");
    // the digest is of what it unpacks to
    packed(&world, "identity", document.as_bytes()).await.is(200, "already");
    assert_eq!(world.manager().get("/v1/config").await.body, document);
}

#[tokio::test]
async fn bad_documents_are_refused_with_all_findings_and_no_effect() {
    let world = World::new().await;
    let manager = world.manager();
    let before = world.kernel.state();
    let mut bad = document(1);
    bad["colour"] = json!("red");
    bad["links"][1]["speed"] = json!(10);
    let answer = manager.push("", &bad).await.refuses(422, "unknown-field");
    assert!(answer["findings"].as_array().unwrap().len() >= 2, "{answer}");
    let mut twice = document(1);
    twice["links"][1]["attach"] = twice["links"][0]["attach"].clone();
    manager.push("", &twice).await.refuses(422, "duplicate-mac");
    let mut elsewhere = document(1);
    elsewhere["appliance"] = json!("r-2");
    manager.push("", &elsewhere).await.refuses(422, "wrong-appliance");
    manager.ask("PUT", "/v1/config", b"\xff\x00{").await.unwrap().refuses(422, "syntax");
    manager.push("?dryrun=true", &document(1)).await.refuses(422, "query");
    manager.push("?confirm_seconds=99999", &document(1)).await.refuses(422, "query");
    assert_eq!(world.kernel.state(), before);
    assert_eq!(manager.get("/v1/status").await.json()["phase"], "unconfigured");
}

#[tokio::test]
async fn generations_only_rise_and_keep_their_content() {
    let world = World::new().await;
    let manager = world.manager();
    manager.push("?confirm_seconds=0", &document(5)).await.is(200, "applied");
    let after = world.kernel.state();
    manager.push("", &document(4)).await.is(409, "stale");
    manager.push("", &document(5)).await.is(200, "already");
    let mut other = document(5);
    other["role"]["router"]["hostname"] = json!("other");
    manager.push("", &other).await.is(409, "changed");
    assert_eq!(world.kernel.state(), after);
}

#[tokio::test]
async fn a_push_while_another_waits_for_its_confirmation_is_told_to_come_back() {
    let world = World::new().await;
    let manager = world.manager();
    manager.push("?confirm_seconds=600", &document(1)).await.is(200, "applied");
    let after = world.kernel.state();
    let busy = manager.push("", &document(2)).await.is(503, "busy");
    assert_eq!(busy["generation"], 1, "{busy}");
    assert_eq!(world.kernel.state(), after);
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let world = World::new().await;
    let manager = world.manager();
    manager.get("/v1/nothing").await.refuses(404, "unknown-path");
    manager.ask("DELETE", "/v1/config", b"").await.unwrap().refuses(405, "method");
    manager.get("/v1/config").await.refuses(404, "unconfigured");
    manager
        .post("/v1/config/confirm", &json!({"generation": 1, "x": 2}))
        .await
        .refuses(422, "unknown-field");
    manager.post("/v1/power", &json!({"action": "explode"})).await.refuses(422, "invalid-value");
}
