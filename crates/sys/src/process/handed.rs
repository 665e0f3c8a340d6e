//! Sockets that a process is given at its start, so that it needs no right to open them itself.
//!
//! Guarantees: it gets the sockets named and no other descriptor; each is found by its name, which several may share. A
//! socket keeps its number over the exec, so that no other descriptor can be in its way; which number that is stands in
//! the environment.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use super::check;

/// The variable: `NAME=NUMBER`, with commas between.
const VARIABLE: &str = "SLUICE_SOCKETS";

/// A socket for a process to come.
#[derive(Clone, Debug)]
pub struct Handed {
    /// By which it is found there; letters and hyphens.
    pub name: &'static str,
    /// The socket.
    pub socket: Arc<OwnedFd>,
}

/// The environment that names them; `None` when there are none.
pub(super) fn variable(handed: &[Handed]) -> Option<(OsString, OsString)> {
    let words: Vec<String> =
        handed.iter().map(|one| format!("{}={}", one.name, one.socket.as_raw_fd())).collect();
    (!words.is_empty()).then(|| (VARIABLE.into(), words.join(",").into()))
}

/// Lets them pass the exec. Runs between fork and exec, after everything else was marked to be closed.
pub(super) fn keep(handed: &[Handed]) -> io::Result<()> {
    handed.iter().try_for_each(|one| {
        // SAFETY: plain numbers; the descriptor is open, since `handed` owns it.
        #[allow(unsafe_code)]
        check(unsafe { libc::fcntl(one.socket.as_raw_fd(), libc::F_SETFD, 0) })
    })
}

/// A copy of the socket `name` that this process was given; `None` when it was not.
///
/// Errors: no descriptor is left.
pub fn handed_over(name: &str) -> io::Result<Option<OwnedFd>> {
    let words = std::env::var(VARIABLE).unwrap_or_default();
    let Some(number) = number_of(&words, name) else { return Ok(None) };
    // SAFETY: it is borrowed for one call, which answers EBADF when it is not open.
    #[allow(unsafe_code)]
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    socket.try_clone_to_owned().map(Some)
}

/// Numbers that [`take_handed`] has given away.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// All sockets `name` that this process was given: unlike a copy of [`handed_over`], one that is dropped is closed. Each
/// is given away once. To be called before the process opens anything that could have one of these numbers.
pub fn take_handed(name: &str) -> Vec<OwnedFd> {
    let words = std::env::var(VARIABLE).unwrap_or_default();
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let numbers = numbers_of(&words, name).filter(|number| taken.insert(*number));
    numbers.filter_map(owned).collect()
}

/// The descriptor `number`, if it is open.
fn owned(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: it is borrowed for one call, which answers EBADF when it is not open.
    #[allow(unsafe_code)]
    let open = rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).is_ok();
    // SAFETY: it is open, was put there by whoever started this process, who named it for this use alone, and is given
    // away once (`TAKEN`).
    #[allow(unsafe_code)]
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

fn number_of(words: &str, name: &str) -> Option<RawFd> {
    numbers_of(words, name).next()
}

/// The first three are no sockets of this kind, and -1 may not be borrowed.
fn numbers_of<'a>(words: &'a str, name: &'a str) -> impl Iterator<Item = RawFd> + 'a {
    let pairs = words.split(',').filter_map(|word| word.split_once('='));
    let named = pairs.filter(move |(known, _)| *known == name);
    named.filter_map(|(_, number)| number.parse().ok()).filter(|number| *number > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_name() {
        let socket = Arc::new(OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()));
        let number = socket.as_raw_fd();
        let handed =
            [Handed { name: "one", socket: Arc::clone(&socket) }, Handed { name: "other", socket }];
        let (_, words) = variable(&handed).unwrap();
        let words = words.into_string().unwrap();
        assert_eq!(number_of(&words, "other"), Some(number));
        assert_eq!(number_of(&words, "none"), None);
        for bad in ["one", "one=", "one=x", "one=-1", "one=2", ""] {
            assert_eq!(number_of(bad, "one"), None, "{bad}");
        }
        assert!(variable(&[]).is_none());
    }

    #[test]
    fn several_may_share_a_name() {
        let numbers = |name| numbers_of("a=3,b=4,a=5,a=x,a=1", name).collect::<Vec<_>>();
        assert_eq!((numbers("a"), numbers("b"), numbers("c")), (vec![3, 5], vec![4], vec![]));
    }

    #[test]
    fn what_is_not_open_is_not_owned() {
        // far above what this process may have open
        assert!(owned(1 << 30).is_none());
    }
}
