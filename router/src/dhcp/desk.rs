//! `sluice-router dhcp`: the server on a desk or a test bench, without an agent.
//!
//! Takes its slice from a file (or the slice of a whole configuration), re-reads it on SIGHUP and prints its counters as JSON
//! on SIGUSR1 and at the end. Keeps the rights it was started with: on an appliance the agent starts `service dhcp` instead.

use anyhow::{Context, Result};
use sluice_sys::stdout;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use super::service::Service;
use super::slice::slice;
use crate::SliceArgs;

/// A folder beside the slice's file where loans are written down, if there is one.
const LEASES: &str = "leases";

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &SliceArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &SliceArgs) -> Result<()> {
    // beside the slice, for a test that starts it again
    let folder = args.folder().filter(|folder| folder.join(LEASES).is_dir());
    let folder = folder.map(|folder| folder.join(LEASES));
    let mut service = Service::start(&args.load(slice)?, folder.as_deref());
    let mut signals = Signals::new()?;
    info!("dhcp server started");
    loop {
        tokio::select! {
            _ = signals.reload.recv() => reload(args, &mut service),
            _ = signals.counters.recv() => print(&service),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    print(&service);
    Ok(())
}

struct Signals {
    reload: Signal,
    counters: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            reload: on(SignalKind::hangup())?,
            counters: on(SignalKind::user_defined1())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }
}

/// A slice that does not load leaves the one in force.
fn reload(args: &SliceArgs, service: &mut Service) {
    match args.load(slice) {
        Ok(slice) => service.replace(&slice),
        Err(reason) => {
            error!(reason = format!("{reason:#}"), "dhcp slice not loaded, the old one stays");
        }
    }
}

fn print(service: &Service) {
    let written = serde_json::to_string(&service.status()).map_err(Into::into);
    match written.and_then(stdout::line) {
        Ok(()) => {}
        Err(reason) => error!(%reason, "dhcp counters cannot be printed"),
    }
}
