//! `sluice-ssvm service storage`: the service under the agent, without privilege.
//!
//! Guarantees: a generation is in force when its sockets are open and its jobs run; a slice that cannot be is refused with
//! everything that is wrong with it and changes nothing; transfers go on over a change.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use sluice_agent::service::Service;
use sluice_api::types::Generation;

use crate::disk::RealDisk;
use crate::jobs::{Engine, Report};
use crate::serve::Server;
use crate::slice::{StorageSlice, check};

/// Jobs and the server of up- and downloads, as soon as there is a slice.
#[derive(Default)]
pub struct Storage {
    running: Option<Running>,
}

struct Running {
    journal: std::path::PathBuf,
    engine: Arc<Engine>,
    server: Server,
}

impl Storage {
    /// Brings `slice` into force.
    ///
    /// Errors: everything that is wrong with it; what was stays in force.
    pub async fn set(&mut self, slice: &StorageSlice) -> Result<(), String> {
        let found = check(slice);
        if !found.is_empty() {
            return Err(found.join("; "));
        }
        Engine::check(slice)?;
        let running = match self.running.take() {
            Some(running) => self.running.insert(running),
            None => self.running.insert(Running::new(slice)?),
        };
        if running.journal != slice.journal {
            return Err("journal: cannot change while the service runs".to_owned());
        }
        running.server.apply(slice).await?;
        running.engine.apply(slice).await
    }

    /// What the service tells of itself.
    pub fn report(&self) -> Report {
        let running = self.running.as_ref();
        let mut report = running.map(|running| running.engine.report()).unwrap_or_default();
        report.listen = running.map(|running| running.server.addresses()).unwrap_or_default();
        report
    }
}

impl Running {
    fn new(slice: &StorageSlice) -> Result<Self, String> {
        let engine = Arc::new(Engine::new(slice, Arc::new(RealDisk))?);
        let server = Server::new(Arc::clone(&engine));
        Ok(Self { journal: slice.journal.clone(), engine, server })
    }
}

impl Service for Storage {
    type Slice = StorageSlice;

    async fn apply(&mut self, generation: Generation, slice: StorageSlice) -> Result<(), String> {
        self.set(&slice).await?;
        tracing::info!(%generation, stores = slice.stores.len(), jobs = slice.jobs.len(),
            grants = slice.grants.len(), "storage in force");
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        counted(&Storage::report(self))
    }

    fn report(&self) -> serde_json::Value {
        serde_json::to_value(Storage::report(self)).unwrap_or_default()
    }
}

/// The report as counters.
fn counted(report: &Report) -> BTreeMap<String, u64> {
    let states =
        ["waiting", "uploading", "fetching", "retrying", "placing", "deleting", "done", "failed"];
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut counters: BTreeMap<String, u64> = states
        .into_iter()
        .map(|state| {
            let jobs = report.jobs.iter().filter(|job| job.state == state).count();
            (format!("jobs_{state}"), number(jobs))
        })
        .collect();
    let broken = report.stores.iter().filter(|store| store.state == "broken").count();
    counters.insert("stores_broken".to_owned(), number(broken));
    counters.insert("bytes_fetched".to_owned(), report.jobs.iter().map(|job| job.fetched).sum());
    counters.insert("bytes_written".to_owned(), report.jobs.iter().map(|job| job.written).sum());
    counters
}

/// Serves until the agent closes the control channel on standard input.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Storage::default)
}
