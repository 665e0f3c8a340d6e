//! What was used of a grant: downloads begun, and bytes a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts for one grant, over all of its connections.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    begun: u64,
    /// When the bytes granted so far are used up at the allowed rate.
    paid_until: Option<Instant>,
}

impl Meter {
    /// Counts one more download; false when there were `most` already.
    pub(super) fn begin(&self, most: Option<u64>) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if most.is_some_and(|most| used.begun >= most) {
            return false;
        }
        used.begun += 1;
        true
    }

    /// How long to wait before `bytes` more are sent at `rate` bytes a second.
    pub(super) fn pause(&self, bytes: u64, rate: u64, now: Instant) -> Duration {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = used.paid_until.filter(|until| *until > now).unwrap_or(now);
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        used.paid_until = begin.checked_add(cost);
        begin - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_paid_for_in_time() {
        let (meter, now) = (Meter::default(), Instant::now());
        assert_eq!(meter.pause(1000, 1000, now), Duration::ZERO);
        assert_eq!(meter.pause(500, 1000, now), Duration::from_secs(1));
        assert_eq!(meter.pause(500, 1000, now), Duration::from_millis(1500));
        assert_eq!(meter.pause(1, 1000, now + Duration::from_secs(9)), Duration::ZERO);
    }
}
