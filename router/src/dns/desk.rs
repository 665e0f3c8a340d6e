//! `sluice-router dns`: the service on a desk or a test bench, without an agent.
//!
//! Takes its slice from a file (or the slice of a whole configuration), re-reads it on SIGHUP and prints its report as
//! JSON on SIGUSR1 and at the end. Keeps the rights it was started with: on an appliance the agent starts `service dns`.

use anyhow::{Context, Result};
use sluice_sys::stdout;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use super::server::Server;
use super::slice::slice;
use crate::SliceArgs;

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &SliceArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &SliceArgs) -> Result<()> {
    let first = args.load(slice)?;
    let server = Server::start(&first.settings).context("cannot start the DNS service")?;
    let mut signals = Signals::new()?;
    let mut serial = 1;
    server.apply(&first, serial).await.map_err(anyhow::Error::msg)?;
    complain(&server);
    info!("dns server started");
    loop {
        tokio::select! {
            _ = signals.reload.recv() => {
                serial += 1;
                reload(args, &server, serial).await;
            }
            _ = signals.report.recv() => print(&server),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    print(&server);
    Ok(())
}

struct Signals {
    reload: Signal,
    report: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            reload: on(SignalKind::hangup())?,
            report: on(SignalKind::user_defined1())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }
}

/// A slice that does not load leaves the one in force.
async fn reload(args: &SliceArgs, server: &Server, serial: u32) {
    match args.load(slice) {
        Ok(slice) => match server.apply(&slice, serial).await {
            Ok(()) => complain(server),
            Err(reason) => error!(reason, "dns slice refused, the old one stays"),
        },
        Err(reason) => {
            error!(reason = format!("{reason:#}"), "dns slice not loaded, the old one stays");
        }
    }
}

fn complain(server: &Server) {
    for address in server.report().missing {
        error!(%address, "cannot answer there yet, trying again; port 53 needs CAP_NET_BIND_SERVICE");
    }
}

fn print(server: &Server) {
    let written = serde_json::to_string(&server.report()).map_err(Into::into);
    match written.and_then(stdout::line) {
        Ok(()) => {}
        Err(reason) => error!(%reason, "report not printed"),
    }
}
