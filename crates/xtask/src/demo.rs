//! `cargo xtask demo`: sets everything up, then hands over to the demonstration.

use anyhow::Result;

use crate::{image, packages, run};

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the machines up and say how to look around
    #[arg(long)]
    keep: bool,
}

/// Installs, builds, shows.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::IMAGE, packages::MACHINES])?;
    image::build_all()?;
    let mut command = std::process::Command::new(run::release("sluice-demo"));
    command.current_dir(run::root());
    if options.keep {
        command.arg("--keep");
    }
    run::check(&mut command)
}
