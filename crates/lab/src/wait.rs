//! Waiting for a condition, never for a time.
//!
//! Guarantees: returns as soon as the condition holds (within the pause between two looks), and at
//! the bound with an error that says what was awaited. Looks often at first, then every 50 ms.

use std::thread;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A condition did not come true in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waited {bound:?} in vain for {what}")]
pub struct TimedOut {
    /// What was awaited.
    pub what: String,
    /// For how long.
    pub bound: Duration,
}

/// Waits named by what they wait for: `Wait::until(bound, "a lease", || ...)`.
#[derive(Debug)]
pub struct Wait;

impl Wait {
    /// Blocks until `condition` is true.
    pub fn until(
        bound: Duration,
        what: &str,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(), TimedOut> {
        Self::until_some(bound, what, || condition().then_some(()))
    }

    /// Blocks until `look` finds something.
    pub fn until_some<T>(
        bound: Duration,
        what: &str,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, TimedOut> {
        let mut pace = Pace::new(bound);
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            thread::sleep(pace.next(what)?);
        }
    }

    /// Like [`Wait::until_some`] without blocking the thread; `look` itself may wait.
    pub async fn until_async<T, F: Future<Output = Option<T>>>(
        bound: Duration,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> Result<T, TimedOut> {
        let mut pace = Pace::new(bound);
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            tokio::time::sleep(pace.next(what)?).await;
        }
    }
}

struct Pace {
    end: Instant,
    bound: Duration,
    pause: Duration,
}

impl Pace {
    fn new(bound: Duration) -> Self {
        Self { end: Instant::now() + bound, bound, pause: FIRST_PAUSE }
    }

    fn next(&mut self, what: &str) -> Result<Duration, TimedOut> {
        if Instant::now() >= self.end {
            return Err(TimedOut { what: what.to_owned(), bound: self.bound });
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_what_was_found() {
        let mut looks = 0;
        let found = Wait::until_some(Duration::from_secs(5), "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, Ok(3));
    }

    #[test]
    fn says_what_did_not_come() {
        let bound = Duration::from_millis(10);
        let error = Wait::until(bound, "a lease", || false).expect_err("never true");
        assert_eq!(error.to_string(), "waited 10ms in vain for a lease");
    }

    #[tokio::test]
    async fn waits_without_blocking() {
        let looks = std::cell::Cell::new(0);
        let found = Wait::until_async(Duration::from_secs(5), "two", || async {
            looks.set(looks.get() + 1);
            (looks.get() == 2).then_some(())
        });
        assert_eq!(found.await, Ok(()));
    }
}
