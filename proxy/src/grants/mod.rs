//! Who may use which VM's console: grants as they are now, the browsers that use them, and the sessions that run.
//!
//! Guarantees: nothing is opened without a grant that is in force at that moment; a session learns of every change of its
//! grant at once; a grant pinned to its first browser is used by no other; bounds on sessions hold whatever comes at the
//! same time; of several proxies one takes the first browser, the others know it by its cookie. Which grants were taken away,
//! and by whom a grant is used, is known until the grant's end, also by the process after this one.

mod browser;
mod memory;
mod refusal;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_api::types::ObjectId;
use tokio::sync::watch;

use crate::slice::{ConsoleSlice, Grant, Settings, Source};
use crate::values::{Origin, TokenHash};

pub use browser::{BrowserId, Browsers};
pub use refusal::Refusal;
pub use sessions::{Closed, Seat, SessionId, Stats};

use memory::Memory;
use sessions::Sessions;

/// A grant in force, or none any more.
pub type GrantWatch = watch::Receiver<Option<Arc<Grant>>>;

/// All grants and sessions.
#[derive(Default)]
pub struct Registry {
    state: Mutex<State>,
    sessions: Arc<Sessions>,
}

#[derive(Default)]
struct State {
    grants: HashMap<ObjectId, Entry>,
    tokens: HashMap<TokenHash, ObjectId>,
    memory: Memory,
    settings: Settings,
}

struct Entry {
    grant: Arc<Grant>,
    changes: watch::Sender<Option<Arc<Grant>>>,
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The browser's address.
    pub from: IpAddr,
    /// The browser, when its cookie for this grant is good.
    pub browser: Option<BrowserId>,
    /// Seconds since 1970.
    pub now: u64,
}

/// Seconds since 1970, by the clock of the day: a grant's end is told in it.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Registry {
    /// Without grants yet; what outlives this process is in `folder`, if there is one.
    pub fn new(folder: Option<&Path>) -> Self {
        let this = Self::default();
        this.state().memory = Memory::open(folder, unix_now());
        this
    }

    /// Brings the grants of `slice` into force. Sessions of grants that stay as they are notice nothing.
    pub fn apply(&self, slice: &ConsoleSlice) {
        let mut state = self.state();
        let now = unix_now();
        let mut former = std::mem::take(&mut state.grants);
        state.tokens.clear();
        for grant in &slice.grants {
            // another token is another grant, whatever its name: whoever came by the old link must go
            let same = former.get(&grant.id).is_some_and(|it| it.grant.token == grant.token);
            let known = if same { former.remove(&grant.id) } else { None };
            state.memory.lasts(grant.token, grant.expires, now);
            let entry = known.map_or_else(|| Entry::new(grant), |it| it.changed(grant));
            state.tokens.insert(grant.token, grant.id.clone());
            state.grants.insert(grant.id.clone(), entry);
        }
        for entry in former.into_values() {
            entry.changes.send_replace(None);
            state.memory.took_away(entry.grant.token, entry.grant.expires, now);
        }
        state.settings = slice.settings.clone();
    }

    /// The grant whose link has this token.
    pub fn named_by(&self, token: &str) -> Result<ObjectId, Refusal> {
        let hash = TokenHash::of(token);
        let state = self.state();
        let gone = state.memory.is_gone(&hash);
        let refusal = if gone { Refusal::Revoked } else { Refusal::Unknown };
        state.tokens.get(&hash).cloned().ok_or(refusal)
    }

    /// Whether `asker` may use the grant and a session of it could begin now; then pins it to the browser when it is the
    /// first. The browser is the one known, or the `new` one that has just shown the token; without either it has to show
    /// it first.
    pub fn admit(
        &self,
        id: &ObjectId,
        asker: Asker,
        new: Option<BrowserId>,
    ) -> Result<(Arc<Grant>, BrowserId), Refusal> {
        let browser = asker.browser.or(new).ok_or(Refusal::NoCookie)?;
        let mut state = self.state();
        let (grant, pin) = state.may(id, asker, browser)?;
        // before the pin: a browser that is sent away gets no cookie to be known by when it comes back
        if state.settings.draining {
            return Err(Refusal::Draining);
        }
        self.sessions.room(&grant, &state.settings)?;
        state.pin(&grant, pin, asker.now);
        Ok((grant, browser))
    }

    /// Begins a session for a browser that was admitted.
    pub fn sit(&self, id: &ObjectId, asker: Asker) -> Result<Seat, Refusal> {
        let browser = asker.browser.ok_or(Refusal::NoCookie)?;
        let mut state = self.state();
        let settings = state.settings.clone();
        if settings.draining {
            return Err(Refusal::Draining);
        }
        let (grant, pin) = state.may(id, asker, browser)?;
        state.pin(&grant, pin, asker.now);
        let changes = state.grants.get(id).ok_or(Refusal::Revoked)?.changes.subscribe();
        Sessions::sit(&self.sessions, grant, changes, asker.from, settings)
    }

    /// The sessions that run.
    pub fn running(&self) -> Vec<Arc<Stats>> {
        self.sessions.running()
    }

    /// Bytes of screen since the start.
    pub fn screen_bytes(&self) -> u64 {
        self.sessions.screen_bytes()
    }

    /// Sessions since the start.
    pub fn begun(&self) -> u64 {
        self.sessions.begun()
    }

    /// Those that ended last.
    pub fn closed(&self) -> Vec<Closed> {
        self.sessions.closed()
    }

    /// Where the link of a grant leads to another proxy.
    pub fn home(&self, id: &ObjectId) -> Option<Origin> {
        self.state().grants.get(id).and_then(|entry| entry.grant.home.clone())
    }

    /// Grants in force.
    pub fn grants(&self) -> usize {
        self.state().grants.len()
    }

    /// Bounds and times in force.
    pub fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether `browser` may use the grant, and to which one it is to be pinned first, if to any.
    fn may(
        &self,
        id: &ObjectId,
        asker: Asker,
        browser: BrowserId,
    ) -> Result<(Arc<Grant>, Option<BrowserId>), Refusal> {
        let grant = Arc::clone(&self.grants.get(id).ok_or(Refusal::Revoked)?.grant);
        if grant.expires <= asker.now {
            return Err(Refusal::Expired);
        }
        if !covers(&grant.source, asker.from) {
            return Err(Refusal::Address);
        }
        if grant.source != Source::FirstBrowser {
            return Ok((grant, None));
        }
        let first = self.is_first(&grant, asker, browser)?;
        Ok((grant, first.then_some(browser)))
    }

    /// Whether `browser` is the first; false when the grant is pinned to it already.
    fn is_first(&self, grant: &Grant, asker: Asker, browser: BrowserId) -> Result<bool, Refusal> {
        // which browser is the first is known at one proxy alone
        match (&asker.browser, grant.taken, &grant.home) {
            (None, true, _) => return Err(Refusal::OtherBrowser),
            (None, false, Some(_)) => return Err(Refusal::Elsewhere),
            _ => {}
        }
        match self.memory.first(&grant.token) {
            Some(first) if first == browser => Ok(false),
            Some(_) => Err(Refusal::OtherBrowser),
            None => Ok(true),
        }
    }

    fn pin(&mut self, grant: &Grant, first: Option<BrowserId>, now: u64) {
        if let Some(browser) = first {
            self.memory.pin(grant.token, browser, grant.expires, now);
        }
    }
}

impl Entry {
    fn new(grant: &Grant) -> Self {
        let grant = Arc::new(grant.clone());
        Self { changes: watch::Sender::new(Some(Arc::clone(&grant))), grant }
    }

    fn changed(mut self, grant: &Grant) -> Self {
        if *self.grant != *grant {
            self.grant = Arc::new(grant.clone());
            self.changes.send_replace(Some(Arc::clone(&self.grant)));
        }
        self
    }
}

/// Whether `source` says nothing against an address.
pub fn covers(source: &Source, from: IpAddr) -> bool {
    match source {
        Source::Any | Source::FirstBrowser => true,
        Source::Networks(networks) => networks.iter().any(|network| network.contains(from)),
    }
}
