//! How much a process may take: of descriptors by its own limits, of memory and processes by a control group.
//!
//! Guarantees: a group's limits hold before the program's first instruction. Where control groups (version 2) are not
//! mounted, or the kernel has not the controller, those two limits are left out, which is said once in the log.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::check;

/// Where version 2 is mounted on an appliance, and by convention elsewhere.
const GROUPS: &str = "/sys/fs/cgroup";
/// A program that is watched is looked at so often.
const WATCHED_EVERY: Duration = Duration::from_millis(10);
/// The group of all our services.
const OURS: &str = "sluice";

/// Limits of a process and its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open descriptors. Default 4096.
    pub open_files: u64,
    /// Bytes of memory of the whole group; beyond them the kernel ends it. Default: as much as there is.
    pub memory: Option<u64>,
    /// Processes and threads of the whole group. Default 64.
    pub tasks: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_files: 4096, memory: None, tasks: 64 }
    }
}

/// A control group, ready to be entered.
#[derive(Debug)]
pub(super) struct Group(Option<File>);

impl Group {
    /// Makes the group `name` with its limits.
    pub(super) fn prepare(name: &str, limits: &Limits) -> Self {
        let root = Path::new(GROUPS);
        if !root.join("cgroup.controllers").exists() {
            return Self(None);
        }
        match make(root, name, limits) {
            Ok(entrance) => Self(Some(entrance)),
            Err(error) => {
                tracing::warn!(group = name, %error, "no limits of memory and processes");
                Self(None)
            }
        }
    }

    /// Moves the calling process into the group. Runs between fork and exec.
    pub(super) fn enter(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |entrance| write(entrance.as_raw_fd(), b"0"))
    }
}

fn make(root: &Path, name: &str, limits: &Limits) -> io::Result<File> {
    let ours = root.join(OURS);
    let group: PathBuf = ours.join(name);
    fs::create_dir_all(&group)?;
    for above in [root, &ours] {
        fs::write(above.join("cgroup.subtree_control"), "+memory +pids")?;
    }
    let memory = limits.memory.map_or("max".to_owned(), |bytes| bytes.to_string());
    fs::write(group.join("memory.max"), memory)?;
    fs::write(group.join("pids.max"), limits.tasks.to_string())?;
    OpenOptions::new().write(true).open(group.join("cgroup.procs"))
}

/// Sets the limits that are the process's own. Runs between fork and exec.
pub(super) fn set(limits: &Limits) -> io::Result<()> {
    // memory with secrets in it never becomes a file
    limit(libc::RLIMIT_CORE, 0)?;
    limit(libc::RLIMIT_NOFILE, limits.open_files).or_else(|_| {
        // only CAP_SYS_RESOURCE raises what a process may have; without it the service gets what there is
        limit(libc::RLIMIT_NOFILE, limits.open_files.min(most(libc::RLIMIT_NOFILE)?))
    })
}

fn most(what: libc::__rlimit_resource_t) -> io::Result<u64> {
    let mut both = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one structure that outlives the call.
    #[allow(unsafe_code)]
    check(unsafe { libc::getrlimit(what, &raw mut both) })?;
    Ok(both.rlim_max)
}

/// The most that a program of ours was seen to have.
static PROGRAMS: AtomicU64 = AtomicU64::new(0);

/// The most memory, in bytes, that this process had so far, and the largest of the programs that were watched
/// ([`watch_memory`]). The kernel's own account of children is no use: a child counts as large as its parent was at the
/// fork.
pub fn peaks() -> (u64, u64) {
    let own = memory(std::process::id(), "VmHWM:").unwrap_or(0);
    (own, PROGRAMS.load(Ordering::Relaxed))
}

/// Notes how large the program `pid` is, as long as this is waited for.
pub async fn watch_memory(pid: Option<u32>) -> Infallible {
    loop {
        let peak = pid.and_then(|pid| memory(pid, "VmHWM:"));
        PROGRAMS.fetch_max(peak.unwrap_or(0), Ordering::Relaxed);
        tokio::time::sleep(WATCHED_EVERY).await;
    }
}

/// Lets all threads of this process have their memory from one heap, to be called before there are any. By default each
/// has one of its own, and what one gave back no other gets: of a process that now and then makes much of something, in
/// whatever thread, several times as much stays.
pub fn share_heap() {
    // SAFETY: plain numbers; a value that is refused changes nothing (mallopt(3)).
    #[allow(unsafe_code)]
    let _taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Bytes of memory that a process has now, shared ones included; none where there is no such process.
pub fn resident_memory(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

/// A line of the kernel's account of a process.
fn memory(pid: u32, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    // the kernel counts in KiB (proc_pid_status(5))
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn limit(what: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let both = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: setrlimit reads one structure that outlives the call.
    #[allow(unsafe_code)]
    check(unsafe { libc::setrlimit(what, &raw const both) })
}

/// When memory runs out the kernel ends services first, the one that asks for this never before all others
/// (proc_pid_oom_score_adj(5)).
const AGENT_SCORE: &str = "-900";
/// As above, of services. Raising a score needs no rights.
const SERVICE_SCORE: &[u8] = b"300";

/// Makes the calling process the last that the kernel ends for want of memory. Needs CAP_SYS_RESOURCE.
pub fn outlive_others() -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", AGENT_SCORE)
}

/// Makes a child of the calling process one of the first, as far as that can be: it is a matter of order only.
pub fn let_give_way(child: Option<u32>) {
    let Some(pid) = child else { return };
    if let Err(error) = fs::write(format!("/proc/{pid}/oom_score_adj"), SERVICE_SCORE) {
        // one that has ended already is none that takes memory
        tracing::debug!(pid, %error, "a child keeps its parent's place in the order for want of memory");
    }
}

/// Makes the calling process one of the first. Runs between fork and exec, while `/proc` can still be seen.
pub(super) fn give_way() -> io::Result<()> {
    // SAFETY: a string constant; the descriptor is closed here and known nowhere else.
    #[allow(unsafe_code)]
    unsafe {
        let flags = libc::O_WRONLY | libc::O_CLOEXEC;
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), flags);
        check(file)?;
        let written = write(file, SERVICE_SCORE);
        check(libc::close(file))?;
        written
    }
}

fn write(file: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the bytes outlive the call; a descriptor that is not open is an error.
    #[allow(unsafe_code)]
    let written = unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
    check(i32::try_from(written).unwrap_or(-1))
}
