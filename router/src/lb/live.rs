//! A rule and its members as they are now: what stays over changes of the configuration, and what a change replaces.
//!
//! A change makes a new [`Policy`] and swaps it in; connections look at the one they began with, or at the newest where a
//! change is to reach them (time-outs). [`Rule`] and [`MemberState`] stay: counters, health, open connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use sluice_api::config::balancer::{Balancer, Member};
use sluice_api::types::{Cidr, ObjectId};
use tokio::sync::Notify;

use super::choose::{Candidate, Turns, choose, serial};
use super::clock;
use super::counters::{Counters, add};
use super::health::HealthState;
use super::memory::Memory;
use super::tls::ServerTls;

/// One rule, for as long as its id is configured.
pub(super) struct Rule {
    /// Its id.
    pub(super) id: ObjectId,
    policy: ArcSwap<Policy>,
    /// What it counted.
    pub(super) counters: Counters,
    chooser: Mutex<Chooser>,
    /// Told when a connection ends or the limit changes.
    pub(super) room: Notify,
    /// When it was taken out of the configuration; 0 while it is in it.
    removed: AtomicU64,
}

/// A rule's configuration, ready for use.
pub(super) struct Policy {
    /// As configured.
    pub(super) spec: Balancer,
    /// The members, in the order configured.
    pub(super) members: Vec<Arc<LiveMember>>,
    /// TLS, if the rule ends it.
    pub(super) tls: Option<ServerTls>,
    /// Which clients are bound to whom; kept over changes that leave the stickiness alone.
    pub(super) memory: Arc<Memory>,
}

/// One member as configured.
pub(super) struct LiveMember {
    /// As configured.
    pub(super) spec: Member,
    /// What stays.
    pub(super) state: Arc<MemberState>,
}

/// What stays of a member over changes.
pub(super) struct MemberState {
    /// The same for the same names, in every process.
    pub(super) serial: u64,
    /// Where it serves; a member that moves is another one.
    pub(super) endpoint: SocketAddr,
    /// What it counted.
    pub(super) counters: Counters,
    /// Whether it is well.
    pub(super) health: HealthState,
    /// Taken out of the configuration.
    gone: AtomicBool,
}

#[derive(Default)]
struct Chooser {
    turns: Turns,
    candidates: Vec<Candidate>,
}

impl Rule {
    /// A rule with its first policy.
    pub(super) fn new(id: ObjectId, policy: Policy) -> Self {
        Self {
            id,
            policy: ArcSwap::from_pointee(policy),
            counters: Counters::default(),
            chooser: Mutex::default(),
            room: Notify::new(),
            removed: AtomicU64::new(0),
        }
    }

    /// The configuration in force.
    pub(super) fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// The same, for a look.
    pub(super) fn peek(&self) -> arc_swap::Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// Brings `policy` into force for all that comes.
    pub(super) fn replace(&self, policy: Policy) {
        let former = self.policy.swap(Arc::new(policy));
        let current = self.policy.load();
        for member in &former.members {
            let stays = current.members.iter().any(|it| Arc::ptr_eq(&it.state, &member.state));
            if !stays {
                member.state.gone.store(true, Relaxed);
            }
        }
        // waiters look at the limit again
        self.room.notify_waiters();
    }

    /// The rule is out of the configuration: its connections end.
    pub(super) fn remove(&self) {
        self.removed.store(clock::now(), Relaxed);
        for member in &self.policy.load().members {
            member.state.gone.store(true, Relaxed);
        }
        self.room.notify_waiters();
    }

    /// When the rule was removed, if it was.
    pub(super) fn removed(&self) -> Option<u64> {
        Some(self.removed.load(Relaxed)).filter(|at| *at > 0)
    }

    /// Chooses a member for a client at `source`, none of those `tried`.
    pub(super) fn choose(
        &self,
        policy: &Policy,
        source: IpAddr,
        tried: &[u64],
    ) -> Option<Arc<LiveMember>> {
        let mut chooser = self.chooser();
        let Chooser { turns, candidates } = &mut *chooser;
        candidates.clear();
        candidates.extend(policy.members.iter().map(|member| member.candidate(tried)));
        let at = choose(policy.spec.algorithm, candidates, source, turns)?;
        policy.members.get(at).cloned()
    }

    fn chooser(&self) -> MutexGuard<'_, Chooser> {
        self.chooser.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Policy {
    /// Whether a client at `source` is let in.
    pub(super) fn admits(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.spec.sources.is_empty()
            || self.spec.sources.iter().any(|it: &Cidr| it.contains(source))
    }

    /// The member called `serial`, if it can serve a client that is bound to it.
    pub(super) fn bound(&self, serial: u64, tried: &[u64]) -> Option<Arc<LiveMember>> {
        let found = self.members.iter().find(|it| it.state.serial == serial)?;
        found.can_serve(tried).then(|| Arc::clone(found))
    }

    /// The member called `id`, if it can serve a client that is bound to it.
    pub(super) fn named(&self, id: &[u8], tried: &[u64]) -> Option<Arc<LiveMember>> {
        let found = self.members.iter().find(|it| it.spec.id.as_str().as_bytes() == id)?;
        found.can_serve(tried).then(|| Arc::clone(found))
    }
}

impl LiveMember {
    /// `spec` of the rule `rule`; a former life of the same member goes on.
    pub(super) fn new(rule: &ObjectId, spec: Member, former: Option<&Policy>) -> Self {
        let serial = serial(rule.as_str(), spec.id.as_str());
        let endpoint = spec.endpoint();
        let same = |it: &&Arc<Self>| it.state.serial == serial && it.state.endpoint == endpoint;
        let state = former.and_then(|former| former.members.iter().find(same));
        let state = state.map_or_else(
            || Arc::new(MemberState::new(serial, endpoint)),
            |member| Arc::clone(&member.state),
        );
        Self { spec, state }
    }

    fn can_serve(&self, tried: &[u64]) -> bool {
        self.state.health.is_up() && !tried.contains(&self.state.serial)
    }

    fn candidate(&self, tried: &[u64]) -> Candidate {
        Candidate {
            serial: self.state.serial,
            weight: self.spec.weight.get(),
            usable: !self.spec.drain && self.can_serve(tried),
            backup: self.spec.backup,
            sessions: self.state.counters.current.now(),
        }
    }
}

impl MemberState {
    fn new(serial: u64, endpoint: SocketAddr) -> Self {
        Self {
            serial,
            endpoint,
            counters: Counters::default(),
            health: HealthState::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// Whether it was taken out of the configuration.
    pub(super) fn gone(&self) -> bool {
        self.gone.load(Relaxed)
    }
}

/// A connection or a request that a member has; ends when dropped.
pub(super) struct Seat(Arc<MemberState>);

impl Seat {
    /// Takes a seat at `member`, at `now` of the clock.
    pub(super) fn take(member: &LiveMember, now: u64) -> Self {
        member.state.counters.current.enter();
        add(&member.state.counters.sessions, 1);
        member.state.counters.session_rate.hit(now);
        Self(Arc::clone(&member.state))
    }

    /// The member.
    pub(super) fn member(&self) -> &Arc<MemberState> {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.counters.current.leave();
    }
}
