//! `cargo xtask bless`: golden files are rewritten by the tests that compare them.

use anyhow::Result;

use crate::{nextest, run};

/// Runs T0 with `BLESS` set, then shows what changed.
pub(crate) fn run() -> Result<()> {
    nextest::ensure()?;
    let filter = "not binary(/^t[123]_/)";
    let words = ["nextest", "run", "--workspace", "--no-fail-fast", "-E", filter];
    run::check(run::cargo(&words).env("BLESS", "1"))?;
    run::check(&mut run::command("git", &["--no-pager", "status", "--short"]))
}
