//! The ledger: which configuration is committed, which one is under way, and which numbers were tried in vain.
//!
//! Guarantees:
//! - after a crash or a power cut at any point it reads as the state before a write or after it;
//! - from the first commit on, each of the two pages alone holds a committed configuration, so that whatever happens to
//!   one of them leaves one: the newest, except between the two writes of a commit, when it may be the one before;
//! - a page that is damaged or missing is an alarm, and is written again from the other one;
//! - when no commit can be read, the ledger says that it was lost, over restarts, until the next one; never "empty".
//!
//! Not guaranteed: a page that somebody rewrote on purpose, digest included, is believed.

mod entry;
mod page;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sluice_api::Digest;
use sluice_api::types::Generation;
use thiserror::Error;

pub use entry::Entry;
use page::{Found, NAMES};

/// Where the ledger is kept: whole named files, replaced durably.
pub trait Files: Send + Sync {
    /// The file's content; `None` when there is no such file.
    fn read(&self, name: &str) -> std::io::Result<Option<Vec<u8>>>;

    /// Replaces the file: once this returns, a power cut does not bring the old content back; before that, it leaves
    /// the old or the new one, whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()>;
}

/// Why the ledger could not be written.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file could not be written; retrying can help when the disk was full.
    #[error("cannot write the ledger file {name}")]
    Write {
        /// Which file.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The content could not be turned into JSON, which is a defect.
    #[error("cannot encode the ledger")]
    Encode(#[from] serde_json::Error),
}

/// Numbers that were tried and not committed; older ones are forgotten.
const TRIED: usize = 16;

/// Number and digest of a configuration that was tried: the same number must not come with other content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its number.
    pub generation: Generation,
    /// Digest of its content.
    pub digest: Digest,
}

/// What the ledger holds. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "C: DeserializeOwned"))]
pub struct State<C> {
    /// The last good configuration.
    pub committed: Option<Entry<C>>,
    /// The one under way or waiting for its confirmation.
    pub pending: Option<Entry<C>>,
    /// Those tried since the last commit, the latest last; [`TRIED`] at most.
    pub tried: Vec<Seen>,
    /// True when what may have held a commit could not be read, and nothing has been committed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

impl<C> Default for State<C> {
    fn default() -> Self {
        Self { committed: None, pending: None, tried: Vec::new(), lost: false }
    }
}

/// The ledger and where it is kept.
pub struct Ledger<C> {
    files: Arc<dyn Files>,
    serial: u64,
    state: State<C>,
    /// True when only one page is known to hold what was committed.
    single: bool,
}

impl<C: Clone + Serialize + DeserializeOwned> Ledger<C> {
    /// Reads the ledger; the alarms say what could not be read. A page that cannot stand in for the other one is
    /// written anew.
    pub fn open(files: Arc<dyn Files>) -> (Self, Vec<String>) {
        let Found { best, single, mut alarms } = page::find(&*files);
        let (serial, mut state) = best.unwrap_or_default();
        if state.lost {
            alarms.push("the ledger was lost, and nothing has been committed since".to_owned());
        }
        // what cannot be read may have held a commit
        state.lost |= state.committed.is_none() && !alarms.is_empty();
        let mut ledger = Self { files, serial, state, single };
        if let Err(error) = ledger.mirror() {
            alarms.push(format!("{error}: {}", source(&error)));
        }
        (ledger, alarms)
    }

    /// What it holds.
    pub fn state(&self) -> &State<C> {
        &self.state
    }

    /// Records that `entry` is about to be brought into force.
    pub fn begin(&mut self, entry: Entry<C>) -> Result<(), LedgerError> {
        let seen = Seen { generation: entry.generation, digest: entry.digest.clone() };
        let mut next = self.state.clone();
        next.pending = Some(entry);
        next.tried.retain(|known| known.generation != seen.generation);
        next.tried.push(seen);
        let surplus = next.tried.len().saturating_sub(TRIED);
        next.tried.drain(..surplus);
        self.write(next)
    }

    /// Makes the pending configuration the last good one. It is once one page says so; that the other one does not yet
    /// is no failure, and is for [`Self::mirror`] to mend.
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        let mut next = self.state.clone();
        if let Some(pending) = next.pending.take() {
            // numbers up to the committed one are refused as they are
            next.tried.retain(|known| known.generation > pending.generation);
            next.committed = Some(pending);
            next.lost = false;
        }
        self.write(next)?;
        self.single = true;
        if let Err(error) = self.mirror() {
            tracing::warn!(%error, source = source(&error), "only one ledger page has the commit");
        }
        Ok(())
    }

    /// Writes the second page when only one holds what was committed; does nothing otherwise.
    pub fn mirror(&mut self) -> Result<(), LedgerError> {
        if self.single {
            self.put(&self.state.clone())?;
            self.single = false;
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
        next.pending = None;
        let written = self.write(next);
        self.state.pending = None;
        written
    }

    fn write(&mut self, next: State<C>) -> Result<(), LedgerError> {
        self.put(&next)?;
        self.state = next;
        Ok(())
    }

    /// Writes the page whose turn it is: never the newest one that could be read.
    fn put(&mut self, state: &State<C>) -> Result<(), LedgerError> {
        let serial = self.serial + 1;
        let name = if serial.is_multiple_of(2) { NAMES[0] } else { NAMES[1] };
        let page = page::seal(serial, state)?;
        self.files.replace(name, &page).map_err(|source| LedgerError::Write { name, source })?;
        self.serial = serial;
        Ok(())
    }
}

fn source(error: &LedgerError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}
