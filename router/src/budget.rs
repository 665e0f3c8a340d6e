//! Log lines at a bounded rate: whoever makes a service write may go on as fast as it likes, the log cannot grow as fast.
//!
//! What is left out is counted and said with the next line that is written.

use std::time::Duration;

/// Lines that may come at once.
const BURST: u32 = 20;
/// One more line may come after each of these.
pub(crate) const REFILL: Duration = Duration::from_millis(200);

/// A token bucket.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: u32,
    filled: Duration,
    suppressed: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tokens: BURST, filled: Duration::ZERO, suppressed: 0 }
    }
}

impl Budget {
    /// `Some(n)` when a line may be written, `n` lines having been left out before it. `now` is the time since any fixed
    /// instant.
    pub(crate) fn take(&mut self, now: Duration) -> Option<u64> {
        let earned = now.saturating_sub(self.filled).as_nanos() / REFILL.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(BURST);
            self.filled = now;
        }
        if self.tokens == 0 {
            self.suppressed += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_burst_and_then_five_lines_a_second() {
        let mut budget = Budget::default();
        let written = (0..10_000_u64)
            .filter(|millis| budget.take(Duration::from_millis(*millis)).is_some())
            .count();
        assert!((60..=70).contains(&written), "{written} lines in 10 s");
    }

    #[test]
    fn the_line_after_a_silence_says_how_many_were_left_out() {
        let mut budget = Budget::default();
        let left_out = (0..100).filter(|_| budget.take(Duration::ZERO).is_none()).count();
        assert_eq!(left_out, 80);
        assert_eq!(budget.take(REFILL), Some(80));
        assert_eq!(budget.take(REFILL * 2), Some(0));
    }
}
