//! The allocator on a real store, against a naive model.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::allocations::{free, release, stamp, take, take_any, values};
use super::{Store, Taken};
use crate::alloc::{Interval, Pool, PoolClass, PoolName};

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_store_allocates_as_the_naive_model_does(asks in asks()) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(&folder.path().join("m.db").into()).await.unwrap();
            run(&store, &asks).await;
            store.close().await;
        });
    }
}
