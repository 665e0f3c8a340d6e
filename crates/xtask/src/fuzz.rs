//! Bounded fuzzing of every decoder of outside bytes, with the toolchain that builds everything else.

use std::path::Path;

use anyhow::Result;

use crate::run;
use crate::test::headline;

/// Seconds per target: enough to find what a change broke, short enough for every run.
const SECONDS: u32 = 10;

/// What cargo-fuzz passes to the compiler, so that the tool itself is not needed; and without the sanitizers, which are
/// for unsafe code, a stable compiler does.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions=on";

/// Named so that the flags above reach the targets and not the build scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The targets of every run; the others, whose corpus the tests replay all the same, go with `--full`.
const EVERY_RUN: [&str; 5] = ["boot", "config", "dhcp_decode", "dns_query", "dns_upstream_answer"];

/// Runs the targets for a bounded time, all of them when `full`; true when none crashed.
pub(crate) fn run(full: bool) -> Result<bool> {
    headline("fuzz");
    let folder = run::root().join("fuzz");
    let target = run::target().join("fuzz");
    let mut names = targets(&folder)?;
    names.retain(|name| full || EVERY_RUN.contains(&name.as_str()));
    let mut build = run::cargo(&["build", "--release", "--target", TRIPLE]);
    build.args(names.iter().flat_map(|name| ["--bin", name]));
    if full {
        build.args(["--features", "full"]);
    }
    build.current_dir(&folder).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &target);
    run::check(&mut build)?;
    let mut good = true;
    for name in names {
        good &= one(&name, &folder, &target)?;
    }
    Ok(good)
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn one(name: &str, folder: &Path, target: &Path) -> Result<bool> {
    let corpus = folder.join("corpus").join(name);
    let scratch = target.join("found").join(name);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&scratch)?;
    let seconds = format!("-max_total_time={SECONDS}");
    let artifacts = format!("-artifact_prefix={}/crash-", target.display());
    let output = run::output(
        std::process::Command::new(target.join(TRIPLE).join("release").join(name))
            .arg(&scratch)
            .arg(&corpus)
            .args([
                &seconds,
                &artifacts,
                "-rss_limit_mb=2048",
                "-timeout=5",
                "-print_final_stats=1",
            ]),
    )?;
    let text = String::from_utf8_lossy(&output.stderr);
    let executed = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("?", str::trim);
    if output.status.success() {
        say!("{name:<24} {executed} inputs, no crash");
    } else {
        say!("{name:<24} CRASHED\n{text}");
    }
    Ok(output.status.success())
}
