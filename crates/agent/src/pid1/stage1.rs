//! Stage 1, inside the initial RAM file system: find the disk, mount root and data, hand over.
//!
//! Guarantees that stage 2 starts on a read-only root with `/data` mounted, on disk or, said loudly, in RAM. It never
//! repairs a file system: the journal does that, and what the journal cannot repair must not be guessed at boot.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::MsFlags;

use super::cmdline::Cmdline;
use super::console::Console;
use super::modules::{ModuleError, Modules};
use super::mounts::{self, MountError};
use super::switch_root::{self, SwitchError};
use super::{coldplug, devices};
use crate::causes::chain;

/// Names, one a line, of the modules without which no disk is found or read.
const MODULES: &str = "/usr/lib/sluice/stage1.modules";
/// Where the real root is put together.
const ROOT: &str = "/sysroot";
const DATA: &str = "/sysroot/data";
/// Slow buses (USB, a SCSI array) take seconds to show their disks.
const DISK_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks for the disk.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The kernel makes data durable in this many seconds at most; the ledger syncs by itself anyway.
const DATA_OPTIONS: &str = "commit=5,errors=remount-ro,data=ordered,barrier=1";

/// Why stage 1 stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stage1Error {
    /// A mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The kernel command line or the module list cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The module index is missing: initrd and kernel do not belong together.
    #[error("initrd and kernel do not match")]
    Modules(#[from] ModuleError),
    /// No disk has the root partition.
    #[error(
        "no disk has a GPT partition labelled {label} (disks seen: {seen}); is the template attached?"
    )]
    NoRoot {
        /// The label looked for.
        label: String,
        /// What there was.
        seen: String,
    },
    /// The hand-over failed.
    #[error(transparent)]
    Switch(#[from] SwitchError),
}

/// Runs stage 1; success never returns, for stage 2 takes this process over.
pub(crate) fn run() -> Result<Infallible, Stage1Error> {
    mounts::early()?;
    let mut console = Console::open();
    console.say("stage 1: kernel is up");
    let cmdline = Cmdline::read().map_err(|source| read_error("/proc/cmdline", source))?;
    let mut modules = Modules::open()?;
    file_systems(&mut console, &mut modules)?;
    let root = find_root(&mut console, &mut modules, &cmdline.root)?;
    mounts::device(&root, ROOT, "squashfs", MsFlags::MS_RDONLY | MsFlags::MS_NODEV, "")?;
    console.say(&format!("root is {} ({})", root.display(), cmdline.root));
    if cmdline.overlay {
        overlay(&mut modules)?;
    } else {
        data(&mut console, cmdline.data.as_deref())?;
    }
    console.say("handing over to stage 2");
    Ok(switch_root::run(Path::new(ROOT), &cmdline.init)?)
}

fn read_error(path: &'static str, source: io::Error) -> Stage1Error {
    Stage1Error::Read { path, source }
}

fn file_systems(console: &mut Console, modules: &mut Modules) -> Result<(), Stage1Error> {
    let names = fs::read_to_string(MODULES).map_err(|source| read_error(MODULES, source))?;
    warn(console, names.lines().filter_map(|name| modules.load(name).err()));
    Ok(())
}

/// Most machines have a paravirtual disk: where that has the root, no other controller is probed.
fn find_root(
    console: &mut Console,
    modules: &mut Modules,
    label: &str,
) -> Result<PathBuf, Stage1Error> {
    warn(console, coldplug::virtio(modules));
    if let Some(node) = devices::by_label(label) {
        return Ok(node);
    }
    warn(console, coldplug::run(modules));
    wait_for_root(label)
}

/// One driver that fails must not keep the disk of another from being found.
fn warn(console: &mut Console, failures: impl IntoIterator<Item = ModuleError>) {
    for failure in failures {
        console.say(&format!("warning: {}", chain(&failure)));
    }
}

fn wait_for_root(label: &str) -> Result<PathBuf, Stage1Error> {
    let end = Instant::now() + DISK_PATIENCE;
    loop {
        if let Some(node) = devices::by_label(label) {
            return Ok(node);
        }
        if Instant::now() > end {
            let seen: Vec<_> =
                devices::disks().iter().map(|disk| disk.display().to_string()).collect();
            let seen = if seen.is_empty() { "none".into() } else { seen.join(" ") };
            return Err(Stage1Error::NoRoot { label: label.to_owned(), seen });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Mounts the data partition; an appliance without one still serves, for the manager can push again.
fn data(console: &mut Console, label: Option<&str>) -> Result<(), Stage1Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    let reason = match label.map(|label| (label, devices::by_label(label))) {
        Some((label, Some(node))) => match mounts::device(&node, DATA, "ext4", flags, DATA_OPTIONS)
        {
            Ok(()) => {
                console.say(&format!("data is {} ({label})", node.display()));
                return Ok(());
            }
            Err(error) => chain(&error),
        },
        Some((label, None)) => format!("no GPT partition is labelled {label}"),
        None => "the kernel command line asked for it".to_owned(),
    };
    console.say(&format!("WARNING: data is in RAM and WILL BE LOST at power-off: {reason}"));
    Ok(mounts::ram(DATA, flags, "mode=0700,size=16m")?)
}

/// A writable view of a read-only root that many machines share.
fn overlay(modules: &mut Modules) -> Result<(), Stage1Error> {
    modules.load("overlay")?;
    mounts::ram("/overlay", MsFlags::empty(), "mode=0755")?;
    for dir in ["/overlay/upper", "/overlay/work"] {
        fs::create_dir(dir).map_err(|source| read_error("/overlay", source))?;
    }
    let options = "lowerdir=/sysroot,upperdir=/overlay/upper,workdir=/overlay/work";
    Ok(mounts::device(Path::new("overlay"), ROOT, "overlay", MsFlags::empty(), options)?)
}
