//! When to start the agent again: at once after a long life, later and later while it keeps dying, never giving up.
//!
//! Pure: time comes in, a delay goes out.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// An agent that lived this long was healthy, and its death is a new matter.
const HEALTHY: Duration = Duration::from_mins(1);

/// The back-off so far.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The wait before the next start, given how long the agent lived.
    pub(crate) fn after(&mut self, lived: Duration) -> Duration {
        let delay = match self.last {
            Some(last) if lived < HEALTHY => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(delay);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..9).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    }

    #[test]
    fn a_long_life_starts_over() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.after(Duration::ZERO);
        }
        assert_eq!(backoff.after(HEALTHY), FIRST);
    }
}
