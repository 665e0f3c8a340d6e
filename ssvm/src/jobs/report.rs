//! What the service tells of itself: every store and every job that the configuration names.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use sluice_api::types::ObjectId;

use super::failure::Failure;
use super::stores::{Entry, Health};
use crate::pass::Gauge;
use crate::store::{Manifest, Space};

/// The whole report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Where uploads and downloads are served.
    pub listen: Vec<SocketAddr>,
    /// Stores, by id.
    pub stores: Vec<StoreReport>,
    /// Jobs, by id.
    pub jobs: Vec<JobReport>,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoreReport {
    /// Its id.
    pub id: ObjectId,
    /// `unknown`, `ready` or `broken`.
    pub state: &'static str,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// Why it is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobReport {
    /// Its id.
    pub id: ObjectId,
    /// `waiting`, `uploading`, `fetching`, `retrying`, `placing`, `deleting`, `done` or `failed`.
    pub state: &'static str,
    /// Bytes of the source that went through.
    pub taken: u64,
    /// Length of the source, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Bytes of the image, unpacked.
    pub image: u64,
    /// Bytes written to the store, holes left out.
    pub written: u64,
    /// Bytes sent on to an object store.
    pub sent: u64,
    /// Bytes fetched since this process started, those fetched twice included.
    pub fetched: u64,
    /// Attempts without progress so far.
    pub attempts: u32,
    /// What it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Manifest>,
    /// Why it failed, or is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What a job is doing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Waiting,
    Uploading,
    Fetching,
    Retrying(Failure),
    Placing,
    Deleting,
    Done(Option<Box<Manifest>>),
    Failed(Failure),
}

impl Phase {
    /// Whether the job has come to its end: it is the last thing that its task says.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}

/// A job as others see it while it runs.
#[derive(Debug)]
pub(super) struct View {
    pub(super) gauge: Arc<Gauge>,
    pub(super) fetched: AtomicU64,
    pub(super) attempts: AtomicU32,
    pub(super) sent: AtomicU64,
    /// Length of the source; 0: not known.
    total: AtomicU64,
    phase: Mutex<Phase>,
}

impl View {
    pub(super) fn new(phase: Phase) -> Self {
        Self {
            gauge: Arc::default(),
            fetched: AtomicU64::new(0),
            attempts: AtomicU32::new(0),
            sent: AtomicU64::new(0),
            total: AtomicU64::new(0),
            phase: Mutex::new(phase),
        }
    }

    pub(super) fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_total(&self, total: Option<u64>) {
        self.total.store(total.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn report(&self, id: &ObjectId) -> JobReport {
        let (state, object, failure) = match self.phase() {
            Phase::Waiting => ("waiting", None, None),
            Phase::Uploading => ("uploading", None, None),
            Phase::Fetching => ("fetching", None, None),
            Phase::Retrying(failure) => ("retrying", None, Some(failure)),
            Phase::Placing => ("placing", None, None),
            Phase::Deleting => ("deleting", None, None),
            Phase::Done(object) => ("done", object.map(|manifest| *manifest), None),
            Phase::Failed(failure) => ("failed", None, Some(failure)),
        };
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        JobReport {
            id: id.clone(),
            state,
            taken: count(&self.gauge.taken),
            total: Some(count(&self.total)).filter(|total| *total > 0),
            image: count(&self.gauge.image),
            written: count(&self.gauge.written),
            sent: count(&self.sent),
            fetched: count(&self.fetched),
            attempts: self.attempts.load(Ordering::Relaxed),
            object,
            failure,
        }
    }
}

/// What is told of a store.
pub(super) fn of_store(id: ObjectId, entry: &Entry) -> StoreReport {
    let (state, space, failure) = match entry.health() {
        Health::Unknown => ("unknown", None, None),
        // one without a bound has no room to tell of
        Health::Ready(space) => {
            ("ready", Some(space).filter(|space| *space != Space::UNBOUNDED), None)
        }
        Health::Broken(failure) => ("broken", None, Some(failure)),
    };
    StoreReport {
        id,
        state,
        size: space.map(|space| space.size),
        free: space.map(|space| space.free),
        failure,
    }
}
