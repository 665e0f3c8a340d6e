//! How a process hangs together with whoever started it: it ends with its parent, or it outlives it and leaves a note by
//! which the next one finds it.
//!
//! Guarantees: a process that outlives its parent has written its note before it becomes the program; if the parent died
//! before the note was whole, the process ends instead. So nothing runs that a note does not tell of, and a note that
//! tells of nothing that runs is recognised: it has the time of the start, which no later process of that number shares.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::check;

/// What a new process does about its parent.
#[derive(Debug)]
pub(super) enum Tie {
    /// The kernel ends it when the thread that started it ends.
    Child,
    /// It goes on, and is found by what it wrote here.
    Outlives(File),
}

/// The kernel's account of a process has some 300 bytes (proc_pid_stat(5)).
const ACCOUNT: usize = 1024;

impl Tie {
    /// The first thing that the process does, while `/proc` can be seen. Runs between fork and exec.
    pub(super) fn write(&self, parent: u32) -> io::Result<()> {
        match self {
            Self::Child => Ok(()),
            Self::Outlives(note) => {
                copy_account(note)?;
                has_parent(parent)
            }
        }
    }

    /// The last thing before its filters. Runs between fork and exec.
    pub(super) fn fasten(&self, parent: u32) -> io::Result<()> {
        match self {
            Self::Child => {
                super::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0)?;
                // it may have died before the line above
                has_parent(parent)
            }
            Self::Outlives(_) => Ok(()),
        }
    }
}

/// Copies the kernel's account of the calling process, as it is: there is no memory to take it apart in.
fn copy_account(note: &File) -> io::Result<()> {
    let mut account = [0_u8; ACCOUNT];
    // SAFETY: a string constant, a buffer with its own length, and descriptors that are open; the one opened here is
    // closed here and known nowhere else.
    #[allow(unsafe_code)]
    unsafe {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        let file = libc::open(c"/proc/self/stat".as_ptr(), flags);
        check(file)?;
        let length = libc::read(file, account.as_mut_ptr().cast(), ACCOUNT);
        check(libc::close(file))?;
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        let written = libc::write(note.as_raw_fd(), account.as_ptr().cast(), length);
        if usize::try_from(written) == Ok(length) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
    }
}

fn has_parent(parent: u32) -> io::Result<()> {
    // SAFETY: getppid takes nothing and cannot fail.
    #[allow(unsafe_code)]
    let now = unsafe { libc::getppid() };
    if u32::try_from(now).is_ok_and(|now| now == parent) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

/// A running process, by a descriptor that never means another one.
#[derive(Debug)]
pub struct Watched {
    pid: Pid,
    descriptor: OwnedFd,
}

impl Watched {
    /// The process of that number, which the caller started and has not waited for.
    pub fn child(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Self::open(pid.ok_or(io::ErrorKind::InvalidInput)?)
    }

    /// The process that wrote `note`; `None` when it has ended, or never was.
    pub fn of_note(note: &str) -> Option<Self> {
        let (pid, started, _) = account(note)?;
        // the number is held first and the time read then: what is read is about whom the descriptor means
        let watched = Self::open(Pid::from_raw(pid)?).ok()?;
        let now = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, start, state) = account(&now)?;
        (start == started && state != "Z" && !watched.has_ended()).then_some(watched)
    }

    fn open(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, descriptor: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Ends it at once; one that has ended is ended.
    pub fn kill(&self) {
        let _ended = pidfd_send_signal(&self.descriptor, Signal::KILL);
    }

    /// True when it runs no more, waited for or not.
    pub fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut polled, Some(&at_once)), Ok(1..))
    }

    /// Returns when it has ended; also for processes that are not the caller's children.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn ended(&self) -> io::Result<()> {
        let copy = self.descriptor.try_clone()?;
        // SAFETY: the copy owns its valid descriptor, and nothing but the `AsyncFd` has it.
        #[allow(unsafe_code)]
        let watched = unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) }?;
        watched.readable().await.map(drop)
    }
}

/// Number, time of start and state of a process in the kernel's words. The name, in parentheses, may hold any sign.
fn account(line: &str) -> Option<(i32, u64, &str)> {
    let (number, rest) = line.trim_start().split_once(' ')?;
    let (_, words) = rest.rsplit_once(')')?;
    let mut words = words.split_ascii_whitespace();
    let state = words.next()?;
    // field 22, of which the state is field 3
    let start = words.nth(18)?;
    Some((number.parse().ok()?, start.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> String {
        std::fs::read_to_string("/proc/self/stat").unwrap()
    }

    #[test]
    fn an_account_is_read_whatever_the_name_is() {
        let line = "77 (a) b) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(account(line), Some((77, 4242, "S")));
        for bad in [
            "",
            "77",
            "77 (x)",
            "77 (x) S 1 2",
            "x (x) S 1 77 77 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4",
        ] {
            assert_eq!(account(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_note_means_the_process_that_wrote_it_and_no_other_of_its_number() {
        let note = own();
        assert_eq!(Watched::of_note(&note).map(|it| it.pid()), Some(std::process::id()));
        let (_, start, _) = account(&note).unwrap();
        let other = note.replace(&format!(" {start} "), &format!(" {} ", start + 1));
        assert!(Watched::of_note(&other).is_none());
        assert!(Watched::of_note("").is_none());
        // no process has this number
        assert!(
            Watched::of_note(&note.replacen(&std::process::id().to_string(), "4194305", 1))
                .is_none()
        );
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen_without_waiting_for_it() {
        let mut child = sluice_programs::command("sleep").unwrap().arg("1000").spawn().unwrap();
        let watched = Watched::child(child.id()).unwrap();
        assert!(!watched.has_ended());
        watched.kill();
        watched.ended().await.unwrap();
        assert!(watched.has_ended());
        let gone = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        assert!(
            Watched::of_note(&gone).is_none(),
            "nobody has waited for it, and yet it runs no more"
        );
        child.wait().unwrap();
        watched.kill();
    }
}
