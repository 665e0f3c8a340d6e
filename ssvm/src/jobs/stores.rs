//! The stores of the configuration, and how each is.
//!
//! Guarantees: no caller waits for a file server longer than a bound; one that does not answer holds a few threads, never all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sluice_api::types::ObjectId;
use tokio::sync::Semaphore;

use super::failure::Failure;
use crate::disk::Disk;
use crate::slice::{StoreKind, StoreSlice};
use crate::store::{DirectoryStore, Known, Space, Store, StoreError};

/// How long a store has for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls that may be with one store at a time; others wait for a place, within the same bound.
const WAITING: usize = 8;

/// How a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Not asked yet.
    Unknown,
    /// It answered.
    Ready(Space),
    /// It did not, or not as itself.
    Broken(Failure),
}

/// A store and what is known of it.
pub(super) struct Entry {
    slice: StoreSlice,
    store: Arc<dyn Store>,
    health: Mutex<Health>,
    places: Arc<Semaphore>,
}

impl Entry {
    /// Has `ask` answered by the store within a bound.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let seconds = PATIENCE.as_secs();
        let silent = || StoreError::Silent { store: self.slice.id.clone(), seconds };
        let (store, places) = (Arc::clone(&self.store), Arc::clone(&self.places));
        let task = async move {
            let place = places.acquire_owned().await.ok()?;
            let asked = tokio::task::spawn_blocking(move || {
                // given back when the store has answered, however late
                let _place = place;
                ask(&*store)
            });
            asked.await.ok()
        };
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Some(answer)) => answer,
            _ => Err(silent()),
        }
    }

    /// The store itself is asked, on the caller's own thread: is it there, and has it room?
    pub(super) fn still_there(&self) -> Result<(), StoreError> {
        self.store.workspace().map(|_| ())
    }

    /// Asks how it is, and keeps the answer.
    pub(super) async fn probe(&self) -> Health {
        let health = match self.ask(|store| store.probe()).await {
            Ok(space) => Health::Ready(space),
            Err(error) => Health::Broken(Failure::from(&error)),
        };
        let before = std::mem::replace(
            &mut *self.health.lock().unwrap_or_else(PoisonError::into_inner),
            health.clone(),
        );
        self.tell(&before, &health);
        health
    }

    fn tell(&self, before: &Health, now: &Health) {
        let store = &self.slice.id;
        match (before, now) {
            (Health::Ready(_), Health::Ready(_)) => {}
            (_, Health::Ready(space)) => {
                tracing::info!(%store, free = space.free, size = space.size, "store is ready");
            }
            (Health::Broken(one), Health::Broken(other)) if one == other => {}
            (_, Health::Broken(failure)) => {
                tracing::error!(%store, code = failure.code, reason = failure.reason, "store is not ready");
            }
            (_, Health::Unknown) => {}
        }
    }

    /// How it was when last asked.
    pub(super) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All of them.
pub(super) struct Stores {
    disk: Arc<dyn Disk>,
    known: Arc<dyn Known>,
    entries: RwLock<BTreeMap<ObjectId, Arc<Entry>>>,
}

impl Stores {
    pub(super) fn new(disk: Arc<dyn Disk>, known: Arc<dyn Known>) -> Self {
        Self { disk, known, entries: RwLock::default() }
    }

    /// From now on these; what did not change stays as it is.
    pub(super) fn set(&self, owner: &ObjectId, slices: &[StoreSlice]) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let kept =
            |slice: &StoreSlice| entries.get(&slice.id).filter(|e| e.slice == *slice).cloned();
        let of =
            |slice: &StoreSlice| kept(slice).unwrap_or_else(|| Arc::new(self.make(owner, slice)));
        *entries = slices.iter().map(|slice| (slice.id.clone(), of(slice))).collect();
    }

    fn make(&self, owner: &ObjectId, slice: &StoreSlice) -> Entry {
        let store: Arc<dyn Store> = match slice.kind {
            StoreKind::Directory { .. } => Arc::new(DirectoryStore::new(
                slice.clone(),
                Arc::clone(&self.disk),
                Arc::clone(&self.known),
                owner.clone(),
            )),
        };
        let health = Mutex::new(Health::Unknown);
        Entry { slice: slice.clone(), store, health, places: Arc::new(Semaphore::new(WAITING)) }
    }

    /// The store `id`.
    pub(super) fn get(&self, id: &ObjectId) -> Result<Arc<Entry>, StoreError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(id).cloned().ok_or_else(|| StoreError::Unknown { store: id.clone() })
    }

    /// Every one.
    pub(super) fn all(&self) -> Vec<(ObjectId, Arc<Entry>)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(id, entry)| (id.clone(), Arc::clone(entry))).collect()
    }
}
