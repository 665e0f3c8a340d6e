//! `cargo xtask bench [NAME] [--json]`: ours beside the rival's from one run.

use anyhow::{Context as _, Result};

use crate::{image, nextest, packages, run};

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Which benchmark; all of them by default
    name: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Builds in release and hands over to the benchmark program.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::NAMESPACES, packages::BENCH])?;
    if options.name.as_deref().is_none_or(|name| name == "boot" || name == "vpn") {
        packages::ensure(&[packages::IMAGE, packages::MACHINES])?;
        image::build_all(&[])?;
    }
    run::check(&mut run::cargo(&["build", "--quiet", "--release", "--workspace", "--bins"]))?;
    let program = run::release("sluice-bench").display().to_string();
    // most of them make network namespaces
    let words = nextest::root_runner().into_iter().flat_map(str::split_whitespace);
    let words: Vec<&str> = words.chain([program.as_str()]).collect();
    let (first, rest) = words.split_first().context("a program")?;
    let mut command = run::command(first, rest);
    command.args(options.name.iter());
    if options.json {
        command.arg("--json");
    }
    run::check(&mut command)
}
