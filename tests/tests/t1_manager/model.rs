//! The allocator on a real store of either database, against a naive model.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sluice_manager::alloc::{Interval, Pool, PoolClass, PoolName};
use sluice_manager::store::allocations::{free, release, stamp, take, take_any, values};
use sluice_manager::store::{Location, Store, Taken};

/// What can be asked of a pool.
#[derive(Clone, Debug)]
enum Ask {
    Any,
    This(i64),
    Release(usize),
    Confirm,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let ask = prop_oneof![
        4 => Just(Ask::Any),
        2 => (0_i64..30).prop_map(Ask::This),
        3 => (0_usize..40).prop_map(Ask::Release),
        1 => Just(Ask::Confirm),
    ];
    proptest::collection::vec(ask, 1..60)
}

fn pool() -> Pool {
    Pool::new([Interval::new(3, 9), Interval::new(15, 20)].into_iter().flatten())
}

/// The naive model: what is taken, by whom, and which of it is on its way back.
#[derive(Default)]
struct Model {
    taken: BTreeSet<i64>,
    releasing: BTreeSet<i64>,
    owners: Vec<(String, i64)>,
}

async fn run(store: &Store, asks: &[Ask]) {
    let mut conn = store.begin().await.unwrap();
    let (pool, mut model) = (pool(), Model::default());
    let name = PoolName::of_cloud(PoolClass::Control);
    for (number, ask) in asks.iter().enumerate() {
        let owner = format!("o-{number}");
        let taken = Taken { owner: &owner, purpose: "test", appliance: Some("r-1"), request: None };
        match ask {
            Ask::Any => {
                let got = take_any(&mut conn, &name, &pool, taken).await.unwrap();
                let free =
                    (0..30).filter(|item| pool.contains(*item) && !model.taken.contains(item));
                assert_eq!(
                    got.is_none(),
                    free.count() == 0,
                    "exhausted exactly when nothing is left"
                );
                if let Some(item) = got {
                    assert!(pool.contains(item) && model.taken.insert(item), "{item} was not free");
                    model.owners.push((owner, item));
                }
            }
            Ask::This(item) => {
                let got = take(&mut conn, &name, *item, taken).await.unwrap();
                assert_eq!(got, model.taken.insert(*item));
                if got {
                    model.owners.push((owner, *item));
                }
            }
            Ask::Release(which) if !model.owners.is_empty() => {
                let (owner, item) = model.owners.swap_remove(which % model.owners.len());
                release(&mut conn, &owner).await.unwrap();
                // as the end of each change does
                stamp(&mut conn, "r-1", 7).await.unwrap();
                model.releasing.insert(item);
            }
            Ask::Release(_) => {}
            Ask::Confirm => {
                assert_eq!(
                    free(&mut conn, "r-1", 6).await.unwrap(),
                    0,
                    "an older one frees nothing"
                );
                let freed = free(&mut conn, "r-1", 7).await.unwrap();
                assert_eq!(freed, model.releasing.len() as u64);
                model.taken.retain(|item| !model.releasing.contains(item));
                model.releasing.clear();
            }
        }
        let stored: BTreeSet<_> = values(&mut conn, &name).await.unwrap().into_iter().collect();
        assert_eq!(stored, model.taken, "after {ask:?}");
    }
}

/// Runs as many cases on the store at `location`; each is a transaction that is given up.
pub(crate) fn cases(location: &Location, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Store::open(location)).unwrap();
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    runner
        .run(&asks(), |asks| {
            runtime.block_on(run(&store, &asks));
            Ok(())
        })
        .unwrap();
    runtime.block_on(store.close());
}

#[test]
fn the_store_allocates_as_the_naive_model_does() {
    let folder = tempfile::tempdir().unwrap();
    cases(&folder.path().join("m.db").into(), 64);
}
