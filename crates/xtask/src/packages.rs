//! Debian packages that a command needs: says which are missing and why, then installs them.
//!
//! Everything said about it goes to standard error, so that `--json` stays JSON. Services of the installed packages are not
//! started: they are tools and rivals here, not part of the machine.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail};
use sluice_programs::Package;
pub(crate) use sluice_programs::{BENCH, BUILD, CONSOLE, FUZZ, IMAGE, MACHINES, NAMESPACES};

use crate::run;

/// Installs whatever of `groups` is missing.
pub(crate) fn ensure(groups: &[&[Package]]) -> Result<()> {
    let wanted = groups.iter().flat_map(|group| group.iter());
    let missing: BTreeMap<&str, &str> =
        wanted.map(|Package { name, why, .. }| (*name, *why)).filter(|p| !installed(p.0)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("These Debian packages are missing and will be installed:");
    for (name, why) in &missing {
        eprintln!("  {name:<24} {why}");
    }
    install(&missing)
}

fn installed(package: &str) -> bool {
    let query = ["-W", "-f=${db:Status-Status}", package];
    run::capture(&mut run::command("dpkg-query", &query)).is_ok_and(|status| status == "installed")
}

fn install(missing: &BTreeMap<&str, &str>) -> Result<()> {
    if !run::succeeds(&mut run::command("apt-get", &["--version"])) {
        bail!("apt-get is not here; install the packages above by hand, then run this again");
    }
    run::check(&mut as_root(&["sh", "-c", "apt-get update -q >&2"]))?;
    let mut words = vec!["sh", "-c", INSTALL, "install"];
    let pins = qemu_pins(missing);
    if !pins.is_empty() {
        eprintln!("  qemu-utils is changed to the version of qemu-system-x86, which must match it");
        words.push("--allow-downgrades");
    }
    words.extend(missing.keys().copied());
    words.extend(pins.iter().map(String::as_str));
    run::check(&mut as_root(&words))
        .context("cannot install packages; is the package index reachable?")
}

/// Installs its arguments. While it runs, packages do not start their services (Debian policy 9.3.3, policy-rc.d); one
/// shell as root does it all, so that whatever ends it, Ctrl-C included, also takes our policy away. A policy of the
/// user's own stays.
const INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
mark='# while cargo xtask installs packages'
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy" && chmod 755 "$policy" || exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -q -y --no-install-recommends "$@" >&2
"#;

/// qemu-system-x86 and qemu-utils refuse each other unless their versions match, and apt does not change a
/// version by itself when the installed one is newer than what it can fetch.
fn qemu_pins(missing: &BTreeMap<&str, &str>) -> Vec<String> {
    let wanted = missing.contains_key("qemu-system-x86");
    let (Some(system), Some(present)) =
        (policy("qemu-system-x86", "Candidate:"), policy("qemu-utils", "Installed:"))
    else {
        return Vec::new();
    };
    if !wanted || present == "(none)" || present == system {
        return Vec::new();
    }
    vec![format!("qemu-utils={system}")]
}

fn policy(package: &str, field: &str) -> Option<String> {
    let text = run::capture(&mut run::command("apt-cache", &["policy", package])).ok()?;
    text.lines().find_map(|line| line.trim().strip_prefix(field).map(|rest| rest.trim().to_owned()))
}

fn as_root(words: &[&str]) -> Command {
    match words {
        [program, arguments @ ..] if run::is_root() => run::command(program, arguments),
        _ => run::command("sudo", words),
    }
}
