//! Supervision of the service processes.
//!
//! Guarantees: each service is a process of its own; when it ends it is started again within a second with the slice it
//! had, more slowly when it keeps ending and at once when it gets another slice; one that hangs is ended; a change of
//! configuration never restarts one that runs. What a service says takes a bounded memory.
//!
//! Services outlive the agent: one that comes back takes those over that are what they would be if it started them now,
//! and what they carry goes on. It supervises them like its own, though they are PID 1's children by then, which waits for
//! them when they end; all others that a former agent left are ended.

mod child;
mod foreign;
mod kept;
mod sandbox;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sluice_api::report::ServiceStatus;
use sluice_api::types::Generation;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use child::{Exit, Launch, Launched};
pub use sandbox::SandboxLaunch;

use crate::appliance::{ServiceName, ServiceSlice};
use crate::engine::{ServiceError, Services};
use crate::questions::Questions;
use worker::{Job, Worker};

/// How long the task that keeps a service may take to end it.
const ENDING: Duration = Duration::from_secs(10);

/// All services of an appliance, each in its process.
pub struct Supervisor {
    launch: Arc<dyn Launch>,
    questions: Arc<Questions>,
    workers: Mutex<BTreeMap<ServiceName, Handle>>,
}

struct Handle {
    jobs: mpsc::Sender<Job>,
    status: Arc<Mutex<ServiceStatus>>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// A supervisor that starts services by `launch`. Nothing runs until a service gets its first slice.
    pub fn new(launch: Arc<dyn Launch>) -> Self {
        Self { launch, questions: Arc::default(), workers: Mutex::new(BTreeMap::new()) }
    }

    /// What its services ask their manager.
    pub fn questions(&self) -> Arc<Questions> {
        Arc::clone(&self.questions)
    }

    fn jobs(&self, name: ServiceName) -> mpsc::Sender<Job> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = workers.entry(name).or_insert_with(|| {
            let (jobs, queue) = mpsc::channel(4);
            let worker = Worker::new(name, Arc::clone(&self.launch), self.questions());
            let status = worker.status();
            let task = tokio::spawn(worker.run(queue));
            Handle { jobs, status, task }
        });
        handle.jobs.clone()
    }
}

#[async_trait]
impl Services for Supervisor {
    async fn configure(
        &self,
        name: ServiceName,
        generation: Generation,
        slice: ServiceSlice,
    ) -> Result<(), ServiceError> {
        let silent =
            |reason: &str| ServiceError::Silent { name, generation, reason: reason.to_owned() };
        let (reply, answer) = oneshot::channel();
        let job = Job { generation, slice, reply };
        self.jobs(name).send(job).await.map_err(|_| silent("its supervisor has stopped"))?;
        match tokio::time::timeout(self.launch.patience(name), answer).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(reason))) => Err(ServiceError::Refused { name, generation, reason }),
            Ok(Err(_)) => Err(silent("it ended before it answered")),
            Err(_) => Err(silent("it did not answer in time")),
        }
    }

    async fn stop(&self, name: ServiceName) {
        // the worker ends its process when nobody can send it jobs any more
        let removed = self.workers.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        let Some(Handle { jobs, task, .. }) = removed else { return };
        drop(jobs);
        // its process was killed when it returns
        if tokio::time::timeout(ENDING, task).await.is_err() {
            tracing::warn!(service = %name, "the supervisor of a service does not end");
        }
    }

    async fn keep_only(&self, wanted: &BTreeSet<ServiceName>) {
        self.launch.end_others(wanted).await;
    }

    fn status(&self) -> Vec<ServiceStatus> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let one =
            |handle: &Handle| handle.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        workers.values().map(one).collect()
    }
}
