//! `cargo xtask lab`: the `sluice lab` command, built and with its packages installed.

use anyhow::Result;

use crate::{packages, run};

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Arguments of `sluice lab`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Hands over to `sluice lab`.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::MACHINES])?;
    let mut command = run::cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package=sluice-manager",
        "--bin=sluice",
        "--",
        "lab",
    ]);
    run::check(command.args(&options.arguments))
}
