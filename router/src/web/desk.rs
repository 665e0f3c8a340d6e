//! A site on a desk or a test bench, without an agent.
//!
//! Takes its slice from a file (or the slice of a whole configuration), re-reads it on SIGHUP and prints its counters as
//! JSON on SIGUSR1 and at the end. Keeps the rights it was started with: on an appliance the agent starts `service NAME`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use sluice_sys::stdout;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

/// What a desk does with a site.
pub(crate) trait Desk {
    /// Reads the slice and puts it in force.
    fn load(&mut self) -> Result<()>;

    /// What is printed.
    fn counters(&self) -> BTreeMap<String, u64>;
}

/// Serves what `make` makes until SIGTERM or SIGINT.
pub(crate) fn run<D: Desk>(name: &'static str, make: impl FnOnce() -> Result<D>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { serve(name, make()?).await })
}

async fn serve<D: Desk>(name: &'static str, mut desk: D) -> Result<()> {
    let on = |kind| signal(kind).context("cannot listen for signals");
    let mut reload: Signal = on(SignalKind::hangup())?;
    let mut counters = on(SignalKind::user_defined1())?;
    let mut terminate = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    desk.load()?;
    info!("{name} server started");
    loop {
        tokio::select! {
            _ = reload.recv() => if let Err(reason) = desk.load() {
                // the slice in force stays
                error!(reason = format!("{reason:#}"), "slice not loaded, the old one stays");
            },
            _ = counters.recv() => print(&desk.counters()),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    print(&desk.counters());
    Ok(())
}

fn print(counters: &BTreeMap<String, u64>) {
    let written = serde_json::to_string(counters).map_err(Into::into);
    match written.and_then(stdout::line) {
        Ok(()) => {}
        Err(reason) => error!(%reason, "counters cannot be printed"),
    }
}
