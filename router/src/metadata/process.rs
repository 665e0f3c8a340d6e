//! `sluice-router service metadata`: the service under the agent, without privilege.
//!
//! Guarantees: a generation is in force when every answer is made from it and what can be listened on is. Needs
//! CAP_NET_BIND_SERVICE alone.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};
use sluice_agent::service::Service;
use sluice_api::types::Generation;

use super::site::MetadataSite;
use super::slice::MetadataSlice;
use crate::web::Web;

/// Nothing is served before the first slice.
#[derive(Default)]
struct Process(Option<Web<MetadataSite>>);

impl Service for Process {
    type Slice = MetadataSlice;

    async fn apply(&mut self, _: Generation, slice: MetadataSlice) -> Result<(), String> {
        let web = match &self.0 {
            Some(web) => web,
            None => self.0.insert(start()?),
        };
        apply(web, &slice);
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.0.as_ref().map(Web::counters).unwrap_or_default()
    }

    /// Where it cannot listen.
    fn report(&self) -> Value {
        self.0.as_ref().map_or(Value::Null, |web| json!({ "missing": web.missing() }))
    }
}

/// The service with nobody to serve.
pub(super) fn start() -> Result<Web<MetadataSite>, String> {
    let site = MetadataSite::new().ok_or("the system has no randomness to give")?;
    Web::start(site).map_err(|error| format!("no socket can be opened: {error}"))
}

/// Puts `slice` in force.
pub(super) fn apply(web: &Web<MetadataSite>, slice: &MetadataSlice) {
    let before = std::time::Instant::now();
    web.site().replace(slice);
    web.follow(slice.endpoints());
    let guests: usize = slice.networks.iter().map(|network| network.guests.len()).sum();
    let micros = before.elapsed().as_micros();
    tracing::info!(guests, micros, "metadata configuration in force");
}

/// Serves until the agent closes the control channel on standard input.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Process::default)
}
