//! Members' health: what checks find, and what counts of it.
//!
//! Guarantees: a member that is new serves until its first check fails, which alone takes it down; later it takes `fall`
//! bad checks in a row, and `rise` good ones to come back. A connection to it that fails has it checked at once.

mod probe;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sluice_api::config::balancer::{Balancer, Check, Health, Mode, ProxyProtocol};
use sluice_api::types::ObjectId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::clock;
use super::live::LiveMember;

/// Shortest time between two checks of a member, however many connections to it fail.
const SOONEST: Duration = Duration::from_millis(100);

/// Whether a member is well.
#[derive(Debug)]
pub struct HealthState {
    up: AtomicBool,
    found: Mutex<Found>,
    suspected: Notify,
}

/// What checks found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Checks made.
    pub checks: u64,
    /// Bad ones.
    pub failures: u64,
    /// Good checks in a row, after a bad one.
    pub good: u32,
    /// Bad checks in a row, after a good one.
    pub bad: u32,
    /// Times that the member went down.
    pub downs: u64,
    /// Milliseconds that it was down in all, up to the last change.
    pub down_milliseconds: u64,
    /// When it last went up or down, in milliseconds since the service's start.
    pub changed: u64,
    /// How long the last check took, in milliseconds.
    pub took_milliseconds: u64,
    /// What was wrong with the last check; nothing when it was good.
    pub trouble: Option<String>,
}

impl Default for HealthState {
    fn default() -> Self {
        Self { up: AtomicBool::new(true), found: Mutex::default(), suspected: Notify::new() }
    }
}

impl HealthState {
    /// Whether the member may serve.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// A connection to the member failed: look at once.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// What checks found.
    pub fn found(&self) -> Found {
        self.locked().clone()
    }

    /// Nobody checks the member any more: it counts as well.
    pub fn trust(&self) {
        self.up.store(true, Relaxed);
        *self.locked() = Found::default();
    }

    /// Takes in the result of a check; true when the member went up or down by it.
    pub fn note(&self, trouble: Option<String>, took: Duration, health: &Health) -> bool {
        let mut found = self.locked();
        let first = found.checks == 0;
        found.checks += 1;
        found.took_milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if trouble.is_some() {
            found.failures += 1;
            (found.good, found.bad) = (0, found.bad.saturating_add(1));
        } else {
            (found.good, found.bad) = (found.good.saturating_add(1), 0);
        }
        found.trouble = trouble;
        let up = self.is_up();
        let change = if up {
            found.bad >= health.fall.get() || (first && found.bad > 0)
        } else {
            found.good >= health.rise.get()
        };
        if change {
            self.turn(!up, &mut found);
        }
        change
    }

    fn turn(&self, up: bool, found: &mut Found) {
        let now = clock::now();
        if up {
            found.down_milliseconds += now.saturating_sub(found.changed);
        } else {
            found.downs += 1;
        }
        found.changed = now;
        self.up.store(up, Relaxed);
    }

    fn locked(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks `member` of the rule `rule` until it is no longer wanted.
pub(super) async fn watch(
    rule: ObjectId,
    member: Arc<LiveMember>,
    health: Health,
    proxy: Option<ProxyProtocol>,
) {
    let interval = Duration::from_millis(u64::from(health.interval_milliseconds.get()));
    let limit = Duration::from_millis(u64::from(health.timeout_milliseconds.get()));
    let state = &member.state.health;
    loop {
        let began = Instant::now();
        let trouble =
            match tokio::time::timeout(limit, probe::probe(&member.spec, &health, proxy)).await {
                Ok(result) => result.err(),
                Err(_) => Some(format!("no answer within {} ms", limit.as_millis())),
            };
        if state.note(trouble, began.elapsed(), &health) {
            tell(&rule, &member, state);
        }
        sleep(SOONEST).await;
        tokio::select! {
            () = sleep(interval.saturating_sub(SOONEST)) => {}
            () = state.suspected.notified() => {}
        }
    }
}

/// Whether there is anything to check: the kernel, which balances datagrams, would not hear of it.
pub(super) fn is_checked(rule: &Balancer) -> bool {
    rule.health.check != Check::None && rule.mode != Mode::Udp
}

fn tell(rule: &ObjectId, member: &LiveMember, state: &HealthState) {
    let (member, endpoint) = (&member.spec.id, member.state.endpoint);
    if state.is_up() {
        info!(%rule, %member, %endpoint, "member is up");
    } else {
        let reason = state.found().trouble.unwrap_or_default();
        warn!(%rule, %member, %endpoint, reason, "member is down");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(state: &HealthState, good: bool) -> bool {
        let trouble = (!good).then(|| "refused".to_owned());
        state.note(trouble, Duration::from_millis(1), &Health::default());
        state.is_up()
    }

    #[test]
    fn a_new_member_serves_until_its_first_check_fails() {
        let state = HealthState::default();
        assert!(state.is_up());
        assert!(!note(&state, false));
        assert_eq!(state.found().downs, 1);
    }

    #[test]
    fn later_it_takes_fall_bad_checks_and_rise_good_ones() {
        let state = HealthState::default();
        let ups = [true, false, false, true, false, false, false, true, true]
            .map(|good| note(&state, good));
        assert_eq!(ups, [true, true, true, true, true, true, false, false, true]);
        let found = state.found();
        assert_eq!((found.checks, found.failures, found.downs), (9, 5, 1));
    }

    #[test]
    fn a_member_that_is_no_longer_checked_counts_as_well() {
        let state = HealthState::default();
        note(&state, false);
        state.trust();
        assert!(state.is_up());
        assert_eq!(state.found(), Found::default());
    }
}
