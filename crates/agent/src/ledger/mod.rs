//! The ledger: which configuration is committed, which was before, which one is under way, which numbers were tried in
//! vain, and which were in force since live connections were last judged.
//!
//! Guarantees:
//! - after a crash or a power cut at any point it reads as the state before a write or after it;
//! - from the first commit on, each of the two pages alone names a committed configuration, so that whatever happens to
//!   one of them leaves one: the newest, except between the two writes of a commit, when it may be the one before;
//! - a page that is damaged or missing is an alarm, and is written again from the other one;
//! - a configuration is stored once, however often it is named, and what is not named any more goes;
//! - four configurations are kept at most, the one that is coming included: the committed one, the one before it, and
//!   one more by which live connections are still to be judged;
//! - when what was committed cannot be read, because of damage or because this build does not understand it, the ledger
//!   says so ([`State::lost`]), over restarts, until the next commit; never "empty".
//!
//! Not guaranteed: a page that somebody rewrote on purpose, digest included, is believed.

mod content;
mod entry;
mod page;
#[cfg(test)]
mod room;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_api::Digest;
use sluice_api::types::Generation;
use thiserror::Error;

use content::Contents;
pub use entry::{Entry, Seen};
use page::{Found, NAMES, Written};

/// Where the ledger is kept: whole named files, replaced durably.
pub trait Files: Send + Sync {
    /// The file's content; `None` when there is no such file.
    fn read(&self, name: &str) -> std::io::Result<Option<Vec<u8>>>;

    /// Replaces the file: once this returns, a power cut does not bring the old content back; before that, it leaves
    /// the old or the new one, whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()>;

    /// Removes the file; one that is not there is fine.
    fn remove(&self, name: &str) -> std::io::Result<()>;

    /// The names of all files.
    fn list(&self) -> std::io::Result<Vec<String>>;
}

/// Why the ledger could not be written.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file could not be written; retrying can help when the disk was full.
    #[error("cannot write the ledger file {name}")]
    Write {
        /// Which file.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The content could not be turned into JSON, which is a defect.
    #[error("cannot encode the ledger")]
    Encode(#[from] serde_json::Error),
}

/// Numbers that were tried and not committed; older ones are forgotten.
const TRIED: usize = 16;
/// Configurations by which live connections are still to be judged, a matter of a second each; older ones are forgotten,
/// for their content takes room on the disk.
const UNJUDGED: usize = 2;
/// Configurations whose content is kept while none is under way; with that one it is as many as the disk has room for.
const KEPT: usize = 3;

/// What the ledger holds. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct State<C> {
    /// The last good configuration that can be read.
    pub committed: Option<Entry<C>>,
    /// The one committed before it: what is left when that one cannot be read.
    pub former: Option<Seen>,
    /// The one under way or waiting for its confirmation.
    pub pending: Option<Entry<C>>,
    /// Those tried since the last commit, the latest last; 16 at most.
    pub tried: Vec<Seen>,
    /// True when what was committed, or may have been, cannot be read, and nothing has been committed since.
    pub lost: bool,
    /// What was committed and cannot be read, if that much is known.
    pub unreadable: Option<Seen>,
    /// Those that were in force, or may have been, since live connections were last judged: what they allowed and the
    /// committed one does not is still to end. The latest last; 2 at most.
    pub unjudged: Vec<Seen>,
}

impl<C> Default for State<C> {
    fn default() -> Self {
        Self {
            committed: None,
            former: None,
            pending: None,
            tried: Vec::new(),
            lost: false,
            unreadable: None,
            unjudged: Vec::new(),
        }
    }
}

impl<C> State<C> {
    fn written(&self) -> Written {
        let seen = |entry: &Option<Entry<C>>| entry.as_ref().map(|entry| entry.seen.clone());
        let committed = seen(&self.committed);
        // what cannot be read stays named until something else is committed
        let (committed, former) = match &self.unreadable {
            Some(unreadable) => (Some(unreadable.clone()), committed),
            None => (committed, self.former.clone()),
        };
        let (pending, tried) = (seen(&self.pending), self.tried.clone());
        let unjudged = self.unjudged.clone();
        Written { committed, former, pending, tried, lost: self.lost, unjudged }
    }

    fn judge_by(&mut self, seen: Option<Seen>) {
        let Some(seen) = seen else { return };
        self.unjudged.retain(|known| *known != seen);
        self.unjudged.push(seen);
        let surplus = self.unjudged.len().saturating_sub(UNJUDGED);
        self.unjudged.drain(..surplus);
    }

    /// Forgets what connections are to be judged by, the oldest first, until there is room for another configuration.
    fn make_room(&mut self) {
        while self.written().named().collect::<BTreeSet<_>>().len() > KEPT {
            let written = self.written();
            let stays = |seen: &Seen| written.lasting().any(|digest| *digest == seen.digest);
            let Some(place) = self.unjudged.iter().position(|seen| !stays(seen)) else { return };
            self.unjudged.remove(place);
        }
    }
}

/// The ledger and where it is kept.
pub struct Ledger<C> {
    files: Arc<dyn Files>,
    contents: Contents,
    serial: u64,
    state: State<C>,
    /// What the other page says, if that is known.
    other: Option<Written>,
    /// True when only one page is known to hold what was committed.
    single: bool,
}

/// What was found when a ledger was opened.
pub struct Opened<C> {
    /// The ledger.
    pub ledger: Ledger<C>,
    /// What could not be read.
    pub alarms: Vec<String>,
    /// The configuration that was under way when we stopped; it is given up.
    pub interrupted: Option<Generation>,
}

impl<C: Clone> Ledger<C> {
    /// Reads the ledger; `parse` understands a configuration or says why not. A page that cannot stand in for the other
    /// one is written anew.
    pub fn open(files: Arc<dyn Files>, parse: impl Fn(&[u8]) -> Result<C, String>) -> Opened<C> {
        let Found { best, other, mut alarms } = page::find(&*files);
        let mut contents = Contents::new(Arc::clone(&files));
        let (serial, written) = best.unwrap_or_default();
        if written.lost {
            alarms.push("the ledger was lost, and nothing has been committed since".to_owned());
        }
        let known = |page: &Written| page.committed.clone();
        let single =
            written.committed.is_some() && other.as_ref().and_then(known) != known(&written);
        let mut state = State {
            tried: written.tried,
            lost: written.lost,
            unjudged: written.unjudged,
            ..State::default()
        };
        let mut load = |seen: &Option<Seen>| {
            let seen = seen.clone()?;
            let loaded = contents.read(&seen.digest).and_then(|bytes| parse(&bytes));
            Some(loaded.map(|config| Entry { seen: seen.clone(), config: Arc::new(config) }))
        };
        match load(&written.committed) {
            Some(Ok(entry)) => (state.committed, state.former) = (Some(entry), written.former),
            Some(Err(reason)) => {
                alarms.push(format!("the committed configuration cannot be read: {reason}"));
                state.unreadable = written.committed;
                state.committed = load(&written.former).and_then(Result::ok);
            }
            None => {}
        }
        // what cannot be read may have held a commit
        state.lost |=
            state.unreadable.is_some() || (state.committed.is_none() && !alarms.is_empty());
        let interrupted = written.pending.as_ref().map(|seen| seen.generation);
        // it may have let connections in
        state.judge_by(written.pending);
        state.make_room();
        let mut ledger = Self { files, contents, serial, state, other, single };
        if let Err(error) = ledger.mirror() {
            alarms.push(format!("{error}: {}", source(&error)));
        }
        ledger.sweep();
        Opened { ledger, alarms, interrupted }
    }

    /// What it holds.
    pub fn state(&self) -> &State<C> {
        &self.state
    }

    /// The bytes of a configuration as they came. Errors: why they cannot be had.
    pub fn content(&mut self, digest: &Digest) -> Result<Vec<u8>, String> {
        self.contents.read(digest)
    }

    /// Records that `entry`, which came as `bytes`, is about to be brought into force.
    pub fn begin(&mut self, entry: Entry<C>, bytes: &[u8]) -> Result<(), LedgerError> {
        // what could not be removed before may be in the way
        self.sweep();
        self.contents.keep(&entry.seen.digest, bytes)?;
        let mut next = self.state.clone();
        next.tried.retain(|known| known.generation != entry.seen.generation);
        next.tried.push(entry.seen.clone());
        let surplus = next.tried.len().saturating_sub(TRIED);
        next.tried.drain(..surplus);
        next.pending = Some(entry);
        self.write(next)
    }

    /// Makes the pending configuration the last good one. It is once one page says so; the other one is for
    /// [`Self::mirror`], which is to follow soon.
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        let mut next = self.state.clone();
        if let Some(pending) = next.pending.take() {
            // numbers up to the committed one are refused as they are
            next.tried.retain(|known| known.generation > pending.seen.generation);
            next.former = next.committed.take().map(|entry| entry.seen);
            next.judge_by(next.former.clone());
            next.committed = Some(pending);
            next.lost = false;
            next.unreadable = None;
        }
        self.write(next)?;
        self.single = true;
        Ok(())
    }

    /// Writes the second page when only one holds what was committed; does nothing otherwise.
    pub fn mirror(&mut self) -> Result<(), LedgerError> {
        if self.single {
            self.put(&self.state.written())?;
            self.single = false;
            self.sweep();
        }
        Ok(())
    }

    /// Forgets the pending configuration; its number and digest stay known.
    ///
    /// It is forgotten even when that cannot be written: with a full disk we would else go on working towards a
    /// configuration that was given up. The file still has it as pending, which a restart gives up too.
    ///
    /// Without one nothing is written: an unreadable page is not to be replaced by an empty one.
    pub fn abandon(&mut self) -> Result<(), LedgerError> {
        if self.state.pending.is_none() {
            return Ok(());
        }
        let mut next = self.state.clone();
        let given_up = next.pending.take().map(|entry| entry.seen);
        next.judge_by(given_up);
        next.make_room();
        let written = self.write(next.clone());
        self.state = next;
        if written.is_ok() {
            self.sweep();
        }
        written
    }

    /// Live connections were judged by these. When that cannot be written, they are judged once more after a restart.
    pub fn judged(&mut self, done: &[Seen]) -> Result<(), LedgerError> {
        let mut next = self.state.clone();
        next.unjudged.retain(|seen| !done.contains(seen));
        if next.unjudged.len() == self.state.unjudged.len() {
            return Ok(());
        }
        self.write(next)?;
        self.sweep();
        Ok(())
    }

    fn write(&mut self, next: State<C>) -> Result<(), LedgerError> {
        self.put(&next.written())?;
        self.state = next;
        Ok(())
    }

    /// Writes the page whose turn it is: never the newest one that could be read.
    fn put(&mut self, state: &Written) -> Result<(), LedgerError> {
        let serial = self.serial + 1;
        let name = if serial.is_multiple_of(2) { NAMES[0] } else { NAMES[1] };
        let page = page::seal(serial, state)?;
        let written = self.files.replace(name, &page);
        written.map_err(|source| LedgerError::Write { name: name.to_owned(), source })?;
        self.serial = serial;
        // the page that was the newest is the other one now
        self.other = Some(self.state.written());
        Ok(())
    }

    /// Contents that nothing needs any more go: of the older page, which stands in for the newest one, no more is needed
    /// than what was committed. While it is not known what that was, only what came since goes.
    fn sweep(&mut self) {
        let newest = self.state.written();
        let Some(other) = &self.other else { return };
        let named = newest.named().chain(other.lasting()).collect::<BTreeSet<_>>();
        self.contents.sweep(&named, self.state.lost);
    }
}

fn source(error: &LedgerError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}
