//! `cargo xtask test`: every check and every tier, each with what ran, passed, failed and was skipped, and why.
//!
//! A tier that cannot run here is listed test by test as skipped, never counted as passed. The last line is the
//! runner's own count over all tiers.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::nextest::{self, Count};
use crate::{fuzz, image, licences, packages, run};

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only T0 and T1, for work in between
    #[arg(long)]
    fast: bool,
    /// Every fuzz target, tunnels between machines and the whole manager on PostgreSQL, not only what each run has
    #[arg(long, conflicts_with = "fast")]
    full: bool,
}

struct Tier {
    name: &'static str,
    what: &'static str,
    filter: &'static str,
    root: bool,
    /// The program that starts the runner, by the name of its binary.
    through: Option<&'static str>,
}

const TIERS: [Tier; 4] = [
    Tier {
        name: "T0",
        what: "unit, golden files, properties",
        filter: "not binary(/^t[123]_/)",
        root: false,
        through: None,
    },
    Tier {
        name: "T1",
        what: "packets in network namespaces",
        filter: "binary(/^t1_/)",
        root: true,
        through: None,
    },
    Tier {
        name: "T2",
        what: "faults and kills",
        filter: "binary(/^t2_/)",
        root: false,
        through: None,
    },
    Tier {
        name: "T3",
        what: "virtual machines",
        filter: "binary(/^t3_/) and (not binary(t3_vpn) or test(/^managed::/)) and not test(/^two_hundred_and_fifty/)",
        root: false,
        through: None,
    },
];

/// What T3 has besides, with `--full`: three peers, each algorithm, minutes of negotiating; as many tiers as a trunk may have.
const TUNNELS: Tier = Tier {
    name: "T3",
    what: "tunnels between machines, many tiers",
    filter: "binary(t3_vpn) and not test(/^managed::/) or binary(t3_cloud) and test(/^two_hundred_and_fifty/)",
    root: false,
    through: None,
};

/// What T1 has besides, with `--full`: each store of the manager's tests in a database of its own.
const POSTGRES: Tier = Tier {
    name: "T1",
    what: "the manager on PostgreSQL",
    filter: "binary(t1_manager)",
    root: true,
    through: Some("sluice-on-postgres"),
};

struct Line {
    tier: &'static str,
    what: &'static str,
    count: Count,
    took: Duration,
    note: String,
}

/// Runs the checks, then the tiers.
pub(crate) fn run(options: &Options) -> Result<()> {
    packages::ensure(&[packages::BUILD, packages::NAMESPACES, packages::CONSOLE])?;
    nextest::ensure()?;
    components()?;
    checks()?;
    if !options.fast {
        // T3 boots it, and T1 takes the template's own nft out of it
        headline("image");
        packages::ensure(&[packages::IMAGE, packages::MACHINES])?;
        image::build_all(&[])?;
    }
    let tiers = if options.fast { &TIERS[..2] } else { &TIERS[..] };
    let mut lines = Vec::new();
    let mut good = true;
    for tier in tiers {
        let (line, passed) = run_tier(tier)?;
        good &= passed;
        lines.push(line);
        if tier.name == "T2" {
            packages::ensure(&[packages::FUZZ])?;
            good &= fuzz::run(options.full)?;
        }
    }
    if options.full {
        for tier in [&POSTGRES, &TUNNELS] {
            let (line, passed) = run_tier(tier)?;
            good &= passed;
            lines.push(line);
        }
    } else {
        say!(
            "further tunnels between machines, the whole manager on PostgreSQL and the other fuzz targets run with --full"
        );
    }
    report(&lines);
    if good { Ok(()) } else { bail!("some tests failed") }
}

/// Parts of the Rust distribution that a minimal installation lacks.
const COMPONENTS: [(&str, &str); 2] = [("rustfmt", "fmt"), ("clippy", "clippy")];

fn components() -> Result<()> {
    for (name, command) in COMPONENTS {
        if !run::succeeds(&mut run::cargo(&[command, "--version"])) {
            say!("{name}, a part of Rust, is missing and will be added with rustup");
            run::check(&mut run::command("rustup", &["component", "add", name]))
                .with_context(|| format!("install {name} for your Rust by hand"))?;
        }
    }
    Ok(())
}

fn checks() -> Result<()> {
    headline("format");
    run::check(&mut run::cargo(&["fmt", "--all", "--check"])).context("run `cargo fmt --all`")?;
    headline("licences");
    say!("{}", licences::check()?);
    headline("lints");
    run::check(&mut run::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

fn run_tier(tier: &Tier) -> Result<(Line, bool)> {
    headline(&format!("{} {}", tier.name, tier.what));
    let start = Instant::now();
    let runner = if tier.root { nextest::root_runner() } else { None };
    if tier.root && runner.is_none() && !run::is_root() {
        return skipped(tier, "needs root or sudo without a password");
    }
    let through = tier.through.map(run::debug);
    let (count, good) = nextest::run(tier.filter, runner, through.as_deref())?;
    let note = String::new();
    Ok((Line { tier: tier.name, what: tier.what, count, took: start.elapsed(), note }, good))
}

fn skipped(tier: &Tier, why: &str) -> Result<(Line, bool)> {
    let names = nextest::list(tier.filter)?;
    for name in &names {
        say!("    SKIP {name}: {why}");
    }
    let skipped = u64::try_from(names.len()).unwrap_or(u64::MAX);
    let count = Count { skipped, ..Count::default() };
    let note = why.to_owned();
    Ok((Line { tier: tier.name, what: tier.what, count, took: Duration::ZERO, note }, true))
}

fn report(lines: &[Line]) {
    say!(
        "\n{:<5}{:<34}{:>7}{:>8}{:>8}{:>9}",
        "tier",
        "what",
        "time",
        "passed",
        "failed",
        "skipped"
    );
    let mut total = Count::default();
    for line in lines {
        total += line.count;
        let Count { passed, failed, skipped } = line.count;
        let seconds = line.took.as_secs();
        let (tier, what, note) = (line.tier, line.what, &line.note);
        say!("{tier:<5}{what:<34}{seconds:>6}s{passed:>8}{failed:>8}{skipped:>9}  {note}");
    }
    say!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
}

/// Announces a stage, with the minutes and seconds since the first one.
pub(crate) fn headline(text: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed().as_secs();
    say!("\n== {text} [{:02}:{:02}]", since / 60, since % 60);
}
