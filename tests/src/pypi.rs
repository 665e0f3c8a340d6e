//! What tests need and Debian has no package of, from PyPI.
//!
//! Guarantees: it is of the versions that the repository names, in a folder of its own below the build's, which the first
//! test that needs it makes; the next run finds it there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// In the folder once it is whole: what it was made of.
const WHOLE: &str = "whole.txt";

/// The folder `name`, made by `make` unless it was made of these `versions` before.
pub(crate) fn folder(
    name: &str,
    versions: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let target =
        crate::profile_dir().parent().context("a profile's folder is in target")?.to_owned();
    let folder = target.join(name);
    fs::create_dir_all(&folder)?;
    let lock = File::create(target.join(format!("{name}.lock")))?;
    lock.lock()?;
    let made_of = fs::read_to_string(folder.join(WHOLE)).unwrap_or_default();
    if made_of != versions {
        fs::remove_dir_all(&folder)?;
        fs::create_dir(&folder)?;
        make(&folder)?;
        fs::write(folder.join(WHOLE), versions)?;
    }
    Ok(folder)
}

/// Makes an environment of Python's in `folder`, and has its pip do `words` with the list of `versions`.
pub(crate) fn pip(folder: &Path, versions: &str, words: &[&str]) -> Result<()> {
    done(sluice_programs::command("python3")?.args(["-m", "venv"]).arg(folder))?;
    let list = folder.join("versions.txt");
    fs::write(&list, versions)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(words).args(["--quiet", "--no-input", "--disable-pip-version-check", "-r"]).arg(list);
    done(&mut pip).context("is the package index reachable?")
}

/// Runs a program to its end.
pub(crate) fn done(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))
}
