//! `sluice-ssvm serve`: the service without an agent. Re-reads its slice on SIGHUP, prints its report as JSON on SIGUSR1 and
//! at the end.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use sluice_sys::stdout;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use crate::service::Storage;
use crate::slice::StorageSlice;

/// Arguments of `sluice-ssvm serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The slice: TOML when it is named so, else JSON
    #[arg(long, value_name = "FILE")]
    slice: PathBuf,
}

impl ServeArgs {
    /// Serves until SIGTERM or SIGINT.
    pub fn run(&self) -> Result<()> {
        super::block_on(self.serve())
    }

    async fn serve(&self) -> Result<()> {
        let mut signals = Signals::new()?;
        let mut storage = Storage::default();
        storage.set(&self.load()?).await.map_err(anyhow::Error::msg)?;
        info!("storage started");
        loop {
            tokio::select! {
                _ = signals.reload.recv() => self.reload(&mut storage).await,
                _ = signals.report.recv() => print(&storage),
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
            }
        }
        print(&storage);
        Ok(())
    }

    fn load(&self) -> Result<StorageSlice> {
        let path = self.slice.display();
        let text =
            std::fs::read_to_string(&self.slice).with_context(|| format!("cannot read {path}"))?;
        let unread = || format!("{path} is not a slice of the storage service");
        if self.slice.extension().is_some_and(|extension| extension == "toml") {
            return toml::from_str(&text).with_context(unread);
        }
        serde_json::from_str(&text).with_context(unread)
    }

    /// A slice that does not load leaves the one in force.
    async fn reload(&self, storage: &mut Storage) {
        let outcome = match self.load() {
            Ok(slice) => storage.set(&slice).await,
            Err(reason) => Err(format!("{reason:#}")),
        };
        match outcome {
            Ok(()) => info!("storage slice in force"),
            Err(reason) => error!(reason, "storage slice not loaded, the old one stays"),
        }
    }
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

fn print(storage: &Storage) {
    let written = serde_json::to_string(&storage.report()).map_err(Into::into);
    match written.and_then(stdout::line) {
        Ok(()) => {}
        Err(reason) => error!(%reason, "report not printed"),
    }
}
