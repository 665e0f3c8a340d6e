//! `sluice-router lb`: the service on a desk or a test bench, without an agent.
//!
//! Takes its slice from a file, re-reads it on SIGHUP and prints its report on SIGUSR1 and at the end. Keeps the rights
//! it was started with: on an appliance the agent starts `service lb`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use super::server::Server;
use super::slice::LbSlice;

/// Arguments of `sluice-router lb`.
#[derive(Debug, Args)]
pub struct LbArgs {
    /// Serve this slice of the service (JSON)
    #[arg(long, value_name = "FILE")]
    slice: PathBuf,
    /// Print reports as HAProxy's CSV instead of JSON
    #[arg(long)]
    csv: bool,
    /// Threads; 0 is one for each processor, at most four
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &LbArgs) -> Result<()> {
    sluice_sys::process::raise_open_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &LbArgs) -> Result<()> {
    let mut signals = Signals::new()?;
    let mut server = Server::start(args.workers).context("cannot start load balancing")?;
    apply(&mut server, &args.slice).await?;
    loop {
        tokio::select! {
            _ = signals.reload.recv() => {
                // a slice that does not load leaves the one in force
                if let Err(reason) = apply(&mut server, &args.slice).await {
                    error!(reason = format!("{reason:#}"), "slice not loaded, the old one stays");
                }
            }
            _ = signals.report.recv() => print(&server, args.csv)?,
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    print(&server, args.csv)
}

async fn apply(server: &mut Server, path: &Path) -> Result<()> {
    let slice = load(path)?;
    if let Err(reason) = server.apply(&slice).await {
        bail!("{}: {reason}", path.display());
    }
    info!(path = %path.display(), "slice in force");
    Ok(())
}

fn load(path: &Path) -> Result<LbSlice> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not what was expected", path.display()))
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

#[allow(clippy::print_stdout)] // the report is what a bench reads
fn print(server: &Server, csv: bool) -> Result<()> {
    let report = server.report();
    if csv {
        print!("{}", super::csv::render(&report));
    } else {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}
