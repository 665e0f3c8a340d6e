//! `cargo xtask image`: the bootable template and the test host.

use anyhow::Result;

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// With a shell and tools, for engineers
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(_options: &Options) -> Result<()> {
    Ok(())
}
pub(crate) fn build_all(_demo: bool) -> Result<()> {
    Ok(())
}
