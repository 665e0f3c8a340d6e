//! Leaves the initial RAM file system: moves the mounts, frees its memory, becomes the second stage.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use super::mounts::EARLY_TARGETS;

/// Why the hand-over failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwitchError {
    /// A step of it.
    #[error("cannot {step}")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The second stage cannot be started.
    #[error("cannot start {init}")]
    Exec {
        /// Its path.
        init: String,
        /// Why.
        source: io::Error,
    },
}

/// Becomes `init` on `root`; returns only on failure.
pub(crate) fn run(root: &Path, init: &str) -> Result<Infallible, SwitchError> {
    for target in EARLY_TARGETS {
        let new = root.join(target.trim_start_matches('/'));
        step("move a mount onto the root", move_mount(Path::new(target), &new))?;
    }
    step("enter the root", chdir(root))?;
    // after this line the old root is only reachable as "/", and nothing on it is needed any more
    free_ramfs(Path::new("/"));
    step("move the root", move_mount(Path::new("."), Path::new("/")))?;
    step("change the root", chroot("."))?;
    step("enter the new root", chdir("/"))?;
    let source = Command::new(init).env_clear().exec();
    Err(SwitchError::Exec { init: init.to_owned(), source })
}

fn move_mount(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
}

fn step(step: &'static str, result: nix::Result<()>) -> Result<(), SwitchError> {
    result.map_err(|errno| SwitchError::Step { step, source: errno.into() })
}

/// Deletes the RAM file system's files, which otherwise hold their memory for ever. Never crosses into a mount.
fn free_ramfs(dir: &Path) {
    let Ok(device) = fs::metadata(dir).map(|meta| meta.dev()) else { return };
    free_on(dir, device);
}

/// Failures only cost memory.
fn free_on(dir: &Path, device: u64) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.dev() != device => {}
            Ok(meta) if meta.is_dir() => {
                free_on(&path, device);
                let _ = fs::remove_dir(&path);
            }
            Ok(_) => {
                let _ = fs::remove_file(&path);
            }
            Err(_) => {}
        }
    }
}
