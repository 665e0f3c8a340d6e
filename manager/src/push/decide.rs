//! What to do about an appliance, given what it should have and what it says: pure.
//!
//! Guarantees: a configuration is pushed only when the appliance has something else, never when it reports a higher
//! number; a pending configuration that is the wanted one is confirmed rather than pushed again.

use sluice_api::Digest;
use sluice_api::report::{Phase, Reported, StatusReport};
use sluice_api::types::Generation;

/// What an appliance should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Number of the configuration.
    pub generation: Generation,
    /// Digest of the document as sent, the number included.
    pub digest: Digest,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has what it should.
    Rest,
    /// Send the wanted configuration.
    Push,
    /// The wanted configuration waits for its confirmation.
    Confirm(Generation),
    /// It is at work; ask again soon.
    Wait,
    /// It has a number that we never gave, or ours with other content: ours must rise above it first.
    Raise(Generation),
}

/// The next step for an appliance that reports `status`.
pub fn decide(wanted: &Wanted, status: &StatusReport) -> Next {
    if let Some(pending) = &status.pending {
        return match relation(wanted, pending) {
            Relation::Same => Next::Confirm(pending.generation),
            Relation::Foreign => Next::Raise(pending.generation),
            // an older one of ours is being tried out: it is confirmed, reverts, or makes way when it is asked
            Relation::Older => Next::Push,
        };
    }
    if status.phase == Phase::Applying {
        return Next::Wait;
    }
    let Some(current) = &status.current else { return Next::Push };
    match relation(wanted, current) {
        Relation::Same => Next::Rest,
        Relation::Older => Next::Push,
        Relation::Foreign => Next::Raise(current.generation),
    }
}

enum Relation {
    Same,
    Older,
    Foreign,
}

fn relation(wanted: &Wanted, reported: &Reported) -> Relation {
    if reported.generation < wanted.generation {
        Relation::Older
    } else if reported.generation == wanted.generation && reported.digest == wanted.digest {
        Relation::Same
    } else {
        Relation::Foreign
    }
}

#[cfg(test)]
mod tests {
    use sluice_api::boot::Role;

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
            uptime_seconds: 1,
            phase,
            current,
            pending,
            subsystems: Vec::new(),
            services: Vec::new(),
            repairs: Vec::new(),
            alarms: Vec::new(),
        }
    }

    fn next(phase: Phase, current: Option<Reported>, pending: Option<Reported>) -> Next {
        let generation = Generation::try_from(5).unwrap();
        let wanted = Wanted { generation, digest: Digest::of_bytes(b"five") };
        decide(&wanted, &status(phase, current, pending))
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
    fn nothing_older_is_ever_sent() {
        let six = Generation::try_from(6).unwrap();
        let five = Generation::try_from(5).unwrap();
        assert_eq!(next(Phase::InForce, Some(reported(6, "six")), None), Next::Raise(six));
        assert_eq!(next(Phase::InForce, Some(reported(5, "other")), None), Next::Raise(five));
        assert_eq!(next(Phase::AwaitingConfirm, None, Some(reported(6, "six"))), Next::Raise(six));
    }
}
