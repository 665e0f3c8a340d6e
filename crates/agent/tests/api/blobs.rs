//! Large and secret things go beside the configuration, and leave by no door.

use serde_json::{Value, json};
use sluice_api::Digest;
use sluice_api::types::BlobDigest;

use crate::client::Client;
use crate::world::{World, document};

const SECRET: &[u8] = b"correct horse battery staple, and salt 7b0c2f";

fn naming(generation: u64, blobs: &[BlobDigest]) -> Value {
    let mut document = document(generation);
    document["blobs"] = json!(blobs);
    document
}

async fn put(client: &Client, digest: &str, bytes: &[u8]) -> u16 {
    client.ask("PUT", &format!("/v1/blobs/{digest}"), bytes).await.unwrap().status
}

async fn head(client: &Client, digest: &str) -> u16 {
    client.ask("HEAD", &format!("/v1/blobs/{digest}"), b"").await.unwrap().status
}

#[tokio::test]
async fn a_push_that_misses_a_blob_says_which_and_works_once_it_is_there() {
    let world = World::new().await;
    let manager = world.manager();
    let (digest, other) = (BlobDigest::of(SECRET), BlobDigest::of(b"other"));
    let config = naming(1, &[digest, other]);
    let before = world.kernel.state();
    assert_eq!(put(&manager, &other.to_string(), b"other").await, 204);
    let answer = manager.push("", &config).await.is(409, "missing-blobs");
    assert_eq!(answer["blobs"], json!([digest]));
    let dry = manager.push("?dry_run=true", &config).await.json();
    assert_eq!(dry["findings"][0]["code"], "missing-blob", "{dry}");
    assert_eq!(dry["findings"][0]["path"], json!(digest), "{dry}");
    assert_eq!(world.kernel.state(), before);
    assert_eq!(head(&manager, &digest.to_string()).await, 404);
    assert_eq!(put(&manager, &digest.to_string(), SECRET).await, 204);
    assert_eq!(head(&manager, &digest.to_string()).await, 200);
    manager.push("?confirm_seconds=0", &config).await.is(200, "applied");
    let given: Vec<sluice_api::types::SecretBytes> =
        serde_json::from_str(&world.given.text().unwrap()).unwrap();
    assert!(given.iter().any(|bytes| bytes.reveal() == SECRET));
}

#[tokio::test]
async fn what_is_secret_is_on_no_disk_in_no_answer_and_in_no_log() {
    let world = World::new().await;
    let manager = world.manager();
    let digest = BlobDigest::of(SECRET);
    assert_eq!(put(&manager, &digest.to_string(), SECRET).await, 204);
    manager.push("?confirm_seconds=0", &naming(1, &[digest])).await.is(200, "applied");
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let disk = world.files.bytes();
    assert!(holds(&disk, digest.to_string().as_bytes()), "the configuration is there");
    for part in [SECRET, b"battery", b"YmF0dGVyeS"] {
        assert!(!holds(&disk, part), "{:?} is on the disk", String::from_utf8_lossy(part));
        for path in ["/v1/config", "/v1/status", "/v1/logs", "/metrics"] {
            let said = manager.get(path).await.body;
            assert!(!holds(said.as_bytes(), part), "{path}: {said}");
        }
    }
    assert_eq!(manager.get(&format!("/v1/blobs/{digest}")).await.status, 405);
}

#[tokio::test]
async fn bytes_of_another_digest_and_what_is_no_digest_are_refused() {
    let world = World::new().await;
    let manager = world.manager();
    let path = format!("/v1/blobs/{}", BlobDigest::of(b"one"));
    manager.ask("PUT", &path, b"two").await.unwrap().refuses(422, "blob-digest");
    let short = manager.ask("PUT", "/v1/blobs/sha256:00", b"two").await.unwrap();
    short.refuses(422, "blob-digest");
    assert_eq!(head(&manager, "sha256:00").await, 404);
    assert_eq!(head(&manager, &BlobDigest::of(b"two").to_string()).await, 404);
}

#[tokio::test]
async fn the_digest_is_of_the_bytes_as_sent_and_they_come_back_as_sent() {
    let world = World::new().await;
    let manager = world.manager();
    let odd = format!(" {:#}\n", document(1));
    let sent = manager.ask("PUT", "/v1/config?confirm_seconds=0", odd.as_bytes()).await.unwrap();
    sent.is(200, "applied");
    let status = manager.get("/v1/status").await.json();
    assert_eq!(status["current"]["digest"], json!(Digest::of_bytes(odd.as_bytes())));
    assert_eq!(manager.get("/v1/config").await.body, odd);
    // the same meaning in other bytes is not the same
    manager.push("?confirm_seconds=0", &document(1)).await.is(409, "changed");
}

#[tokio::test]
async fn the_status_says_what_the_appliance_understands() {
    let world = World::new().await;
    let status = world.manager().get("/v1/status").await.json();
    assert!(!status["contract_versions"].as_array().unwrap().is_empty(), "{status}");
    let capabilities = status["capabilities"].as_array().unwrap();
    assert!(capabilities.contains(&json!("blobs")), "{status}");
}
