//! A bound on how much per second, by waiting: nothing is thrown away, the sender is slowed down.

use std::time::{Duration, Instant};

/// A bucket that fills with time and may owe: whoever took more than was there waits before the next.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    level: f64,
    at: Instant,
}

impl Pace {
    /// A bound of so many per second; a second's worth may come at once.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: per_second.into(), level: per_second.into(), at: now }
    }

    /// Changes the bound.
    pub(super) fn set(&mut self, per_second: u32) {
        self.per_second = per_second.into();
        self.level = self.level.min(self.per_second);
    }

    /// Takes `amount`, and says how long to wait before the next.
    pub(super) fn take(&mut self, amount: u32, now: Instant) -> Duration {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + grown).min(self.per_second) - f64::from(amount);
        self.at = now;
        if self.level >= 0.0 || self.per_second <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.level / self.per_second).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_burst_is_free_and_the_rest_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(100, now);
        assert_eq!(pace.take(100, now), Duration::ZERO);
        assert_eq!(pace.take(50, now), Duration::from_millis(500));
        let later = now + Duration::from_millis(500);
        assert_eq!(pace.take(0, later), Duration::ZERO);
        assert_eq!(pace.take(10, later), Duration::from_millis(100));
        pace.set(10);
        assert!(pace.take(10, later) > Duration::from_secs(1));
    }
}
