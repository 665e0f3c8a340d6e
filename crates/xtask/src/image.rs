//! `cargo xtask image`: the bootable template and the test host.

use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use sluice_image::{Flavour, Ike, Options as Build, testhost};

use crate::{packages, run};

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// With a shell and tools, for engineers
    #[arg(long)]
    debug: bool,
    /// Its IKE daemon; the other is built under file names of its own
    #[arg(long, value_enum, default_value = "strongswan")]
    ike: Engine,
    /// Rewrite the checked-in lists of what ships
    #[arg(long)]
    bless: bool,
}

/// IKE daemons, as the command line names them.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Engine {
    Strongswan,
    Libreswan,
}

impl From<Engine> for Ike {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Strongswan => Self::Strongswan,
            Engine::Libreswan => Self::Libreswan,
        }
    }
}

/// Builds what was asked for and says where it is.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::IMAGE])?;
    let flavour = if options.debug { Flavour::Debug } else { Flavour::Standard };
    let ike = options.ike.into();
    let build = Build { flavour, ike, bless: options.bless, ..Build::in_target(&run::target()) };
    binaries(&[])?;
    template(&build)?;
    if flavour == Flavour::Standard {
        test_host(&build)?;
    }
    say!("built in {}", build.out.display());
    Ok(())
}

/// Builds the template and the test host, and the programs `beside` them; what is up to date is kept.
pub(crate) fn build_all(beside: &[&str]) -> Result<()> {
    let build = Build::in_target(&run::target());
    // the archive is waited for while cargo works; what cannot be fetched is asked for again below, and says why
    std::thread::scope(|scope| {
        scope.spawn(|| sluice_image::fetch(&build).and_then(|()| testhost::fetch(&build)));
        binaries(beside)
    })?;
    template(&build)?;
    test_host(&build)
}

/// Programs of ours in the template and the test host.
const SHIPPED: [&str; 5] =
    ["sluice-init", "sluice-router", "sluice-proxy", "sluice-ssvm", "sluice-guest"];

fn binaries(beside: &[&str]) -> Result<()> {
    // of the whole workspace, so that everything has the features that it has in the tests
    let mut command = run::cargo(&["build", "--workspace", "--release"]);
    for name in SHIPPED.iter().chain(beside) {
        command.args(["--bin", name]);
    }
    run::check(&mut command)
}

fn template(build: &Build) -> Result<()> {
    shown("template", |progress| sluice_image::build(build, progress).map(drop))
}

fn test_host(build: &Build) -> Result<()> {
    shown("test host", |progress| testhost::build(build, progress).map(drop))
}

/// Runs one build with a line that says what it is at.
fn shown(what: &str, build: impl FnOnce(&dyn Fn(&str)) -> sluice_image::Result<()>) -> Result<()> {
    let line = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} ({elapsed})") {
        line.set_style(style);
    }
    line.set_prefix(what.to_owned());
    line.enable_steady_tick(Duration::from_millis(200));
    let done = build(&|step| line.set_message(step.to_owned()));
    line.finish_and_clear();
    done.with_context(|| format!("cannot build the {what}"))
}
