//! `sluice-router lb`: the service on a desk or a test bench, without an agent.
//!
//! Takes its slice from a file, re-reads it on SIGHUP and prints its report on SIGUSR1 and at the end. With
//! `--hand-over` a second one takes the sockets of the first, which ends with its last connection. Keeps the rights it was
//! started with: on an appliance the agent starts `service lb`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use sluice_sys::stdout;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tracing::{error, info};

use super::handover::Door;
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
    /// Take over from the process of the same user that runs with this, if one does, and hand over to the next
    #[arg(long)]
    hand_over: bool,
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
    let door = args.hand_over.then(|| Door::new("desk"));
    server.inherit(door.as_ref().and_then(Door::knock));
    apply(&mut server, &args.slice).await?;
    let server = Arc::new(Mutex::new(server));
    let open = door.and_then(Door::open);
    let handed_over = open.map(|open| tokio::spawn(open.hand_over(Arc::clone(&server))));
    tokio::pin! {
        let replaced = async {
            let gone = match handed_over {
                Some(task) => task.await.unwrap_or(false),
                None => false,
            };
            // a door that broke lets nobody in
            if !gone {
                std::future::pending::<()>().await;
            }
        };
    }
    loop {
        tokio::select! {
            _ = signals.reload.recv() => {
                // a slice that does not load leaves the one in force
                if let Err(reason) = apply(&mut *server.lock().await, &args.slice).await {
                    error!(reason = format!("{reason:#}"), "slice not loaded, the old one stays");
                }
            }
            _ = signals.report.recv() => print(&server, args.csv)?,
            () = &mut replaced => break,
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

fn print(server: &Mutex<Server>, csv: bool) -> Result<()> {
    // one that hands over has nothing to say that the next one does not
    let Ok(server) = server.try_lock() else { return Ok(()) };
    let report = server.report();
    if csv {
        stdout::print(sluice_api::report::balancing::csv(&report))?;
    } else {
        stdout::line(serde_json::to_string(&report)?)?;
    }
    Ok(())
}
