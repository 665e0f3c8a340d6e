//! What is noted of rounds that fail within the manager.

use std::time::Duration;

use super::*;
use crate::access::Caller;
use crate::ca::Authority;
use crate::ops::{self, Change};
use crate::push::WatchSettings;
use crate::store::Store;

const CLOUD: &str = include_str!("../../../../examples/first-network.toml");

/// The watch of the example's router, on a store of its own.
async fn task(folder: &std::path::Path) -> Task {
    let path = folder.join("m.db");
    let store = Store::open(&path.as_path().into()).await.unwrap();
    let cloud = toml::from_str(CLOUD).unwrap();
    let change = Change::Apply { cloud, prune: false, dry_run: false, expect: None };
    ops::execute(&store, &Caller::manager(), None, &change).await.unwrap();
    let authority = Authority::open(&path, Duration::from_hours(1)).unwrap();
    let watch = Watch::new(store, authority, WatchSettings::default());
    Task::new(watch, "r-1".parse().unwrap(), Arc::default())
}

async fn noted(task: &Task) -> Observation {
    let mut conn = task.watch.store().read().await.unwrap();
    observations::read(&mut conn, "r-1").await.unwrap().unwrap()
}

#[tokio::test]
async fn a_failure_of_the_manager_is_noted_as_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut task = task(folder.path()).await;
    let error = Error::Corrupt { what: "configuration", reason: "no JSON".to_owned() };
    task.failed(error.into()).await;
    let seen = noted(&task).await;
    assert_eq!(seen.last_answer, Some(LastAnswer::Internal));
    assert!(seen.detail.as_deref().unwrap().contains("no JSON"), "{seen:?}");
    task.failed(PushError::Identity("no key".to_owned()).into()).await;
    assert!(noted(&task).await.detail.unwrap().contains("no key"));
}

#[tokio::test]
async fn a_failure_of_the_manager_is_forgotten_when_a_round_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut task = task(folder.path()).await;
    let error = Error::Corrupt { what: "configuration", reason: "no JSON".to_owned() };
    task.failed(error.into()).await;
    task.well().await.unwrap();
    let seen = noted(&task).await;
    assert_eq!((seen.last_answer, seen.detail), (None, None));
}
