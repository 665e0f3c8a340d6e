//! schemathesis, which asks an API by its OpenAPI document. Debian has no package of it.
//!
//! Guarantees: it is of the versions in `tests/schemathesis.txt`, in an environment of its own below the build's folder,
//! which the first test that needs it makes from PyPI; the next run finds it there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What is installed.
const VERSIONS: &str = include_str!("../schemathesis.txt");
/// In the environment once it is whole: what it was made of.
const WHOLE: &str = "whole.txt";

/// The program, installed when it is missing.
pub fn program() -> Result<PathBuf> {
    let target =
        crate::profile_dir().parent().context("a profile's folder is in target")?.to_owned();
    let folder = target.join("schemathesis");
    fs::create_dir_all(&folder)?;
    let lock = File::create(target.join("schemathesis.lock"))?;
    lock.lock()?;
    let made_of = fs::read_to_string(folder.join(WHOLE)).unwrap_or_default();
    if made_of != VERSIONS {
        install(&folder)?;
    }
    Ok(folder.join("bin/st"))
}

fn install(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder)?;
    done(sluice_programs::command("python3")?.args(["-m", "venv"]).arg(folder))?;
    let list = folder.join("versions.txt");
    fs::write(&list, VERSIONS)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"]).arg(&list);
    done(&mut pip).context("schemathesis cannot be installed; is the package index reachable?")?;
    fs::write(folder.join(WHOLE), VERSIONS)?;
    Ok(())
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))
}
