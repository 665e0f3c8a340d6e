//! Configurations that were promised are compiled by whoever leases them, and nobody waits for a worker that died.

#![allow(clippy::unwrap_used)] // tests

use serde_json::json;
use sluice_api::types::Generation;
use sluice_manager::access::Caller;
use sluice_manager::ops::{Change, Decision, Found, execute, keep_promises, overwrite, rollback};
use sluice_manager::store::{Store, outcomes, promises, wanted};

/// More than are compiled within a change.
const APPLIANCES: usize = 40;
/// How many a worker leases at a time.
const BATCH: usize = 32;

async fn made(store: &Store, change: Change) {
    execute(store, &Caller::manager(), None, &change).await.unwrap();
}

/// Has every appliance take managers from elsewhere.
async fn managers(store: &Store, network: &str) {
    let patch = json!({ "managers": [network] });
    let object = "zone1".parse().unwrap();
    made(store, Change::Update { kind: "zone", object, patch, version: None }).await;
}

/// A zone with appliances that are all yet to be compiled.
async fn promised(folder: &std::path::Path) -> Store {
    let store = Store::open(&folder.join("m.db").as_path().into()).await.unwrap();
    let zone =
        json!({ "name": "zone1", "resolvers": ["192.0.2.53"], "control_cidr": "169.254.0.0/20" });
    made(&store, Change::Create { kind: "zone", spec: zone }).await;
    for _ in 0..APPLIANCES {
        let spec = json!({ "zone": "zone1", "role": "router" });
        made(&store, Change::Create { kind: "appliance", spec }).await;
    }
    managers(&store, "192.0.2.61/32").await;
    assert_eq!(open(&store).await, APPLIANCES);
    store
}

async fn open(store: &Store) -> usize {
    promises::open(&mut store.read().await.unwrap(), 100).await.unwrap().len()
}

/// How many appliances want a configuration that says `text`.
async fn saying(store: &Store, text: &str) -> usize {
    let mut conn = store.read().await.unwrap();
    let mut found = 0;
    for number in 1..=APPLIANCES {
        let id = format!("r-{number}");
        let config = wanted::wanted(&mut conn, &id).await.unwrap().unwrap().config;
        found += usize::from(config.contains(text));
    }
    found
}

#[tokio::test]
async fn what_was_promised_is_kept_in_turns_and_the_last_word_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = promised(folder.path()).await;
    assert_eq!(keep_promises(&store).await.unwrap().len(), BATCH);
    managers(&store, "192.0.2.62/32").await;
    while !keep_promises(&store).await.unwrap().is_empty() {}
    assert_eq!((open(&store).await, saying(&store, "192.0.2.62").await), (0, APPLIANCES));
    assert_eq!(saying(&store, "192.0.2.61").await, 0);
}

#[tokio::test]
async fn what_a_worker_leased_is_nobody_elses_until_its_lease_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = promised(folder.path()).await;
    let mut turn = store.begin().await.unwrap();
    let leased = promises::lease(&mut turn, i64::try_from(BATCH).unwrap()).await.unwrap();
    turn.commit().await.unwrap();
    assert_eq!(leased.len(), BATCH);
    // another worker does the rest, and leaves alone what is leased
    assert_eq!(keep_promises(&store).await.unwrap().len(), APPLIANCES - BATCH);
    assert_eq!(keep_promises(&store).await.unwrap(), []);
    assert_eq!(
        (open(&store).await, saying(&store, "192.0.2.61").await),
        (BATCH, APPLIANCES - BATCH)
    );
    // the first one died: its lease is over after a while
    let mut turn = store.begin().await.unwrap();
    sqlx::query("UPDATE wanted SET leased_until = leased_until - 60 WHERE leased_until > 0")
        .execute(&mut *turn)
        .await
        .unwrap();
    turn.commit().await.unwrap();
    assert_eq!(keep_promises(&store).await.unwrap().len(), BATCH);
    assert_eq!((open(&store).await, saying(&store, "192.0.2.61").await), (0, APPLIANCES));
}

#[tokio::test]
async fn one_that_cannot_be_compiled_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = promised(folder.path()).await;
    let mut turn = store.begin().await.unwrap();
    let spoil = "UPDATE appliances SET body = '{}' WHERE id = 'r-1'";
    sqlx::query(spoil).execute(&mut *turn).await.unwrap();
    turn.commit().await.unwrap();
    while !keep_promises(&store).await.unwrap().is_empty() {}
    assert_eq!((open(&store).await, saying(&store, "192.0.2.61").await), (1, APPLIANCES - 1));
}

/// What an operator decides while something is promised takes nothing of it away, and whoever waits for it has an answer.
#[tokio::test]
async fn what_was_promised_is_in_what_is_sent_over_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = promised(folder.path()).await;
    let patch = json!({ "control_gateway": "169.254.0.1", "managers": ["192.0.2.71/32"] });
    let object = "zone1".parse().unwrap();
    made(&store, Change::Update { kind: "zone", object, patch, version: None }).await;
    let (caller, appliance) = (Caller::manager(), "r-1".parse().unwrap());
    let decision = Decision { caller: &caller, request: None, appliance: &appliance };
    let document = "{}".to_owned();
    let found = Found { generation: 40.try_into().unwrap(), document };
    let effect = overwrite(&store, decision, &found).await.unwrap();
    assert_eq!(effect.generation.get(), 41);
    assert_eq!(saying(&store, "192.0.2.71").await, 1);
    let other = "r-2".parse().unwrap();
    let decision = Decision { appliance: &other, ..decision };
    rollback(&store, decision, 1.try_into().unwrap()).await.unwrap();
    let mut conn = store.read().await.unwrap();
    for (id, wanted) in [("r-1", 2), ("r-2", 2)] {
        let promised = Generation::try_from(wanted).unwrap();
        let status = outcomes::of_change(&mut conn, id, promised).await.unwrap();
        assert_eq!(status.map(|status| status.generation), Some(promised), "{id}");
    }
}
