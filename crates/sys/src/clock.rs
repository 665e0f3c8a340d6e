//! The wall clock.

use std::io;
use std::time::{Duration, SystemTime};

/// Sets the wall clock of the machine. Needs `CAP_SYS_TIME`.
///
/// Errors: no right to, or a time before 1970.
#[allow(unsafe_code)]
pub fn set(to: SystemTime) -> io::Result<()> {
    let since = to.duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
    let time = timespec(since).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer is to a whole timespec that outlives the call, which only reads it
    let answer = unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn timespec(since: Duration) -> Option<libc::timespec> {
    let tv_sec = libc::time_t::try_from(since.as_secs()).ok()?;
    Some(libc::timespec { tv_sec, tv_nsec: libc::c_long::from(since.subsec_nanos()) })
}
