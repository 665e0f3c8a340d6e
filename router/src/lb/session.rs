//! One client connection as the clockwork sees it: what it is doing, since when, and how long it may.
//!
//! One sweep over all connections, a few times a second, stands in for a timer in each: it costs less memory, and a
//! change of a rule's times reaches the connections that are open. A connection only notes that something happened, and
//! the next sweep, when: nobody looks at a clock for each piece of data. So times are kept to half a second.

use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use sluice_api::config::balancer::Mode;

use super::clock;
use super::counters::add;
use super::live::Rule;

/// Time between sweeps.
pub(crate) const SWEEP: Duration = Duration::from_millis(250);
/// After an early answer, how long the client may go on sending what nobody reads.
const LINGER: u64 = 2000;
/// Time in milliseconds after which a connection that waits for a request or its answer is [`Session::quiet`].
const AWAKE: u64 = 1000;
/// Over the idle time, so that an HTTP request that waits for its member is answered before its connection is cut.
const GRACE: u64 = 1000;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The TLS handshake, and until the first byte of the first request.
    Opening,
    /// Bytes go both ways.
    Flow,
    /// HTTP: before the first byte of the next request.
    Waiting,
    /// HTTP: within a request head.
    Head,
    /// HTTP: from a request head to the end of its answer.
    Busy,
    /// All is said; what the client still sends is thrown away.
    Lingering,
}

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum End {
    /// Its time is over.
    Time = 1,
    /// Its rule is no longer configured.
    Removed = 2,
}

/// One client connection; it counts as one of its rule until it is dropped.
pub(super) struct Session {
    /// Its rule.
    pub(super) rule: Arc<Rule>,
    mode: Mode,
    started: u64,
    phase: AtomicU8,
    /// The phase began after the last sweep.
    entered: AtomicBool,
    /// Bytes passed after the last sweep.
    touched: AtomicBool,
    since: AtomicU64,
    last: AtomicU64,
    end: AtomicU8,
    quiet: AtomicBool,
    /// Bytes for the client wait until it takes them.
    owes: AtomicBool,
    /// An answer that broke off waits until the client has what came before.
    breaks: AtomicBool,
    waker: AtomicWaker,
}

impl Session {
    /// A connection of `rule`, whose room for it was taken already.
    pub(super) fn new(rule: Arc<Rule>, mode: Mode, phase: Phase) -> Self {
        let now = clock::now();
        add(&rule.counters.sessions, 1);
        rule.counters.session_rate.hit(now);
        Self {
            rule,
            mode,
            started: now,
            phase: AtomicU8::new(phase as u8),
            entered: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            since: AtomicU64::new(now),
            last: AtomicU64::new(now),
            end: AtomicU8::new(0),
            quiet: AtomicBool::new(false),
            owes: AtomicBool::new(false),
            breaks: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// What the rule balanced when the connection came; later changes are for later connections.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// A byte passed.
    pub(super) fn touch(&self) {
        self.touched.store(true, Relaxed);
    }

    /// What the connection does from now on, for which it has its time anew.
    pub(super) fn enter(&self, phase: Phase) {
        if self.phase() != phase {
            self.phase.store(phase as u8, Relaxed);
            self.entered.store(true, Relaxed);
            self.end.store(0, Relaxed);
            self.quiet.store(false, Relaxed);
        }
    }

    /// What the connection does.
    pub(super) fn phase(&self) -> Phase {
        let phases = [
            Phase::Opening,
            Phase::Flow,
            Phase::Waiting,
            Phase::Head,
            Phase::Busy,
            Phase::Lingering,
        ];
        let now = self.phase.load(Relaxed);
        phases.into_iter().find(|phase| *phase as u8 == now).unwrap_or(Phase::Flow)
    }

    /// Ready when the connection must end.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<End> {
        self.waker.register(cx.waker());
        self.end().map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether it has waited for its next request, or for the end of an answer, for a while. Becoming so wakes whoever
    /// polled [`Self::poll_end`].
    pub(super) fn quiet(&self) -> bool {
        self.quiet.load(Relaxed)
    }

    /// Whether bytes for the client wait until it takes them.
    pub(super) fn owes(&self) -> bool {
        self.owes.load(Relaxed)
    }

    /// Bytes for the client wait from now on, or do no longer.
    pub(super) fn set_owes(&self, owes: bool) {
        self.owes.store(owes, Relaxed);
        if !owes && self.breaks.swap(false, Relaxed) {
            self.waker.wake();
        }
    }

    /// The connection's task is woken when nothing is owed to the client any more.
    pub(super) fn break_off(&self) {
        self.breaks.store(true, Relaxed);
    }

    /// Nobody is woken when the connection must end, until somebody polls [`Self::poll_end`] again.
    pub(super) fn leave_alone(&self) {
        self.waker.take();
    }

    /// Waits until the connection must end.
    pub(super) async fn ended(&self) -> End {
        std::future::poll_fn(|cx| self.poll_end(cx)).await
    }

    /// Why the connection must end, if it must.
    pub(super) fn end(&self) -> Option<End> {
        match self.end.load(Relaxed) {
            0 => None,
            1 => Some(End::Time),
            _ => Some(End::Removed),
        }
    }

    /// Ends the connection if it is due.
    fn sweep(&self, now: u64) {
        let touched = self.touched.swap(false, Relaxed);
        let entered = self.entered.swap(false, Relaxed);
        if entered {
            self.since.store(now, Relaxed);
        }
        if entered || touched {
            self.last.store(now, Relaxed);
        }
        let Some(end) = self.due(now) else { return self.lull(now) };
        if self.end.swap(end as u8, Relaxed) == 0 && end == End::Time {
            add(&self.rule.counters.timeouts, 1);
        }
        self.waker.wake();
    }

    fn lull(&self, now: u64) {
        let waits = matches!(self.phase(), Phase::Waiting | Phase::Busy);
        let long = now >= self.since.load(Relaxed) + AWAKE;
        if waits && long && !self.quiet.swap(true, Relaxed) {
            self.waker.wake();
        }
    }

    fn due(&self, now: u64) -> Option<End> {
        let phase = self.phase();
        if let Some(removed) = self.rule.removed() {
            let drain = self.rule.peek().spec.timeouts.drain_seconds.get();
            if phase == Phase::Waiting || now >= removed + u64::from(drain) * 1000 {
                return Some(End::Removed);
            }
        }
        let times = &self.rule.peek().spec.timeouts;
        let (since, last) = (self.since.load(Relaxed), self.last.load(Relaxed));
        let seconds = |seconds: u32| u64::from(seconds) * 1000;
        let deadline = match phase {
            Phase::Opening | Phase::Head => since + seconds(times.request_seconds.get()),
            Phase::Flow => last + seconds(times.idle(self.mode)),
            Phase::Waiting => since + seconds(times.keep_alive_seconds.get()),
            Phase::Busy => last + seconds(times.idle(self.mode)) + GRACE,
            Phase::Lingering => since + LINGER,
        };
        (now >= deadline).then_some(End::Time)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.rule.counters.current.leave();
        self.rule.counters.total_time.add(clock::now().saturating_sub(self.started));
        self.rule.room.notify_one();
    }
}

/// The connections of one thread.
#[derive(Default)]
pub(super) struct Sessions {
    all: Mutex<Vec<Weak<Session>>>,
    /// Connections that were accepted and wait for room.
    waiting: AtomicUsize,
}

/// A connection that waits for room at its rule, until it is dropped.
pub(super) struct Waiting(Arc<Sessions>);

impl Waiting {
    /// One of `sessions`.
    pub(super) fn new(sessions: &Arc<Sessions>) -> Self {
        sessions.waiting.fetch_add(1, Relaxed);
        Self(Arc::clone(sessions))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Release);
    }
}

impl Sessions {
    /// Takes a connection under the clockwork.
    pub(super) fn add(&self, session: &Arc<Session>) {
        self.locked().push(Arc::downgrade(session));
    }

    /// How many are open, those that wait for room among them.
    pub(super) fn open(&self) -> usize {
        // first: one that gets its room in between counts twice, and not at all otherwise
        let waiting = self.waiting.load(Acquire);
        let sessions = self.locked();
        waiting + sessions.iter().filter(|session| session.strong_count() > 0).count()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Weak<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is due, and forgets what has ended.
    pub(super) fn sweep(&self) {
        let now = clock::now();
        let mut sessions = self.locked();
        sessions.retain(|session| {
            let Some(session) = session.upgrade() else { return false };
            session.sweep(now);
            true
        });
        // a wave of connections leaves no memory behind
        if sessions.capacity() > 1024 && sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
    }
}
