//! The stores of the configuration, and how each is.
//!
//! Guarantees: no caller waits for a file server longer than a bound; one that does not answer holds a few threads, never all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

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
    /// Since when it is wanted.
    since: Instant,
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
            Err(StoreError::NotYet { .. }) if self.is_being_mounted() => Health::Unknown,
            Err(error) => Health::Broken(Failure::from(&error)),
        };
        let before = std::mem::replace(
            &mut *self.health.lock().unwrap_or_else(PoisonError::into_inner),
            health.clone(),
        );
        self.tell(&before, &health);
        health
    }

    /// A file server that was never seen has as long for its mount as a store has for an answer.
    fn is_being_mounted(&self) -> bool {
        self.health() == Health::Unknown && self.since.elapsed() < PATIENCE
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
        Some(Entry { slice: one.clone(), staging, store, health, places, since: Instant::now() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{File, RealDisk};
    use serde_json::json;
    use sluice_sys::filesystem::FilesystemState;
    use std::io;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use uuid::Uuid;

    struct Nobody;

    impl Known for Nobody {
        fn recall(&self, _: &ObjectId) -> io::Result<Option<Uuid>> {
            Ok(None)
        }

        fn remember(&self, _: &ObjectId, _: Uuid) -> io::Result<()> {
            Ok(())
        }
    }

    /// Small files below `hangs` are not written for as long as it does.
    struct Hung(AtomicBool);

    impl Disk for Hung {
        fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
            RealDisk.create(path)
        }

        fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
            RealDisk.open(path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.rename(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            RealDisk.remove(path)
        }

        fn make_directory(&self, path: &Path) -> io::Result<()> {
            RealDisk.make_directory(path)
        }

        fn remove_empty(&self, path: &Path) -> io::Result<bool> {
            RealDisk.remove_empty(path)
        }

        fn list(&self, path: &Path) -> io::Result<Vec<String>> {
            RealDisk.list(path)
        }

        fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
            RealDisk.read(path)
        }

        fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            let hangs = path.components().any(|part| part.as_os_str() == "hangs");
            while hangs && self.0.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(10));
            }
            RealDisk.replace(path, bytes)
        }

        fn state(&self, path: &Path) -> io::Result<FilesystemState> {
            RealDisk.state(path)
        }
    }

    fn slice(folder: &Path, name: &str, filesystem: Option<u32>) -> StorageSlice {
        serde_json::from_value(json!({ "owner": "s-1", "journal": folder,
            "stores": [{ "id": name, "full_percent": 100, "kind":
                { "directory": { "path": folder.join(name), "filesystem": filesystem } } }] }))
        .unwrap()
    }

    fn made(disk: Arc<dyn Disk>, slice: &StorageSlice) -> Entry {
        let stores = Stores::new(disk, Arc::new(Nobody));
        let client = crate::fetch::store_client(slice).unwrap();
        stores.make(slice, &slice.stores[0], &client).unwrap()
    }

    fn code(health: &Health) -> &str {
        match health {
            Health::Broken(failure) => &failure.code,
            other => panic!("{other:?}"),
        }
    }

    /// Its canary is not back in time; the store beside it is ready meanwhile, and it is itself when it answers again.
    #[tokio::test]
    async fn a_store_that_does_not_answer_is_broken_and_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["hangs", "works"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let disk = Arc::new(Hung(AtomicBool::new(true)));
        let [hangs, works] =
            ["hangs", "works"].map(|name| made(disk.clone(), &slice(folder.path(), name, None)));
        let (hung, worked) = tokio::join!(hangs.probe(), works.probe());
        assert_eq!(code(&hung), "store-silent");
        assert!(matches!(worked, Health::Ready(_)), "{worked:?}");
        disk.0.store(false, Ordering::Release);
        let again = hangs.probe().await;
        assert!(matches!(again, Health::Ready(_)), "{again:?}");
    }

    /// Until its mount had its time, or failed with a reason, nobody says that it is broken.
    #[tokio::test]
    async fn a_file_server_has_time_to_be_mounted_and_its_failure_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("nfs")).unwrap();
        let slice = slice(folder.path(), "nfs", Some(0x6969));
        let mut entry = made(Arc::new(RealDisk), &slice);
        assert_eq!(entry.probe().await, Health::Unknown);
        let beside = crate::store::mount_failure(&folder.path().join("nfs")).unwrap();
        std::fs::write(&beside, "192.0.2.1:/export: there is no route to the server").unwrap();
        let Health::Broken(failure) = entry.probe().await else { panic!("it is not broken") };
        assert!(failure.reason.contains("there is no route to the server"), "{failure:?}");
        std::fs::remove_file(beside).unwrap();
        assert_eq!(code(&entry.probe().await), "store-gone", "it was told of before");
        entry = made(Arc::new(RealDisk), &slice);
        entry.since = entry.since.checked_sub(PATIENCE).unwrap();
        assert_eq!(code(&entry.probe().await), "store-gone", "it had its time");
    }
}
