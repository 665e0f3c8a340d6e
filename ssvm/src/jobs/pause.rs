//! How long to wait before another attempt.

use std::time::Duration;

/// Longest pause.
const LONGEST: Duration = Duration::from_mins(1);

/// Counts attempts without progress. Pure: the caller sleeps.
#[derive(Debug)]
pub(super) struct Pauses {
    first: Duration,
    most: u32,
    failed: u32,
}

impl Pauses {
    pub(super) const fn new(first: Duration, most: u32) -> Self {
        Self { first, most, failed: 0 }
    }

    /// There was progress: count anew.
    pub(super) const fn progress(&mut self) {
        self.failed = 0;
    }

    /// Attempts without progress so far.
    pub(super) const fn failed(&self) -> u32 {
        self.failed
    }

    /// The pause after another failure, at least `asked`; none when there were too many. `jitter` is 0 to 1 and spreads
    /// those who failed together.
    pub(super) fn next(&mut self, asked: Option<Duration>, jitter: f64) -> Option<Duration> {
        self.failed += 1;
        if self.failed >= self.most {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << (self.failed - 1).min(16)).min(LONGEST);
        let spread = doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        Some(spread.max(asked.unwrap_or_default().min(LONGEST)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_end() {
        let mut pauses = Pauses::new(Duration::from_secs(1), 9);
        let seconds: Vec<_> =
            std::iter::from_fn(|| pauses.next(None, 1.0)).map(|p| p.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        pauses.progress();
        assert_eq!(pauses.next(Some(Duration::from_secs(20)), 0.0).unwrap().as_secs(), 20);
        assert_eq!(pauses.next(None, 0.0), Some(Duration::from_secs(1)));
        assert_eq!(pauses.next(Some(Duration::from_hours(9)), 0.0).unwrap(), LONGEST);
    }
}
