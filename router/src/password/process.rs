//! `sluice-router service password`: the server under the agent, without privilege and without capabilities.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use sluice_agent::service::{Service, state_folder};
use sluice_api::types::Generation;

use super::book::Given;
use super::site::PasswordSite;
use super::slice::PasswordSlice;
use crate::appliance::PASSWORD;
use crate::web::Web;

/// Nothing is served before the first slice.
#[derive(Default)]
struct Process(Option<Web<PasswordSite>>);

impl Service for Process {
    type Slice = PasswordSlice;

    async fn apply(&mut self, _: Generation, slice: PasswordSlice) -> Result<(), String> {
        let web = match &self.0 {
            Some(web) => web,
            None => {
                let folder = state_folder(PASSWORD);
                // a server on a desk's agent has none
                let folder = folder.is_dir().then_some(folder.as_path());
                self.0.insert(start(folder)?)
            }
        };
        apply(web, &slice)
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.0.as_ref().map(counters).unwrap_or_default()
    }

    /// The guests whose password is over, so that the manager need not keep it, those whose password cannot be handed out,
    /// and where it cannot listen.
    fn report(&self) -> Value {
        let of = |web: &Web<PasswordSite>| {
            let site = web.site();
            json!({ "over": site.over(), "unusable": *site.unusable(), "missing": web.missing() })
        };
        self.0.as_ref().map_or(Value::Null, of)
    }
}

/// The service with nobody to serve; what is over is written down in `folder`, if there is one.
pub(super) fn start(folder: Option<&Path>) -> Result<Web<PasswordSite>, String> {
    let site = PasswordSite::new(folder).ok_or("the system has no randomness to give")?;
    Web::start(site).map_err(|error| format!("no socket can be opened: {error}"))
}

/// Puts `slice` in force.
pub(super) fn apply(web: &Web<PasswordSite>, slice: &PasswordSlice) -> Result<(), String> {
    web.site().replace(slice)?;
    web.follow(slice.endpoints());
    for (guest, reason) in &slice.unusable() {
        tracing::warn!(%guest, reason, "password cannot be handed out");
    }
    tracing::info!(passwords = slice.passwords().count(), "password configuration in force");
    Ok(())
}

/// Those of the connections, and how many passwords are in which state.
pub(super) fn counters(web: &Web<PasswordSite>) -> BTreeMap<String, u64> {
    let mut named = web.counters();
    let states = web.site().states();
    for (name, given) in [
        ("passwords_waiting", Given::Waiting),
        ("passwords_sent", Given::Sent),
        ("passwords_acknowledged", Given::Acknowledged),
        ("passwords_expired", Given::Expired),
    ] {
        named.insert(name.to_owned(), states.get(&given).copied().unwrap_or(0));
    }
    let unusable = u64::try_from(web.site().unusable().len()).unwrap_or(u64::MAX);
    named.insert("passwords_unusable".to_owned(), unusable);
    named
}

/// Serves until the agent closes the control channel on standard input.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Process::default)
}
