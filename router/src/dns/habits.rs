//! What is known of the ways of one resolver: sans-I/O, time comes in.
//!
//! Guarantees: what a resolver cannot do is tried again every [`REMEMBER`], so a mended one is soon asked properly; mixed
//! case is given up only for a resolver that changed the case three times in a row or cannot be asked over TCP, since each
//! change might as well have been a forger's.

use std::time::Duration;

use super::message::Manner;

/// How long a resolver's ways are remembered.
const REMEMBER: Duration = Duration::from_mins(10);
/// Answers in another case, in a row, after which the resolver counts as one that does not keep it.
const CHANGES: u8 = 3;
/// Questions in a row that were answered only without EDNS, after which none is asked with it: a filter on the way.
const SILENCES: u8 = 3;

/// The ways of one resolver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Habits {
    without_edns: Option<Duration>,
    same_case: Option<Duration>,
    changes: u8,
    silences: u8,
}

impl Habits {
    /// How it is best asked now.
    pub(super) fn manner(&self, now: Duration, mixed_case: bool) -> Manner {
        let over = |until: Option<Duration>| until.is_none_or(|until| now >= until);
        Manner { edns: over(self.without_edns), mixed_case: mixed_case && over(self.same_case) }
    }

    /// It said that it cannot read EDNS, and answered without.
    pub(super) fn refused_edns(&mut self, now: Duration) {
        self.without_edns = Some(now.saturating_add(REMEMBER));
    }

    /// It was silent to a question with EDNS and answered the same without.
    pub(super) fn silent_to_edns(&mut self, now: Duration) {
        self.silences = self.silences.saturating_add(1);
        if self.silences >= SILENCES {
            self.refused_edns(now);
        }
    }

    /// It answered a question with EDNS.
    pub(super) fn read_edns(&mut self) {
        self.silences = 0;
    }

    /// It answered in the case asked in.
    pub(super) fn kept_case(&mut self) {
        self.changes = 0;
    }

    /// It answered in another case, and the same over TCP.
    pub(super) fn changed_case(&mut self, now: Duration) {
        self.changes = self.changes.saturating_add(1);
        if self.changes >= CHANGES {
            self.cannot_keep_case(now);
        }
    }

    /// It answered in another case and cannot be asked over TCP.
    pub(super) fn cannot_keep_case(&mut self, now: Duration) {
        self.changes = 0;
        self.same_case = Some(now.saturating_add(REMEMBER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(100);
    const BEST: Manner = Manner { edns: true, mixed_case: true };

    #[test]
    fn what_was_learned_is_forgotten_after_its_time() {
        let mut habits = Habits::default();
        assert_eq!(habits.manner(T0, true), BEST);
        habits.refused_edns(T0);
        habits.cannot_keep_case(T0);
        assert_eq!(habits.manner(T0, true), Manner { edns: false, mixed_case: false });
        assert_eq!(habits.manner(T0 + REMEMBER, true), BEST);
        assert!(!habits.manner(T0 + REMEMBER, false).mixed_case, "switched off for the site");
    }

    #[test]
    fn only_three_in_a_row_tell_of_a_habit() {
        let mut habits = Habits::default();
        for _ in 0..2 {
            habits.changed_case(T0);
            habits.silent_to_edns(T0);
        }
        habits.kept_case();
        habits.read_edns();
        for _ in 0..2 {
            habits.changed_case(T0);
            habits.silent_to_edns(T0);
        }
        assert_eq!(habits.manner(T0, true), BEST);
        habits.changed_case(T0);
        habits.silent_to_edns(T0);
        assert_eq!(habits.manner(T0, true), Manner { edns: false, mixed_case: false });
    }
}
