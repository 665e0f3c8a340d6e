//! The test runner: cargo-nextest, installed when it is missing, and its own count of tests.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::run;

/// What one run counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Makes sure that the runner is there.
pub(crate) fn ensure() -> Result<()> {
    if run::succeeds(&mut run::cargo(&["nextest", "--version"])) {
        return Ok(());
    }
    say!("cargo-nextest, the test runner, is missing and will be built (some minutes)");
    run::check(&mut run::cargo(&["install", "--locked", "--quiet", "cargo-nextest"]))
}

/// Runs the tests that `filter` selects and shows them as they go; the count is the runner's own. `through` is a program
/// that is to start the runner.
pub(crate) fn run(
    filter: &str,
    runner: Option<&str>,
    through: Option<&Path>,
) -> Result<(Count, bool)> {
    let words = ["nextest", "run", "--workspace", "--no-fail-fast", "--color=never", "-E", filter];
    let mut command = match through {
        Some(program) => run::through(program, &run::cargo(&words)),
        None => run::cargo(&words),
    };
    if let Some(runner) = runner {
        command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    }
    let mut child =
        command.stderr(Stdio::piped()).spawn().with_context(|| "cannot start cargo nextest")?;
    let mut count = Count::default();
    let mut seen = false;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            if let Some(found) = summary(&line) {
                count = found;
                seen = true;
            }
            say!("{line}");
        }
    }
    let status = child.wait()?;
    // a run that did not get as far as its summary is a failure of its own
    if !seen {
        count.failed += 1;
    }
    Ok((count, status.success() && seen))
}

/// Names of the tests that `filter` selects: what is listed when a tier cannot run.
pub(crate) fn list(filter: &str) -> Result<Vec<String>> {
    let words = [
        "nextest",
        "list",
        "--workspace",
        "--color=never",
        "--message-format=oneline",
        "-E",
        filter,
    ];
    let text = run::capture(&mut run::cargo(&words))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Reads `Summary [ 1.2s] 14 tests run: 13 passed (1 slow), 1 failed, 2 skipped`. Tests that the filter left out
/// belong to another tier and are not counted as skipped.
fn summary(line: &str) -> Option<Count> {
    let rest = line.trim().strip_prefix("Summary [")?.split_once(" run: ")?.1;
    let mut count = Count::default();
    for part in rest.split(", ") {
        let mut words = part.split_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        match words.next()? {
            "passed" => count.passed += number,
            "failed" | "timed" | "exec" => count.failed += number,
            _ => {}
        }
    }
    Some(count)
}

/// The command that runs test programs as root when this user is not.
pub(crate) fn root_runner() -> Option<&'static str> {
    let sudo = !run::is_root() && run::succeeds(&mut run::command("sudo", &["-n", "true"]));
    sudo.then_some("sudo -n -E")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_the_runner_is_read() {
        let line = "     Summary [   0.414s] 14 tests run: 12 passed (1 slow), 1 failed, 1 timed out, 3 skipped";
        assert_eq!(summary(line), Some(Count { passed: 12, failed: 2, skipped: 0 }));
        assert_eq!(summary("        PASS [   0.374s] (14/14) x"), None);
    }
}
