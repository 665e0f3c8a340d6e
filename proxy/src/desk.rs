//! `sluice-proxy serve`: the service on a desk or a test bench, without an agent.
//!
//! Takes its slice from a file, re-reads it on SIGHUP and prints its report as JSON on SIGUSR1 and at the end.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use sluice_sys::stdout;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use crate::service::Console;
use crate::slice::ConsoleSlice;

/// Arguments of `sluice-proxy serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Serve this slice of the service (JSON, or TOML by its name)
    #[arg(long, value_name = "FILE")]
    slice: PathBuf,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: &ServeArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: &ServeArgs) -> Result<()> {
    let mut console = Console::new(None).map_err(anyhow::Error::msg)?;
    let on = |kind| signal(kind).context("cannot listen for signals");
    let (mut reload, mut tell) = (on(SignalKind::hangup())?, on(SignalKind::user_defined1())?);
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let slice = load(args)?;
    console.take(&slice).map_err(anyhow::Error::msg)?;
    info!(listen = ?slice.listen, "console started");
    let next = async |signal: &mut Signal| signal.recv().await;
    loop {
        tokio::select! {
            _ = next(&mut reload) => again(args, &mut console),
            _ = next(&mut tell) => print(&console),
            _ = next(&mut terminate) => break,
            _ = next(&mut interrupt) => break,
        }
    }
    print(&console);
    Ok(())
}

/// A slice that does not load leaves the one in force.
fn again(args: &ServeArgs, console: &mut Console) {
    let taken = load(args).and_then(|slice| console.take(&slice).map_err(anyhow::Error::msg));
    if let Err(reason) = taken {
        error!(reason = format!("{reason:#}"), "console slice not loaded, the old one stays");
    }
}

fn load(args: &ServeArgs) -> Result<ConsoleSlice> {
    let path = &args.slice;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let unread = || format!("{} is not a slice of the console service", path.display());
    if path.extension().is_some_and(|extension| extension == "toml") {
        return toml::from_str(&text).with_context(unread);
    }
    serde_json::from_str(&text).with_context(unread)
}

fn print(console: &Console) {
    let written = serde_json::to_string(&console.report()).map_err(Into::into);
    match written.and_then(stdout::line) {
        Ok(()) => {}
        Err(reason) => error!(%reason, "report not printed"),
    }
}
