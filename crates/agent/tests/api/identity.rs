//! The appliance's certificate is renewed while it runs.

use serde_json::json;

use crate::world::{Authority, World};

#[tokio::test]
async fn a_new_identity_counts_from_the_next_connection_on() {
    let world = World::new().await;
    let next = Authority::new();
    let reply = world.manager().post("/v1/identity", &json!(next.server("r-1"))).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    // the old authority is no longer trusted, on either side
    assert!(world.manager().ask("GET", "/v1/status", b"").await.is_err());
    let manager = crate::client::Client::new(world.address, &next.pem, Some(&next.manager()));
    assert_eq!(manager.get("/v1/status").await.status, 200);
    let kept = std::fs::read(&world.boot_file).unwrap();
    let kept = sluice_api::boot::BootDocument::decode(&kept).unwrap();
    assert_eq!(kept.identity.authority, next.pem, "a restarted agent would have the old identity");
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
