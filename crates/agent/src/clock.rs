//! The wall clock, which the manager puts right: machines come up with a clock that is years away, and none of them runs a
//! time service of its own.
//!
//! Guarantees: a wrong clock locks nobody out (see `server::trust`) and is told; it is set by clients of the API alone,
//! which proved who they are, and only when it is off by more than [`TOLERATED`], so that it does not jitter. Nothing of the
//! agent waits by this clock; certificates and logs are read by it.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Off by no more it is right enough: certificates have seconds, and the way here takes time.
pub(crate) const TOLERATED: Duration = Duration::from_secs(2);

/// The clock, and what could not be done about it.
#[derive(Debug)]
pub(crate) struct Clock {
    set: fn(SystemTime) -> io::Result<()>,
    trouble: Mutex<Option<String>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { set: sluice_sys::clock::set, trouble: Mutex::default() }
    }
}

impl Clock {
    /// Takes what a client says of the time, in Unix milliseconds; what is no number says nothing.
    pub(crate) fn heard(&self, said: Option<&str>) {
        let Some(millis) = said.and_then(|text| text.parse().ok()) else { return };
        let Some(said) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)) else {
            return;
        };
        let now = SystemTime::now();
        if is_right(now, said) {
            self.note(None);
            return;
        }
        match (self.set)(said) {
            Ok(()) => {
                tracing::warn!(
                    off_s = apart(now, said).as_secs(),
                    "clock was wrong, set by the manager"
                );
                self.note(None);
            }
            Err(error) => {
                let seconds = apart(now, said).as_secs();
                self.note(Some(format!(
                    "the clock is off by {seconds} s and cannot be set: {error}"
                )));
            }
        }
    }

    /// What is wrong with it, and could not be put right.
    pub(crate) fn alarm(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Option<String>) {
        let mut noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_some() && *noted != trouble {
            tracing::error!(alarm = trouble, "alarm");
        }
        *noted = trouble;
    }
}

fn is_right(now: SystemTime, said: SystemTime) -> bool {
    apart(now, said) <= TOLERATED
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    static SET: AtomicU64 = AtomicU64::new(0);

    #[expect(clippy::unnecessary_wraps, reason = "stands in for what can fail")]
    fn note(to: SystemTime) -> io::Result<()> {
        let since = to.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        SET.store(since.as_secs(), Ordering::Relaxed);
        Ok(())
    }

    fn refuse(_: SystemTime) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn millis(time: SystemTime) -> String {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string()
    }

    #[test]
    fn a_clock_that_is_off_is_set_and_one_that_is_right_is_left_alone() {
        let clock = Clock { set: note, ..Clock::default() };
        for nothing in [None, Some(""), Some("soon"), Some("-1"), Some(&millis(SystemTime::now()))]
        {
            clock.heard(nothing);
            assert_eq!(SET.load(Ordering::Relaxed), 0, "{nothing:?}");
        }
        for year in [1_000_000_000_u64, 4_000_000_000] {
            clock.heard(Some(&format!("{year}500")));
            assert_eq!(SET.load(Ordering::Relaxed), year);
        }
        assert_eq!(clock.alarm(), None);
    }

    #[test]
    fn a_clock_that_cannot_be_set_is_an_alarm_until_it_is_right() {
        let clock = Clock { set: refuse, ..Clock::default() };
        clock.heard(Some("1000000000000"));
        assert!(clock.alarm().is_some_and(|text| text.contains("cannot be set")));
        clock.heard(Some(&millis(SystemTime::now())));
        assert_eq!(clock.alarm(), None);
    }
}
