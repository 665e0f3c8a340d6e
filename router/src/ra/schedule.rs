//! When a link is told: from time to time, and when somebody asks, but to all no more often than every three seconds
//! (RFC 4861 6.2.4 and 6.2.6). Pure: time and chance come from outside.

use std::time::Duration;

use super::codec::{Solicitation, To};

/// Longest and shortest time between two unasked advertisements; a third of the router's lifetime, and a third of that.
const LONGEST: Duration = Duration::from_secs(600);
const SHORTEST: Duration = Duration::from_secs(200);
/// The first few follow each other faster.
const FIRST: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(16);
/// Least time between two to all.
const APART: Duration = Duration::from_secs(3);

/// The state of a link; times are since some beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    told: u32,
    /// When all were told last.
    last: Option<Duration>,
    /// When all are told next.
    pub(super) next: Duration,
}

impl Schedule {
    /// Tells all at once at `now`.
    pub(super) fn new(now: Duration) -> Self {
        Self { told: 0, last: None, next: now }
    }

    /// All were told at `now`; `chance` is 0 to 999.
    pub(super) fn told(&mut self, now: Duration, chance: u32) {
        self.told = self.told.saturating_add(1);
        self.last = Some(now);
        let wait = SHORTEST + LONGEST.saturating_sub(SHORTEST) * chance / 1000;
        self.next = now + if self.told < FIRST { wait.min(FIRST_WAIT) } else { wait };
    }

    /// Somebody asks: who is known is told alone; for others all are told as soon as that is allowed.
    pub(super) fn asked(&mut self, now: Duration, by: Solicitation) -> Option<To> {
        if let Some(from) = by.from {
            return Some(To::One(from, by.mac));
        }
        let allowed = self.last.map_or(now, |last| (last + APART).max(now));
        self.next = self.next.min(allowed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_told_soon_then_seldom_and_never_too_often() {
        let second = Duration::from_secs;
        let mut schedule = Schedule::new(second(0));
        assert_eq!(schedule.next, second(0));
        schedule.told(second(0), 999);
        assert_eq!(schedule.next, second(16));
        let nobody = Solicitation { from: None, mac: "02:00:00:00:00:01".parse().unwrap() };
        assert_eq!(schedule.asked(second(1), nobody), None);
        assert_eq!(schedule.next, second(3));
        schedule.told(second(3), 0);
        schedule.told(second(19), 0);
        assert_eq!(schedule.next, second(219));
        let known = Solicitation { from: Some("fe80::1".parse().unwrap()), ..nobody };
        assert!(matches!(schedule.asked(second(20), known), Some(To::One(..))));
        assert_eq!(schedule.next, second(219), "who is known changes nothing for all");
        schedule.asked(second(30), nobody);
        assert_eq!(schedule.next, second(30));
    }
}
