//! The mounts of an appliance.
//!
//! Everything writable is in RAM except `/data`. Nothing on a writable mount can be executed or be a device.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// A mount that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {kind} on {target}")]
pub(crate) struct MountError {
    kind: &'static str,
    target: String,
    source: io::Error,
}

struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MsFlags,
    options: &'static str,
}

const PLAIN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);

/// Needed by both stages; the first one moves them onto the real root.
const EARLY: &[Mount] = &[
    Mount { kind: "proc", target: "/proc", flags: PLAIN, options: "" },
    Mount { kind: "sysfs", target: "/sys", flags: PLAIN, options: "" },
    Mount { kind: "devtmpfs", target: "/dev", flags: DEVICES, options: "mode=0755" },
    Mount { kind: "tmpfs", target: "/run", flags: PLAIN, options: "mode=0755,size=32m" },
];

/// Needed from the second stage on.
const LATE: &[Mount] = &[
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        flags: DEVICES,
        options: "mode=0620,ptmxmode=0666",
    },
    Mount { kind: "tmpfs", target: "/tmp", flags: PLAIN, options: "mode=1777,size=16m" },
    Mount { kind: "cgroup2", target: "/sys/fs/cgroup", flags: PLAIN, options: "" },
];

/// Where the early mounts are.
pub(crate) const EARLY_TARGETS: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// Mounts what both stages need.
pub(crate) fn early() -> Result<(), MountError> {
    EARLY.iter().try_for_each(Mount::make)
}

/// Mounts what the second stage needs, and the early ones when there was no first stage.
pub(crate) fn late() -> Result<(), MountError> {
    EARLY.iter().chain(LATE).try_for_each(Mount::make)
}

impl Mount {
    /// Already mounted is success: stage 1 moved it here.
    fn make(&self) -> Result<(), MountError> {
        if is_mounted(self.target) {
            return Ok(());
        }
        ensure_dir(self.target).map_err(|source| self.error(source))?;
        attach(Some(self.kind), self.target, self.kind, self.flags, self.options)
            .map_err(|errno| self.error(errno.into()))
    }

    fn error(&self, source: io::Error) -> MountError {
        MountError { kind: self.kind, target: self.target.to_owned(), source }
    }
}

/// Mounts a block device's file system.
pub(crate) fn device(
    source: &Path,
    target: &'static str,
    kind: &'static str,
    flags: MsFlags,
    options: &str,
) -> Result<(), MountError> {
    let error = |source| MountError { kind, target: target.to_owned(), source };
    ensure_dir(target).map_err(error)?;
    let source = source.to_str().unwrap_or_default();
    attach(Some(source), target, kind, flags, options).map_err(|errno| error(errno.into()))
}

/// Mounts a RAM file system that may be executed from: only the laboratory's overlay uses it.
pub(crate) fn ram(target: &'static str, flags: MsFlags, options: &str) -> Result<(), MountError> {
    device(Path::new("tmpfs"), target, "tmpfs", flags, options)
}

fn attach(
    source: Option<&str>,
    target: &str,
    kind: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), Errno> {
    mount(source, target, Some(kind), flags, Some(options).filter(|text| !text.is_empty()))
}

/// A directory of a read-only root exists already; creating it is for the RAM ones.
fn ensure_dir(target: &str) -> io::Result<()> {
    if Path::new(target).is_dir() { Ok(()) } else { fs::create_dir_all(target) }
}

/// Whether something is mounted there; without `/proc` the answer is no.
pub(crate) fn is_mounted(target: &str) -> bool {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    table.lines().any(|line| line.split(' ').nth(1) == Some(target))
}
