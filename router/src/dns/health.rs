//! Which upstream to ask first: sans-I/O, time comes in.
//!
//! Guarantees: an upstream that fails three times in a row is asked last, and with live questions only to see whether it
//! is back, so clients do not wait for it; one answer makes it whole again. With all of them down, all are asked.

use std::time::Duration;

/// Failures in a row that make an upstream count as down.
const FAILURES_DOWN: u32 = 3;
/// Time between looks at an upstream that is down.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// The state of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    failures: u32,
    /// Time since the service's start.
    probe_at: Duration,
}

impl Health {
    /// Whether it counts as down.
    pub(super) fn is_down(&self) -> bool {
        self.failures >= FAILURES_DOWN
    }

    /// It answered; true when it was down before.
    pub(super) fn succeeded(&mut self) -> bool {
        let was_down = self.is_down();
        *self = Self::default();
        was_down
    }

    /// It did not answer in time; true when that took it down.
    pub(super) fn failed(&mut self, now: Duration) -> bool {
        let was_down = self.is_down();
        self.failures = self.failures.saturating_add(1);
        self.probe_at = now + PROBE_EVERY;
        !was_down && self.is_down()
    }

    /// Whether it is time to look again; says so once per interval.
    pub(super) fn wants_probe(&mut self, now: Duration) -> bool {
        let due = self.is_down() && now >= self.probe_at;
        if due {
            self.probe_at = now + PROBE_EVERY;
        }
        due
    }
}

/// The order to ask in: those that are up as configured, then the others as configured.
pub(super) fn order(health: &[Health]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..health.len()).collect();
    order.sort_by_key(|index| health.get(*index).is_some_and(Health::is_down));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(100);

    #[test]
    fn three_failures_take_an_upstream_down_and_one_answer_brings_it_back() {
        let mut first = Health::default();
        assert!(!first.failed(T0) && !first.failed(T0));
        assert!(first.failed(T0) && first.is_down());
        assert_eq!(order(&[first, Health::default()]), [1, 0]);
        assert!(first.succeeded());
        assert_eq!(order(&[first, Health::default()]), [0, 1]);
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let mut health = Health::default();
        health.failed(T0);
        health.failed(T0);
        assert!(!health.succeeded());
        assert!(!health.failed(T0) && !health.is_down());
    }

    #[test]
    fn a_probe_is_wanted_once_per_interval_and_only_when_down() {
        let mut health = Health::default();
        assert!(!health.wants_probe(T0));
        for _ in 0..3 {
            health.failed(T0);
        }
        assert!(!health.wants_probe(T0));
        assert!(health.wants_probe(T0 + PROBE_EVERY));
        assert!(!health.wants_probe(T0 + PROBE_EVERY));
        assert!(health.wants_probe(T0 + PROBE_EVERY * 2));
    }

    #[test]
    fn with_all_down_all_are_asked() {
        let mut down = Health::default();
        for _ in 0..3 {
            down.failed(T0);
        }
        assert_eq!(order(&[down, down]), [0, 1]);
    }
}
