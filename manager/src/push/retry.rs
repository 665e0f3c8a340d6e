//! How long to wait before the next attempt.

use std::time::Duration;

/// Doubling waits with jitter, bounded, so that a thousand appliances coming back are not asked in the same second.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits from `first` to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// Success: the next failure waits for `first` again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1).min(31);
        jittered(doubled.min(self.most))
    }
}

/// Between three quarters of `wait` and all of it.
pub(super) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.75 + 0.25 * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            let wait = backoff.after_failure();
            let expected = Duration::from_secs(expected);
            assert!(wait <= expected && wait >= expected.mul_f64(0.75), "{wait:?} {expected:?}");
        }
        for _ in 0..100 {
            assert!(backoff.after_failure() <= Duration::from_secs(30));
        }
        backoff.reset();
        assert!(backoff.after_failure() <= Duration::from_secs(1));
    }
}
