//! Processes without privilege (design section 5).
//!
//! Guarantees: the child runs as the given user, holds exactly the given capabilities and can gain no others, makes only
//! the system calls of its profile, has an empty environment, no descriptor but the standard ones, leaves no core dump,
//! and ends with the thread that started it. If any of that cannot be set up,
//! it is not started at all.

mod capability;
mod seccomp;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use seccompiler::BpfProgram;

pub use capability::Capability;

/// What to start and how little it may do.
#[derive(Debug)]
pub struct Sandbox {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// User and group id; not 0.
    pub user: u32,
    /// Capabilities it keeps, of those that the caller has.
    pub capabilities: Vec<Capability>,
}

/// Starts `sandbox` with `stdin` as its standard input, its standard error piped, its standard output null. Dropping the
/// child kills it.
///
/// Errors: the user is root, the program is missing, or a restriction could not be set up.
pub fn spawn(sandbox: &Sandbox, stdin: OwnedFd) -> io::Result<tokio::process::Child> {
    if sandbox.user == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a sandbox must not be root's"));
    }
    let filters = seccomp::network_service().map_err(io::Error::other)?;
    let mut command = tokio::process::Command::new(&sandbox.program);
    command
        .args(&sandbox.arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let restrict = restriction(sandbox, filters);
    // SAFETY: the closure runs between fork and exec. It makes system calls on values prepared before the fork,
    // allocates nothing and takes no lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(restrict);
    }
    command.spawn()
}

/// What the child does to itself before it becomes the program, in the only order that works: capabilities are
/// kept over the change of user, the kernel forgets the parent-death signal at every change of credentials
/// (`commit_creds`), and the filters come last because they forbid what comes before them.
fn restriction(
    sandbox: &Sandbox,
    filters: [BpfProgram; 2],
) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
    let user = sandbox.user;
    let mask = capability::mask(&sandbox.capabilities);
    let parent = std::process::id();
    move || {
        close_others()?;
        no_core_dump()?;
        capability::shrink_bounds(mask)?;
        become_user(user)?;
        capability::set(mask)?;
        die_with(parent)?;
        no_new_privileges()?;
        filters.iter().try_for_each(apply)
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn prctl(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used take plain numbers; unused arguments are zero as prctl(2) asks.
    #[allow(unsafe_code)]
    check(unsafe { libc::prctl(option, a, b, 0, 0) })
}

fn die_with(parent: u32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0)?;
    // SAFETY: getppid takes nothing and cannot fail.
    #[allow(unsafe_code)]
    let now = unsafe { libc::getppid() };
    // it may have died before the line above
    if u32::try_from(now).is_ok_and(|now| now == parent) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

fn become_user(user: u32) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    // SAFETY: plain numbers; an empty list of groups may be a null pointer.
    #[allow(unsafe_code)]
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(user, user, user))?;
        check(libc::setresuid(user, user, user))
    }
}

fn apply(filter: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())
}

/// Nothing but the three standard descriptors passes the exec, whatever a library forgot to mark.
fn close_others() -> io::Result<()> {
    // SAFETY: plain numbers. Descriptors are only marked, not closed, since std still reports errors through one.
    #[allow(unsafe_code)]
    check(unsafe { libc::close_range(3, libc::c_uint::MAX, CLOEXEC) })
}

/// CLOSE_RANGE_CLOEXEC of close_range(2).
const CLOEXEC: libc::c_int = 1 << 2;

/// Memory with secrets in it never becomes a file.
fn no_core_dump() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: setrlimit reads one structure that outlives the call.
    #[allow(unsafe_code)]
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) })
}

fn no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}
