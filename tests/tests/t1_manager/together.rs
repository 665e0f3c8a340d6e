//! Changes that come at once share a transaction: what one writes is its own affair until all of it is committed.

use std::time::Duration;

use sluice_manager::alloc::{PoolClass, PoolName};
use sluice_manager::store::allocations;
use sluice_manager::store::{Location, Part, Store, Taken};
use sluice_tests::postgres::Database;
use sqlx::Row as _;
use tempfile::tempdir;
use tokio::task::JoinHandle;

fn pool() -> PoolName {
    PoolName::of_cloud(PoolClass::Control)
}

async fn take(part: &mut Part, value: i64) -> bool {
    let taken = Taken { owner: "o", purpose: "test", appliance: None, request: None };
    allocations::take(part, &pool(), value, taken).await.unwrap()
}

/// What others see.
async fn seen(store: &Store) -> Vec<i64> {
    let mut conn = store.read().await.unwrap();
    let rows = sqlx::query("SELECT value FROM allocations").fetch_all(&mut *conn).await.unwrap();
    rows.iter().map(|row| row.try_get(0).unwrap()).collect()
}

/// Long enough for a task to line up.
async fn lined_up() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// `first` is committed while another waits, who is given its transaction.
async fn handed_on(store: &Store, first: Part) -> (JoinHandle<Result<(), sqlx::Error>>, Part) {
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.join().await.unwrap() }
    });
    lined_up().await;
    (tokio::spawn(first.commit()), waiting.await.unwrap())
}

/// The second has its part of the first one's transaction, fails, and takes nothing of the others along.
async fn one_fails(store: &Store) {
    // what is tried is over sooner than the transaction is too old to be handed on, if not at the first try
    for round in 0..100 {
        let base = round * 10;
        let mut first = store.join().await.unwrap();
        assert!(take(&mut first, base + 1).await);
        let (first, mut second) = handed_on(store, first).await;
        if first.is_finished() || seen(store).await.contains(&(base + 1)) {
            continue;
        }
        // it sees what is not committed yet, and nobody else does
        assert!(!take(&mut second, base + 1).await);
        assert!(take(&mut second, base + 2).await);
        drop(second);
        first.await.unwrap().unwrap();
        let there = seen(store).await;
        assert!(there.contains(&(base + 1)) && !there.contains(&(base + 2)), "{there:?}");
        return;
    }
    panic!("no transaction was ever shared");
}

/// Whoever stops waiting, or goes away in the middle, holds nobody up.
async fn some_go_away(store: &Store) {
    let mut first = store.join().await.unwrap();
    assert!(take(&mut first, 901).await);
    let task = |value: i64| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut part = store.join().await.unwrap();
            assert!(take(&mut part, value).await);
            part.commit().await.unwrap();
        })
    };
    let tasks: Vec<_> = (902..930).map(task).collect();
    lined_up().await;
    for task in tasks.iter().step_by(3) {
        task.abort();
    }
    first.commit().await.unwrap();
    for task in tasks.iter().skip(2).step_by(3) {
        task.abort();
    }
    let mut told = vec![901];
    for (value, task) in (902..).zip(tasks) {
        if task.await.is_ok() {
            told.push(value);
        }
    }
    assert!(told.len() > 9, "{told:?}");
    // what was answered is there; what nobody heard of may be
    let there = seen(store).await;
    assert!(told.iter().all(|value| there.contains(value)), "{told:?} {there:?}");
    let mut last = store.join().await.unwrap();
    assert!(take(&mut last, 999).await);
    last.commit().await.unwrap();
}

async fn cases(location: &Location) {
    let store = Store::open(location).await.unwrap();
    one_fails(&store).await;
    some_go_away(&store).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_share_a_transaction_in_a_file() {
    let folder = tempdir().unwrap();
    cases(&folder.path().join("m.db").into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_once_share_a_transaction_in_a_database() {
    let server = Database::new().await.unwrap();
    cases(&server.url().parse().unwrap()).await;
}

/// A transaction that the database ends is told to all whose changes were in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_lost_is_told_to_all() {
    let server = Database::new().await.unwrap();
    let store = Store::open(&server.url().parse().unwrap()).await.unwrap();
    for _ in 0..100 {
        let mut first = store.join().await.unwrap();
        assert!(take(&mut first, 1).await);
        let (first, mut second) = handed_on(&store, first).await;
        if first.is_finished() || seen(&store).await.contains(&1) {
            drop(second);
            first.await.unwrap().unwrap();
            let mut part = store.join().await.unwrap();
            sqlx::query("DELETE FROM allocations").execute(&mut *part).await.unwrap();
            part.commit().await.unwrap();
            continue;
        }
        let ended = sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())");
        assert!(ended.execute(&mut *second).await.is_err());
        assert!(second.commit().await.is_err());
        assert!(first.await.unwrap().is_err(), "its change was lost");
        assert_eq!(seen(&store).await, Vec::<i64>::new());
        // and the next one is served
        let mut next = store.join().await.unwrap();
        assert!(take(&mut next, 1).await);
        next.commit().await.unwrap();
        return;
    }
    panic!("no transaction was ever shared");
}
