//! The appliance's certificate is renewed while it runs.

use rcgen::ExtendedKeyUsagePurpose;
use serde_json::json;
use sluice_api::boot::Identity;

use crate::client::Client;
use crate::world::{Authority, World};

#[tokio::test]
async fn a_new_identity_counts_from_the_next_connection_on() {
    let world = World::new().await;
    let next = Authority::new();
    let manager = Client::new(world.address, &next.pem, Some(&next.manager()));
    // the old authority and the new one together, then the new one alone
    let mut both = next.server("r-1");
    both.authority = format!("{}{}", world.authority.pem, next.pem);
    let reply = world.manager().post("/v1/identity", &json!(both)).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    assert!(world.manager().ask("GET", "/v1/status", b"").await.is_err(), "the old certificate");
    let reply = manager.post("/v1/identity", &json!(next.server("r-1"))).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    let old = Client::new(world.address, &next.pem, Some(&world.authority.manager()));
    assert!(old.ask("GET", "/v1/status", b"").await.is_err(), "the old authority is still trusted");
    assert_eq!(manager.get("/v1/status").await.status, 200);
    let kept = std::fs::read(&world.boot_file).unwrap();
    let kept = sluice_api::boot::BootDocument::decode(&kept).unwrap();
    assert_eq!(kept.identity.authority, next.pem, "a restarted agent would have the old identity");
}

/// Path of the only finding of the refusal of `identity`.
async fn refused(world: &World, identity: &Identity) -> String {
    let reply = world.manager().post("/v1/identity", &json!(identity)).await;
    let answer = reply.refuses(422, "identity");
    assert_eq!(world.manager().get("/v1/status").await.status, 200, "something changed");
    answer["findings"][0]["path"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_identity_that_would_lock_the_manager_out_is_refused_by_field() {
    let world = World::new().await;
    let (ours, foreign) = (&world.authority, Authority::new());
    assert_eq!(refused(&world, &foreign.server("r-1")).await, "authority");
    let mut mixed = foreign.server("r-1");
    mixed.authority.clone_from(&ours.pem);
    assert_eq!(refused(&world, &mixed).await, "certificate");
    assert_eq!(refused(&world, &ours.expired("r-1")).await, "certificate");
    let for_clients = ours.issue("r-1", &[ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(refused(&world, &for_clients).await, "certificate");
    assert_eq!(refused(&world, &ours.server("r-2")).await, "certificate");
    let mut other_key = ours.server("r-1");
    other_key.key = ours.server("r-1").key;
    assert_eq!(refused(&world, &other_key).await, "key");
}

#[tokio::test]
async fn an_identity_that_cannot_be_kept_is_our_fault() {
    let world = World::new().await;
    std::fs::remove_file(&world.boot_file).unwrap();
    let next = world.authority.server("r-1");
    world.manager().post("/v1/identity", &json!(next)).await.refuses(500, "identity");
}

#[tokio::test]
async fn an_identity_that_cannot_be_used_changes_nothing() {
    let world = World::new().await;
    let manager = world.manager();
    let good = world.authority.server("r-1");
    let mut broken = json!(good);
    broken["key"] = json!("no key");
    manager.post("/v1/identity", &broken).await.refuses(422, "identity");
    let mut mixed = json!(good);
    mixed["key"] = json!(world.authority.server("r-1").key);
    manager.post("/v1/identity", &mixed).await.refuses(422, "identity");
    let other = json!(world.authority.server("r-2"));
    manager.post("/v1/identity", &other).await.refuses(422, "identity");
    assert_eq!(manager.get("/v1/status").await.status, 200);
}
