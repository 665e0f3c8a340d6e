//! Processes without privilege (design section 5).
//!
//! Guarantees: the child runs as the given user, holds exactly the given capabilities and can gain no others, makes only
//! the system calls of its profile, sees of the file system what it was given and nothing else, keeps within its limits,
//! has no environment but the given one and no descriptor but the standard ones and its sockets, leaves no core dump, is ended for want of
//! memory before its parent is, and ends with the thread that started it or, when it is to outlive it, can be found by the
//! note that it leaves. If any of that cannot be set up, it is not started at all; the one exception are limits by control
//! groups, where there are none.

mod capability;
mod handed;
mod limits;
mod seccomp;
mod tie;
mod view;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use seccompiler::BpfProgram;

pub use capability::Capability;
pub use handed::{Handed, handed_over, take_handed};
pub use limits::{
    Limits, let_give_way, outlive_others, peaks, resident_memory, share_heap, watch_memory,
};
pub use seccomp::Profile;
pub use tie::Watched;
pub use view::View;

use limits::Group;
use tie::Tie;
use view::Stage;

/// What to start and how little it may do.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Name of the control group; no slash.
    pub name: String,
    /// The program, an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// User and group id; 0 only with [`Profile::ForeignDaemon`].
    pub user: u32,
    /// Further groups, such as that of another service whose socket it is to open.
    pub groups: Vec<u32>,
    /// Capabilities it keeps, of those that the caller has.
    pub capabilities: Vec<Capability>,
    /// Its system calls.
    pub profile: Profile,
    /// Its files.
    pub view: View,
    /// Its limits.
    pub limits: Limits,
    /// Sockets that it gets.
    pub sockets: Vec<Handed>,
}

impl Sandbox {
    /// `program` as `user`, without arguments, rights or files but the system's libraries.
    pub fn new(program: impl Into<PathBuf>, user: u32) -> Self {
        let program = program.into();
        let name =
            program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
        Self {
            name,
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            user,
            groups: Vec::new(),
            capabilities: Vec::new(),
            profile: Profile::default(),
            view: View::libraries(),
            limits: Limits::default(),
            sockets: Vec::new(),
        }
    }
}

/// Starts `sandbox` with `stdin` as its standard input, its standard error piped, its standard output null. Dropping the
/// child kills it.
///
/// Errors: the user is root without leave, the program or a file of its view is missing, or a restriction could not be set
/// up.
pub fn spawn(sandbox: &Sandbox, stdin: Stdio) -> io::Result<tokio::process::Child> {
    let mut command = command(sandbox, Tie::Child)?;
    command.stdin(stdin).stderr(Stdio::piped()).kill_on_drop(true).spawn()
}

/// Starts `sandbox` so that it outlives the caller, with these two as its standard input and standard error. It adds to
/// `note` by what [`Watched::of_note`] finds it, before it becomes the program. Dropping the child leaves it alone.
///
/// Errors: as those of [`spawn`].
pub fn spawn_outliving(
    sandbox: &Sandbox,
    stdin: Stdio,
    stderr: OwnedFd,
    note: File,
) -> io::Result<tokio::process::Child> {
    let mut command = command(sandbox, Tie::Outlives(note))?;
    command.stdin(stdin).stderr(stderr).spawn()
}

fn command(sandbox: &Sandbox, tie: Tie) -> io::Result<tokio::process::Command> {
    if sandbox.user == 0 && sandbox.profile != Profile::ForeignDaemon {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a sandbox must not be root's"));
    }
    let mut command = tokio::process::Command::new(&sandbox.program);
    command
        .args(&sandbox.arguments)
        .env_clear()
        .envs(sandbox.environment.iter().cloned().chain(handed::variable(&sandbox.sockets)))
        .current_dir("/")
        .stdout(Stdio::null());
    let mut restriction = Restriction::prepare(sandbox, tie)?;
    // SAFETY: the closure runs between fork and exec. It makes system calls on values prepared before the fork,
    // allocates nothing and takes no lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || restriction.enter());
    }
    Ok(command)
}

/// What the child does to itself before it becomes the program.
struct Restriction {
    user: u32,
    groups: Vec<libc::gid_t>,
    mask: u64,
    parent: u32,
    tie: Tie,
    limits: Limits,
    group: Group,
    stage: Stage,
    sockets: Vec<Handed>,
    filters: [BpfProgram; 2],
}

impl Restriction {
    fn prepare(sandbox: &Sandbox, tie: Tie) -> io::Result<Self> {
        Ok(Self {
            user: sandbox.user,
            groups: sandbox.groups.clone(),
            mask: capability::mask(&sandbox.capabilities),
            parent: std::process::id(),
            tie,
            limits: sandbox.limits,
            group: Group::prepare(&sandbox.name, &sandbox.limits),
            stage: Stage::prepare(&sandbox.view, &sandbox.program)?,
            sockets: sandbox.sockets.clone(),
            filters: sandbox.profile.filters().map_err(io::Error::other)?,
        })
    }

    /// In the only order that works: the note comes before anything that can fail, `/proc` and control groups are seen only before the new root is entered, mounting
    /// needs root, capabilities are kept over the change of user, the kernel forgets the parent-death signal at every
    /// change of credentials (`commit_creds`), and the filters come last because they forbid what comes before them.
    fn enter(&mut self) -> io::Result<()> {
        self.tie.write(self.parent)?;
        close_others()?;
        handed::keep(&self.sockets)?;
        own_group()?;
        limits::set(&self.limits)?;
        limits::give_way()?;
        self.group.enter()?;
        self.stage.enter()?;
        capability::shrink_bounds(self.mask)?;
        become_user(self.user, &self.groups)?;
        capability::set(self.mask)?;
        self.tie.fasten(self.parent)?;
        no_new_privileges()?;
        self.filters.iter().try_for_each(apply)
    }
}

/// Does something as the user `user` of files: a socket opened in it is that user's in the kernel's eyes (`meta skuid`), also in
/// whatever process has it later. Other rights stay, and other threads are as before.
pub fn as_file_user<T>(user: u32, act: impl FnOnce() -> T) -> T {
    // SAFETY: plain numbers; setfsuid(2) is of the calling thread alone and answers who it was before.
    #[allow(unsafe_code)]
    let before = unsafe { libc::setfsuid(user) };
    let done = act();
    // SAFETY: as above.
    #[allow(unsafe_code)]
    let _user = unsafe { libc::setfsuid(before.cast_unsigned()) };
    done
}

/// Lets this process have as many open files as it may, which is how many: services for many connections call it at their
/// start.
pub fn raise_open_files() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    // none is no limit
    Ok(maximum.unwrap_or(u64::MAX))
}

/// The same beyond what this process was given, up to the kernel's own limit (`fs.nr_open`), where it has the right to
/// (`CAP_SYS_RESOURCE`); for loads that a service does not make, and what they start.
pub fn raise_open_files_further() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open")?;
    let most = most.trim().parse::<u64>().map_err(io::Error::other)?;
    let further = Rlimit { current: Some(most), maximum: Some(most) };
    match setrlimit(Resource::Nofile, further) {
        Ok(()) => Ok(most),
        Err(_) => raise_open_files(),
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

fn become_user(user: u32, groups: &[libc::gid_t]) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    // SAFETY: plain numbers, and a list with its own length.
    #[allow(unsafe_code)]
    unsafe {
        check(libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(libc::setresgid(user, user, user))?;
        check(libc::setresuid(user, user, user))
    }
}

fn apply(filter: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())
}

/// Nothing but the three standard descriptors and what is kept then passes the exec, whatever a library forgot to mark.
fn close_others() -> io::Result<()> {
    // SAFETY: plain numbers. Descriptors are only marked, not closed, since std still reports errors through one.
    #[allow(unsafe_code)]
    check(unsafe { libc::close_range(3, libc::c_uint::MAX, CLOEXEC) })
}

/// CLOSE_RANGE_CLOEXEC of close_range(2).
const CLOEXEC: libc::c_int = 1 << 2;

/// A process group of its own, so that its children can be ended with it.
fn own_group() -> io::Result<()> {
    // SAFETY: plain numbers.
    #[allow(unsafe_code)]
    check(unsafe { libc::setpgid(0, 0) })
}

fn no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}
