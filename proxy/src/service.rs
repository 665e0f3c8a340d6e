//! `sluice-proxy service console`: the service under the agent, without privilege.
//!
//! Guarantees: a generation is in force when its sockets are open, its certificates serve and its grants count; of a
//! slice that cannot be taken nothing is; sessions that a slice is not about notice nothing of it. Needs
//! CAP_NET_BIND_SERVICE alone, for ports 80 and 443.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use sluice_agent::service::{Asking, Service, state_folder};
use sluice_api::types::Generation;
use tokio::sync::mpsc;
use tracing::info;

use crate::appliance::CONSOLE;
use crate::http::{Door, Kind, Open, Shared, certificates};
use crate::report::Report;
use crate::slice::ConsoleSlice;

/// Questions to the manager on their way to the agent; more wait at their sessions.
const QUESTIONS: usize = 64;

/// The console service.
pub struct Console {
    shared: Arc<Shared>,
    door: Arc<Door>,
    open: BTreeMap<(SocketAddr, Kind), Open>,
    /// What sessions ask the manager, for whoever carries it there.
    questions: Option<mpsc::Receiver<Asking>>,
}

impl Console {
    /// A service that serves nobody until its first slice. By whom grants are used is written down in `folder`, for the
    /// process after this one; without a folder it is not.
    ///
    /// Errors: the system has no random numbers.
    pub fn new(folder: Option<&Path>) -> Result<Self, String> {
        let (manager, questions) = mpsc::channel(QUESTIONS);
        let shared = Shared::new(folder, manager)?;
        let door = Door::new(Arc::clone(&shared));
        Ok(Self { shared, door, open: BTreeMap::new(), questions: Some(questions) })
    }

    /// Brings `slice` into force; must be called within a runtime.
    ///
    /// Errors: what of the slice cannot be taken; the former is still in force.
    pub fn take(&mut self, slice: &ConsoleSlice) -> Result<(), String> {
        if let Some(complaint) = slice.complaint() {
            return Err(complaint);
        }
        let tls = certificates(&slice.certificates)?;
        let console = slice.listen.iter().map(|address| (*address, Kind::Console));
        let redirect = slice.redirect.iter().map(|address| (*address, Kind::Redirect));
        let wanted: Vec<_> = console.chain(redirect).collect();
        let new = self.door.open(wanted.iter().copied(), &self.open)?;
        self.shared.apply(slice)?;
        self.door.secure(tls);
        self.open.extend(new);
        self.open.retain(|key, _| wanted.contains(key));
        info!(grants = slice.grants.len(), "console configuration in force");
        Ok(())
    }

    /// The state now.
    pub fn report(&self) -> Report {
        Report::of(&self.shared.registry)
    }
}

impl Service for Console {
    type Slice = ConsoleSlice;

    async fn apply(&mut self, _: Generation, slice: ConsoleSlice) -> Result<(), String> {
        self.take(&slice)
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.report().counters()
    }

    fn questions(&mut self) -> Option<mpsc::Receiver<Asking>> {
        self.questions.take()
    }

    fn report(&self) -> serde_json::Value {
        serde_json::to_value(Self::report(self)).unwrap_or_default()
    }
}

/// Serves until the agent closes the control channel on standard input.
pub fn run() -> io::Result<()> {
    let folder = state_folder(CONSOLE);
    // on a desk's agent there is none
    let folder = folder.is_dir().then_some(folder.as_path());
    let console = Console::new(folder).map_err(io::Error::other)?;
    sluice_agent::service::run(move || console)
}
