//! The authority and the store stay together, whichever manager changes it and wherever that breaks off.

#![allow(clippy::unwrap_used)] // tests

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use sluice_manager::access::Caller;
use sluice_manager::ca::Authority;
use sluice_manager::error::Error;
use sluice_manager::ops::{
    Change, authority_status, begin_life, boot_document, execute, retire, rotate,
};
use sluice_manager::store::observations::{self, Looked};
use sluice_manager::store::{Observation, Scope, Store};

const LIFE: Duration = Duration::from_hours(100);

fn file(folder: &Path) -> PathBuf {
    folder.join("m.ca.pem")
}

/// A store with an appliance that was seen with a certificate of its authority.
async fn seen(folder: &Path) -> (Store, Authority) {
    let store = Store::open(&folder.join("m.db").as_path().into()).await.unwrap();
    let authority = begin_life(&store, &file(folder), LIFE, false).await.unwrap();
    let caller = Caller::manager();
    for (kind, spec) in [
        ("zone", json!({ "name": "zone1", "resolvers": ["192.0.2.53"] })),
        ("appliance", json!({ "zone": "zone1", "role": "router" })),
    ] {
        execute(&store, &caller, None, &Change::Create { kind, spec }).await.unwrap();
    }
    let mut turn = store.begin().await.unwrap();
    let name = "r-1".parse().unwrap();
    boot_document(&mut turn, &authority, Scope::Cloud, &name).await.unwrap();
    let seen = Observation { reachable: true, ..Observation::default() };
    let current = authority.fingerprints().remove(0);
    let looked = Looked { by: "test", at: observations::now_ms(), authority: &current };
    observations::write(&mut turn, "r-1", &seen, looked).await.unwrap();
    turn.commit().await.unwrap();
    assert_eq!(waiting(&store).await, Vec::<String>::new());
    (store, authority)
}

/// Appliances that were not seen with a certificate of the current authority.
async fn waiting(store: &Store) -> Vec<String> {
    observations::on_old_authority(&mut store.read().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_manager_that_does_not_know_of_the_change_yet_gives_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, one) = seen(folder.path()).await;
    let other = Authority::at(&file(folder.path()), LIFE).unwrap();
    rotate(&store, &one, &Caller::manager(), None).await.unwrap();
    let both = std::fs::read_to_string(file(folder.path())).unwrap();
    let refused = retire(&store, &other, &Caller::manager(), false).await.unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
    assert_eq!(std::fs::read_to_string(file(folder.path())).unwrap(), both);
}

#[tokio::test]
async fn a_change_that_broke_off_is_taken_up_and_gives_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, authority) = seen(folder.path()).await;
    // the manager was killed behind the file and before the store
    authority.rotate().unwrap();
    let authority = begin_life(&store, &file(folder.path()), LIFE, false).await.unwrap();
    assert_eq!(authority_status(&store, &authority).await.unwrap().waiting, ["r-1"]);
    let refused = retire(&store, &authority, &Caller::manager(), false).await.unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
}

#[tokio::test]
async fn a_copy_of_before_the_change_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, one) = seen(folder.path()).await;
    let elsewhere = folder.path().join("copy.ca.pem");
    std::fs::copy(file(folder.path()), &elsewhere).unwrap();
    let other = Authority::at(&elsewhere, LIFE).unwrap();
    rotate(&store, &one, &Caller::manager(), None).await.unwrap();
    let before = std::fs::read_to_string(&elsewhere).unwrap();
    for force in [false, true] {
        let refused = retire(&store, &other, &Caller::manager(), force).await.unwrap_err();
        assert!(refused.to_string().contains("copy it from the manager"), "{refused}");
    }
    let refused = rotate(&store, &other, &Caller::manager(), None).await.unwrap_err();
    assert!(refused.to_string().contains("copy it from the manager"), "{refused}");
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), before);
}
