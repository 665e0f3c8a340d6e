//! Which jobs run: those that the configuration names, taken up where the journal says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluice_api::Digest;
use sluice_api::types::ObjectId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::import::Worker;
use super::journal::{Journal, JournalError};
use super::record::{Record, State};
use super::report::{Phase, Report, View, of_store};
use super::shared::{Settings, Shared};
use super::stores::{Entry, Health};
use super::upload::Upload;
use crate::disk::Disk;
use crate::fetch::{Fetcher, store_client};
use crate::slice::{Job, Place, Source, StorageSlice, What};
use crate::store::{Manifest, Opened, StoreError};

/// Between two looks at every store.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// The same of one that is not ready: somebody waits for it, or for what is wrong with it.
const PROBE_SOON: Duration = Duration::from_secs(2);

/// Runs jobs. Dropping it stops them; the journal knows where to go on.
pub struct Engine {
    shared: Arc<Shared>,
    jobs: Mutex<BTreeMap<ObjectId, Running>>,
    prober: Mutex<Option<JoinHandle<()>>>,
}

struct Running {
    wanted: Digest,
    view: Arc<View>,
    /// Set to true when the job is no longer wanted.
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    upload: Option<Arc<Upload>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Engine {
    /// An engine with the journal and the limits of `slice` but no jobs yet, whose stores are on `disk`.
    ///
    /// Errors: the journal cannot be used, or no HTTP client can be made.
    pub fn new(slice: &StorageSlice, disk: Arc<dyn Disk>) -> Result<Self, String> {
        let journal =
            Journal::open(&slice.journal).map_err(|error| super::failure::chain(&error))?;
        let settings = Settings::of(slice)?;
        let shared = Arc::new(Shared::new(Arc::new(journal), disk, settings));
        Ok(Self { shared, jobs: Mutex::default(), prober: Mutex::default() })
    }

    /// Whether [`Engine::apply`] of `slice` can succeed.
    pub fn check(slice: &StorageSlice) -> Result<(), String> {
        store_client(slice).and_then(|_| Fetcher::new(slice)).map(|_| ())
    }

    /// Brings `slice` into force: its jobs run, others end. An error leaves what was.
    pub async fn apply(&self, slice: &StorageSlice) -> Result<(), String> {
        let settings = Settings::of(slice)?;
        let client = store_client(slice)?;
        let records = self.records().map_err(|error| super::failure::chain(&error))?;
        self.shared.set(settings);
        self.shared.stores.set(slice, &client);
        // an old task must be gone before another works on its parts
        let mut old = BTreeMap::new();
        for (id, view, task) in self.end_others(&slice.jobs) {
            if view.phase().is_over() {
                // it came to its end before it was told to stop, waits for nothing any more, and may not forget itself
                let _ = task.await;
                self.forget(&id);
            } else {
                old.insert(id, task);
            }
        }
        for record in records.values() {
            if !slice.jobs.iter().any(|job| job.id == record.id) && !old.contains_key(&record.id) {
                self.forget(&record.id);
            }
        }
        for job in &slice.jobs {
            self.begin(job, records.get(&job.id), old.remove(&job.id));
        }
        self.probe_from_now_on();
        Ok(())
    }

    fn records(&self) -> Result<BTreeMap<ObjectId, Record>, JournalError> {
        let records = self.shared.journal.load()?;
        Ok(records.into_iter().map(|record| (record.id.clone(), record)).collect())
    }

    /// Tells every job to stop that is not among `wanted` as it is there; returns their views and tasks.
    fn end_others(&self, wanted: &[Job]) -> Vec<(ObjectId, Arc<View>, JoinHandle<()>)> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = |id: &ObjectId, running: &Running| {
            wanted.iter().any(|job| job.id == *id && digest(job) == running.wanted)
        };
        let others: Vec<ObjectId> =
            jobs.iter().filter(|(id, job)| !stays(id, job)).map(|(id, _)| id.clone()).collect();
        let end = |id: ObjectId| {
            let mut running = jobs.remove(&id)?;
            running.stop.send_replace(true);
            let task = running.task.take()?;
            Some((id, Arc::clone(&running.view), task))
        };
        others.into_iter().filter_map(end).collect()
    }

    fn forget(&self, id: &ObjectId) {
        if let Err(error) = self.shared.journal.forget(id) {
            tracing::warn!(job = %id, reason = super::failure::chain(&error), "job not forgotten");
        }
    }

    /// Starts `job` unless it runs; `record` is what the journal has of that id, `old` a task that worked under it.
    fn begin(&self, job: &Job, record: Option<&Record>, old: Option<JoinHandle<()>>) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.contains_key(&job.id) {
            return;
        }
        let wanted = digest(job);
        let known = record.filter(|record| record.wanted == wanted && old.is_none());
        let record = known.cloned().unwrap_or_else(|| Record::begin(job, wanted.clone()));
        let view = Arc::new(View::new(Phase::Waiting));
        let (stop, stopped) = watch::channel(false);
        let upload = awaits_upload(job, &record).then(|| {
            Arc::new(Upload::new(Arc::clone(&self.shared), job, &record, Arc::clone(&view)))
        });
        let task = match &record.state {
            State::Done { manifest } => {
                view.set(Phase::Done(manifest.clone()));
                None
            }
            State::Failed(failure) => {
                view.set(Phase::Failed(failure.clone()));
                None
            }
            State::Fetching { .. } | State::Placing { .. } => {
                let shared = Arc::clone(&self.shared);
                let worker = Worker::new(
                    shared,
                    job.clone(),
                    record,
                    Arc::clone(&view),
                    stopped,
                    upload.clone(),
                );
                Some(tokio::spawn(worker.run_after(old)))
            }
        };
        jobs.insert(job.id.clone(), Running { wanted, view, stop, task, upload });
    }

    fn probe_from_now_on(&self) {
        let shared = Arc::clone(&self.shared);
        let prober = tokio::spawn(async move {
            // one that does not answer holds up the look at no other
            let all = shared.stores.all().into_iter();
            let watches = all.map(|(_, entry)| watch_over(Arc::clone(&shared), entry));
            futures_util::future::join_all(watches).await;
        });
        let mut slot = self.prober.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = slot.replace(prober) {
            before.abort();
        }
    }

    /// What the service tells of itself.
    pub fn report(&self) -> Report {
        let stores = self.shared.stores.all();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            listen: Vec::new(),
            stores: stores.into_iter().map(|(id, entry)| of_store(id, &entry)).collect(),
            jobs: jobs.iter().map(|(id, job)| job.view.report(id)).collect(),
        }
    }

    /// The upload that job `id` waits for; none when it waits for none, or is over.
    pub fn upload(&self, id: &ObjectId) -> Option<Arc<Upload>> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let running = jobs.get(id).filter(|job| !job.view.phase().is_over());
        running.and_then(|job| job.upload.clone())
    }

    /// Opens an object for reading.
    pub async fn open(&self, store: &ObjectId, place: Place) -> Result<Opened, StoreError> {
        self.shared.stores.get(store)?.ask(move |store| store.open(&place)).await
    }

    /// An address of an object itself that is good for `seconds`.
    pub async fn address(
        &self,
        store: &ObjectId,
        place: Place,
        seconds: u32,
    ) -> Result<String, StoreError> {
        self.shared.stores.get(store)?.ask(move |store| store.address(&place, seconds)).await
    }

    /// What is known of an object.
    pub async fn find(&self, store: &ObjectId, place: Place) -> Result<Manifest, StoreError> {
        self.shared.stores.get(store)?.ask(move |store| store.find(&place)).await
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(prober) = self.prober.lock().unwrap_or_else(PoisonError::into_inner).take() {
            prober.abort();
        }
    }
}

/// Looks at a store again and again.
async fn watch_over(shared: Arc<Shared>, entry: Arc<Entry>) {
    loop {
        probe(&shared, &entry).await;
        let ready = matches!(entry.health(), Health::Ready(_));
        tokio::time::sleep(if ready { PROBE_EVERY } else { PROBE_SOON }).await;
    }
}

/// Looks at a store; what its unfinished parts are of that nobody knows any more is removed when it comes up.
async fn probe(shared: &Shared, entry: &Entry) {
    let before = entry.health();
    let now = entry.probe().await;
    if matches!(before, Health::Ready(_)) || !matches!(now, Health::Ready(_)) {
        return;
    }
    let Ok(records) = shared.journal.load() else { return };
    let kept = move |name: &str| records.iter().any(|record| record.has(name));
    // a read-only store has none and says so
    let _ = entry.ask(move |store| store.remove_parts(&kept)).await;
}

fn awaits_upload(job: &Job, record: &Record) -> bool {
    matches!(job.what, What::Import { source: Source::Upload, .. })
        && matches!(record.state, State::Fetching { .. })
}

/// What makes one job another. A job that cannot be written has the digest of nothing, which is never kept.
fn digest(job: &Job) -> Digest {
    Digest::of(job).unwrap_or_else(|_| Digest::of_bytes(&[]))
}
