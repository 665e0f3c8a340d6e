//! Members' health: what checks find, and what counts of it.
//!
//! Guarantees: a member that is new serves until its first check fails, which alone takes it down; later it takes `fall`
//! bad checks in a row, and `rise` good ones to come back. A connection to it that fails has it checked at once.

mod probe;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_api::config::balancer::{Balancer, Check, Health, ProxyProtocol};
use sluice_api::report::balancing::Found;
use sluice_api::types::ObjectId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::clock;
use super::live::LiveMember;

/// Shortest time between two checks of a member, however many connections to it fail.
const SOONEST: Duration = Duration::from_millis(100);
/// The kernel asks three times, a second each, who has an address before it says that nobody does: a datagram to a host
/// that is gone is refused then and no earlier.
const ASKED: Duration = Duration::from_millis(3500);

/// Whether a member is well.
#[derive(Debug)]
pub struct HealthState {
    up: AtomicBool,
    found: Mutex<Found>,
    suspected: Notify,
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

    /// What another process found goes on: a member that was down does not serve until a check says so.
    pub fn go_on(&self, up: bool, found: Found) {
        self.up.store(up, Relaxed);
        // times are since that process's start
        *self.locked() = Found { changed: clock::now(), ..found };
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

/// How a member is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    health: Health,
    check: Check,
    proxy: Option<ProxyProtocol>,
}

impl Manner {
    /// How `rule` has its members checked; `None` when it does not.
    pub(super) fn of(rule: &Balancer) -> Option<Self> {
        let check = rule.check();
        let (health, proxy) = (rule.health.clone(), rule.proxy_protocol);
        (check != Check::None).then_some(Self { health, check, proxy })
    }

    /// How long one check may take.
    fn limit(&self) -> Duration {
        let limit = Duration::from_millis(u64::from(self.health.timeout_milliseconds.get()));
        if self.check == Check::Udp { limit.max(ASKED) } else { limit }
    }
}

/// Checks `member` of the rule `rule` until it is no longer wanted.
pub(super) async fn watch(rule: ObjectId, member: Arc<LiveMember>, manner: Manner) {
    let interval = Duration::from_millis(u64::from(manner.health.interval_milliseconds.get()));
    let limit = manner.limit();
    let state = &member.state.health;
    loop {
        let began = Instant::now();
        let trouble = match timeout(limit, probe::probe(&member.spec, &manner)).await {
            Ok(result) => result.err(),
            // who takes datagrams need not answer
            Err(_) if manner.check == Check::Udp => None,
            Err(_) => Some(format!("no answer within {} ms", limit.as_millis())),
        };
        if state.note(trouble, began.elapsed(), &manner.health) {
            tell(&rule, &member, state);
        }
        sleep(SOONEST).await;
        tokio::select! {
            () = sleep(interval.saturating_sub(SOONEST)) => {}
            () = state.suspected.notified() => {}
        }
    }
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
