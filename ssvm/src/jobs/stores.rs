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
use crate::slice::{StorageSlice, StoreKind, StoreSlice};
use crate::store::{BucketStore, DirectoryStore, Known, Space, Store, StoreError};

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
    /// What stands in front of it.
    staging: Option<StoreSlice>,
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

    /// Whether it is the store `one` of `all`.
    fn is(&self, one: &StoreSlice, all: &StorageSlice) -> bool {
        self.slice == *one && self.staging == staging(all, one)
    }

    /// Has the store do what takes as long as an image's bytes take.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        let task = tokio::task::spawn_blocking(move || work(&*store));
        task.await.unwrap_or_else(|error| {
            let store = self.slice.id.clone();
            Err(StoreError::Io { store, what, source: std::io::Error::other(error) })
        })
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

/// What stands in front of an object store.
fn staging(all: &StorageSlice, one: &StoreSlice) -> Option<StoreSlice> {
    let StoreKind::Bucket { staging, .. } = &one.kind else { return None };
    all.stores.iter().find(|store| store.id == *staging).cloned()
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

    /// From now on those of `slice`; what did not change stays as it is. Object stores are spoken to by `client`.
    pub(super) fn set(&self, slice: &StorageSlice, client: &reqwest::Client) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = BTreeMap::new();
        for one in &slice.stores {
            let kept = entries.get(&one.id).filter(|entry| entry.is(one, slice)).cloned();
            // what no store can be made of was refused before
            if let Some(entry) = kept.or_else(|| self.make(slice, one, client).map(Arc::new)) {
                all.insert(one.id.clone(), entry);
            }
        }
        *entries = all;
    }

    fn make(
        &self,
        all: &StorageSlice,
        one: &StoreSlice,
        client: &reqwest::Client,
    ) -> Option<Entry> {
        let directory = |slice: &StoreSlice| {
            let (disk, known) = (Arc::clone(&self.disk), Arc::clone(&self.known));
            DirectoryStore::new(slice.clone(), disk, known, all.owner.clone())
        };
        let staging = staging(all, one);
        let store: Arc<dyn Store> = match &staging {
            None => Arc::new(directory(one)?),
            Some(staging) => {
                let (staging, known) = (directory(staging)?, Arc::clone(&self.known));
                Arc::new(BucketStore::new(one.clone(), staging, known, client.clone())?)
            }
        };
        let (health, places) = (Mutex::new(Health::Unknown), Arc::new(Semaphore::new(WAITING)));
        Some(Entry { slice: one.clone(), staging, store, health, places })
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
