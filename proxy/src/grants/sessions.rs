//! The sessions that run and those that ended: who, from where, how much, why over.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use serde::Serialize;
use sluice_api::types::ObjectId;

use super::{GrantWatch, Refusal, unix_now};
use crate::session::End;
use crate::slice::{Grant, Settings};

/// Ended sessions that are remembered for reports.
const REMEMBERED: usize = 256;

/// Number of a session, from 1 on since the service started.
pub type SessionId = u64;

/// What is counted of one session.
#[derive(Debug)]
pub struct Stats {
    /// Its number.
    pub id: SessionId,
    /// Id of its grant.
    pub grant: ObjectId,
    /// Id of the VM.
    pub vm: ObjectId,
    /// For whom the grant is.
    pub user: Option<String>,
    /// The browser's address.
    pub from: IpAddr,
    /// Its begin, seconds since 1970.
    pub since: u64,
    /// Whether it may not type.
    pub view_only: AtomicBool,
    /// Bytes of screen.
    pub to_browser: AtomicU64,
    /// Bytes of input passed on to the VM.
    pub from_browser: AtomicU64,
    /// Messages left out because the grant does not allow them.
    pub left_out: AtomicU64,
    /// Last round trip to the browser in milliseconds, 0 before the first.
    pub round_trip: AtomicU32,
    /// How the VM's screen was authenticated, once it is shown.
    pub security: OnceLock<String>,
    begun: Instant,
    /// Milliseconds after the begin.
    last_input: AtomicU64,
}

impl Stats {
    /// Notes that a person is there.
    pub fn input(&self) {
        self.last_input.store(millis(self.begun), Ordering::Relaxed);
    }

    /// Since a person was last seen.
    pub fn idle(&self) -> std::time::Duration {
        let idle = millis(self.begun).saturating_sub(self.last_input.load(Ordering::Relaxed));
        std::time::Duration::from_millis(idle)
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A session that is over.
#[derive(Clone, Debug, Serialize)]
pub struct Closed {
    /// Its number.
    pub id: SessionId,
    /// Id of its grant.
    pub grant: ObjectId,
    /// Id of the VM.
    pub vm: ObjectId,
    /// For whom the grant was.
    pub user: Option<String>,
    /// The browser's address.
    pub from: IpAddr,
    /// Its begin, seconds since 1970.
    pub since: u64,
    /// Its end, seconds since 1970.
    pub until: u64,
    /// Bytes of screen.
    pub to_browser: u64,
    /// Bytes of input.
    pub from_browser: u64,
    /// Whether it could not type at last.
    pub view_only: bool,
    /// Why it ended.
    pub reason: &'static str,
    /// Whether the VM's screen was there.
    #[serde(skip)]
    shown: bool,
}

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    last: SessionId,
    running: BTreeMap<SessionId, Arc<Stats>>,
    closed: VecDeque<Closed>,
    /// Bytes of screen of all that ended.
    sent: u64,
}

/// A place in the house for one session; free again when dropped.
pub struct Seat {
    /// The grant as it was when the session began.
    pub grant: Arc<Grant>,
    /// What becomes of it.
    pub changes: GrantWatch,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// Bounds and times at the begin.
    pub settings: Settings,
    sessions: Arc<Sessions>,
}

impl Sessions {
    pub(super) fn sit(
        this: &Arc<Self>,
        grant: Arc<Grant>,
        changes: GrantWatch,
        from: IpAddr,
        settings: Settings,
    ) -> Result<Seat, Refusal> {
        let mut book = this.book();
        book.room(&grant, &settings)?;
        book.last += 1;
        let stats = Arc::new(stats(book.last, &grant, from));
        book.running.insert(stats.id, Arc::clone(&stats));
        let sessions = Arc::clone(this);
        Ok(Seat { grant, changes, stats, settings, sessions })
    }

    pub(super) fn room(&self, grant: &Grant, settings: &Settings) -> Result<(), Refusal> {
        self.book().room(grant, settings)
    }

    pub(super) fn running(&self) -> Vec<Arc<Stats>> {
        self.book().running.values().cloned().collect()
    }

    /// Bytes of screen since the start.
    pub(super) fn screen_bytes(&self) -> u64 {
        let book = self.book();
        let running = book.running.values().map(|it| it.to_browser.load(Ordering::Relaxed));
        book.sent.saturating_add(running.sum())
    }

    /// Sessions since the start.
    pub(super) fn begun(&self) -> u64 {
        self.book().last
    }

    pub(super) fn closed(&self) -> Vec<Closed> {
        self.book().closed.iter().cloned().collect()
    }

    /// Whether the end is remembered as one of its own.
    fn leave(&self, id: SessionId, reason: &'static str) -> bool {
        let mut book = self.book();
        let Some(stats) = book.running.remove(&id) else { return false };
        let closed = closed(&stats, reason);
        book.sent = book.sent.saturating_add(closed.to_browser);
        book.remember(closed)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Attempts in vain, which a page makes every second for as long as it is open, are the first of them: they must not
    /// push out those who were there.
    fn remember(&mut self, new: Closed) -> bool {
        let same = |it: &&mut Closed| it.grant == new.grant && it.from == new.from;
        let mut since_shown = self.closed.iter_mut().rev().filter(same).take_while(|it| !it.shown);
        if !new.shown
            && let Some(before) = since_shown.find(|it| it.reason == new.reason)
        {
            before.until = new.until;
            return false;
        }
        if self.closed.len() >= REMEMBERED {
            self.closed.pop_front();
        }
        self.closed.push_back(new);
        true
    }

    fn room(&self, grant: &Grant, settings: &Settings) -> Result<(), Refusal> {
        let most = usize::try_from(settings.sessions).unwrap_or(usize::MAX);
        if self.running.len() >= most {
            return Err(Refusal::Full);
        }
        let of_grant = self.running.values().filter(|it| it.grant == grant.id).count();
        let full = of_grant >= usize::from(grant.limits.sessions);
        if full { Err(Refusal::GrantFull) } else { Ok(()) }
    }
}

impl Seat {
    /// Gives the place back, with the reason. False for an attempt in vain that is like one before it.
    pub fn leave(self, end: &End) -> bool {
        self.sessions.leave(self.stats.id, end.name())
    }

    /// Sessions with the same VM, this one included.
    pub fn viewers(&self) -> usize {
        let book = self.sessions.book();
        book.running.values().filter(|it| it.vm == self.stats.vm).count()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // of nobody when it was given back
        self.sessions.leave(self.stats.id, End::BrowserLeft.name());
    }
}

fn stats(id: SessionId, grant: &Grant, from: IpAddr) -> Stats {
    Stats {
        id,
        grant: grant.id.clone(),
        vm: grant.vm.id.clone(),
        user: grant.user.clone(),
        from,
        since: unix_now(),
        view_only: AtomicBool::new(grant.view_only),
        to_browser: AtomicU64::new(0),
        from_browser: AtomicU64::new(0),
        left_out: AtomicU64::new(0),
        round_trip: AtomicU32::new(0),
        security: OnceLock::new(),
        begun: Instant::now(),
        last_input: AtomicU64::new(0),
    }
}

fn closed(stats: &Stats, reason: &'static str) -> Closed {
    Closed {
        id: stats.id,
        grant: stats.grant.clone(),
        vm: stats.vm.clone(),
        user: stats.user.clone(),
        from: stats.from,
        since: stats.since,
        until: unix_now(),
        to_browser: stats.to_browser.load(Ordering::Relaxed),
        from_browser: stats.from_browser.load(Ordering::Relaxed),
        view_only: stats.view_only.load(Ordering::Relaxed),
        reason,
        shown: stats.security.get().is_some(),
    }
}
