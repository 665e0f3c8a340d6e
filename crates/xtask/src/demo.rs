//! `cargo xtask demo [SCENE]`: sets everything up and shows one of the main jobs on virtual machines.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{image, packages, run};

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What is shown; the program that shows it knows the scenes
    #[arg(default_value = "network")]
    scene: String,
    /// Leave the machines up and say how to look around
    #[arg(long)]
    keep: bool,
    /// End what --keep left up
    #[arg(long, conflicts_with = "keep")]
    down: bool,
}

/// Installs what is missing, builds, and hands over to the demonstration.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::IMAGE, packages::MACHINES])?;
    say!("building; the first time takes some minutes");
    image::build_all(&["sluice-demo", "sluice-manager", "sluice"])?;
    let mut command = Command::new(run::release("sluice-demo"));
    command.current_dir(run::root()).args(["--scene", &options.scene]);
    let flags = [("--keep", options.keep), ("--down", options.down)];
    command.args(flags.iter().filter(|(_, given)| *given).map(|(flag, _)| flag));
    run::check(&mut command).context("the demonstration failed; its reason is above")
}
