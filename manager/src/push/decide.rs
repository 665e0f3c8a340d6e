//! What to do about an appliance, given what it should have and what it says: pure.
//!
//! Guarantees: a configuration is pushed only over one that this store gave, never over a stranger's and never over a
//! higher number; a pending configuration that is the wanted one is confirmed rather than pushed again; what was undone is
//! not sent again and again.

use sluice_api::Digest;
use sluice_api::report::{Phase, Reported, StatusReport};
use sluice_api::types::Generation;

use crate::store::Outcome;

/// What an appliance should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Number of the configuration.
    pub generation: Generation,
    /// Digest of the document as sent, the number included.
    pub digest: Digest,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has what it should.
    Rest,
    /// Send the wanted configuration.
    Push,
    /// The wanted configuration waits for its confirmation.
    Confirm(Generation),
    /// It is at work; ask again soon.
    Wait,
    /// It has a configuration that this store never gave: a person has to decide which of the two is right.
    Diverged(Reported),
}

/// The next step for an appliance that reports `status`; `known` says whether this store gave it a configuration.
pub fn decide(wanted: &Wanted, status: &StatusReport, known: impl Fn(&Reported) -> bool) -> Next {
    let relation = |reported: &Reported| {
        if reported.generation == wanted.generation && reported.digest == wanted.digest {
            Relation::Same
        } else if reported.generation < wanted.generation && known(reported) {
            Relation::Older
        } else {
            Relation::Foreign
        }
    };
    if let Some(pending) = &status.pending {
        return match relation(pending) {
            Relation::Same => Next::Confirm(pending.generation),
            Relation::Foreign => Next::Diverged(pending.clone()),
            // an older one of ours is being tried out: it is confirmed, reverts, or makes way when it is asked
            Relation::Older => Next::Push,
        };
    }
    if status.phase == Phase::Applying {
        return Next::Wait;
    }
    let Some(current) = &status.current else { return Next::Push };
    match relation(current) {
        Relation::Same => Next::Rest,
        Relation::Older => Next::Push,
        Relation::Foreign => Next::Diverged(current.clone()),
    }
}

/// What is known of a wanted configuration that the appliance does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    /// What became of it.
    pub(super) outcome: Outcome,
    /// Somebody asked for it to be sent, and it was not since.
    pub(super) asked: bool,
    /// The appliance's agent has not been started again since.
    pub(super) same_run: bool,
    /// This manager sent it and got no answer, or one that came too late.
    pub(super) unanswered: bool,
}

/// Whether a configuration is sent that may have been sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Send it.
    Send,
    /// It was undone, which is news.
    Undone,
    /// It was undone, and that is known.
    Never,
}

/// Whether `wanted` is sent to an appliance that reports `status`. The appliance names what it undid; one that cannot yet
/// is believed to have undone what was applied and could not be confirmed.
pub(super) fn again(wanted: &Wanted, status: &StatusReport, before: Before) -> Again {
    let Wanted { generation, digest } = wanted;
    let told = status.reverted.as_ref().filter(|it| it.is(*generation, digest));
    match before.outcome {
        // one that has nothing and says nothing of it was made anew
        Outcome::Reverted if status.current.is_some() || told.is_some() => Again::Never,
        Outcome::Pending if before.asked => Again::Send,
        Outcome::CutOff if before.same_run || told.is_some() => Again::Undone,
        // once may have been for a manager that ended before it could confirm
        _ if told.is_some_and(|it| before.unanswered || it.times > 1) => Again::Undone,
        _ => Again::Send,
    }
}

enum Relation {
    Same,
    Older,
    Foreign,
}

#[cfg(test)]
mod tests {
    use sluice_api::boot::Role;
    use sluice_api::report::Reverted;

    use super::*;

    fn reported(number: u64, content: &str) -> Reported {
        let generation = Generation::try_from(number).unwrap();
        Reported { generation, digest: Digest::of_bytes(content.as_bytes()) }
    }

    fn status(phase: Phase, current: Option<Reported>, pending: Option<Reported>) -> StatusReport {
        StatusReport {
            appliance: "r-1".parse().unwrap(),
            role: Role::Router,
            firmware: "test".to_owned(),
            build: None,
            contract_versions: vec![1],
            capabilities: Vec::new(),
            uptime_seconds: 1,
            incarnation: 0,
            phase,
            current,
            pending,
            reverted: None,
            subsystems: Vec::new(),
            services: Vec::new(),
            repairs: Vec::new(),
            alarms: Vec::new(),
            missing_blobs: Vec::new(),
        }
    }

    fn next(phase: Phase, current: Option<Reported>, pending: Option<Reported>) -> Next {
        let generation = Generation::try_from(5).unwrap();
        let wanted = Wanted { generation, digest: Digest::of_bytes(b"five") };
        // this store gave one to four
        let known = |reported: &Reported| reported.digest == Digest::of_bytes(b"four");
        decide(&wanted, &status(phase, current, pending), known)
    }

    #[test]
    fn a_new_or_rebuilt_appliance_gets_the_configuration() {
        assert_eq!(next(Phase::Unconfigured, None, None), Next::Push);
        assert_eq!(next(Phase::InForce, Some(reported(4, "four")), None), Next::Push);
    }

    #[test]
    fn what_is_in_force_is_left_alone() {
        assert_eq!(next(Phase::InForce, Some(reported(5, "five")), None), Next::Rest);
        assert_eq!(next(Phase::Degraded, Some(reported(5, "five")), None), Next::Rest);
    }

    #[test]
    fn what_waits_is_confirmed() {
        let five = Generation::try_from(5).unwrap();
        let pending = Some(reported(5, "five"));
        assert_eq!(next(Phase::AwaitingConfirm, None, pending.clone()), Next::Confirm(five));
        assert_eq!(
            next(Phase::AwaitingConfirm, Some(reported(4, "four")), pending),
            Next::Confirm(five)
        );
    }

    #[test]
    fn an_appliance_at_work_is_not_disturbed() {
        assert_eq!(next(Phase::Applying, Some(reported(4, "four")), None), Next::Wait);
    }

    #[test]
    fn what_this_store_never_gave_is_not_overwritten() {
        for (number, content) in [(6, "six"), (5, "other"), (4, "a stranger's")] {
            let reported = reported(number, content);
            let diverged = Next::Diverged(reported.clone());
            assert_eq!(next(Phase::InForce, Some(reported.clone()), None), diverged);
            assert_eq!(next(Phase::AwaitingConfirm, None, Some(reported)), diverged);
        }
    }

    /// What is done with five when the appliance has `current` and says that it undid five so often.
    fn sent(outcome: Outcome, current: bool, times: u32) -> impl Fn(bool, bool, bool) -> Again {
        let generation = Generation::try_from(5).unwrap();
        let wanted = Wanted { generation, digest: Digest::of_bytes(b"five") };
        let current = current.then(|| reported(4, "four"));
        let mut status = status(Phase::InForce, current, None);
        status.reverted = (times > 0).then(|| {
            let Wanted { generation, digest } = wanted.clone();
            Reverted { generation, digest, times }
        });
        move |asked, same_run, unanswered| {
            again(&wanted, &status, Before { outcome, asked, same_run, unanswered })
        }
    }

    #[test]
    fn what_was_undone_is_not_sent_again_and_again() {
        let (no, yes) = (false, true);
        // never sent, and sent by a manager that ended before it could confirm
        assert_eq!(sent(Outcome::Pending, true, 0)(no, no, no), Again::Send);
        assert_eq!(sent(Outcome::Applied, true, 1)(no, yes, no), Again::Send);
        assert_eq!(sent(Outcome::Applied, true, 2)(no, yes, no), Again::Undone);
        // no answer: it did not arrive, or it took the answer along
        assert_eq!(sent(Outcome::Pending, true, 0)(no, no, yes), Again::Send);
        assert_eq!(sent(Outcome::Pending, true, 1)(no, no, yes), Again::Undone);
        assert_eq!(sent(Outcome::Pending, false, 1)(no, no, yes), Again::Undone, "the first one");
        // it could not be confirmed: an older appliance, one that was started again, and the first configuration of all
        assert_eq!(sent(Outcome::CutOff, true, 0)(no, yes, no), Again::Undone);
        assert_eq!(sent(Outcome::CutOff, true, 0)(no, no, no), Again::Send);
        assert_eq!(sent(Outcome::CutOff, false, 1)(no, no, no), Again::Undone);
        // known, until somebody asks, or the machine is made anew
        assert_eq!(sent(Outcome::Reverted, true, 0)(no, no, no), Again::Never);
        assert_eq!(sent(Outcome::Reverted, false, 3)(no, no, no), Again::Never);
        assert_eq!(sent(Outcome::Reverted, false, 0)(no, no, no), Again::Send);
        assert_eq!(sent(Outcome::Pending, true, 3)(yes, yes, no), Again::Send);
    }
}
