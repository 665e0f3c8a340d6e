//! `cargo xtask demo`: will set everything up and show the main job on machines.

use anyhow::{Result, bail};

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the machines up and say how to look around
    #[arg(long)]
    keep: bool,
}

/// Not written yet: says so before it installs or builds anything.
pub(crate) fn run(_: &Options) -> Result<()> {
    bail!(
        "the demonstration is not written yet; `cargo xtask test` shows what works, docs/status.md lists it"
    )
}
