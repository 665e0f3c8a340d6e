//! The ledger: which configuration is committed, which one is under way, and which number was the highest.
//!
//! Guarantees: after a crash or a power cut at any point it reads as the state before a write or after it; a file that
//! cannot be read is an alarm, and then the last one that could be read counts, never "empty".

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_api::Digest;
use sluice_api::types::Generation;
use thiserror::Error;

/// Where the ledger is kept: whole named files, replaced durably.
pub trait Files: Send + Sync {
    /// The file's content; `None` when there is no such file.
    fn read(&self, name: &str) -> std::io::Result<Option<Vec<u8>>>;

    /// Replaces the file: once this returns, a power cut does not bring the old content back; before that, it leaves
    /// the old or the new one, whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> std::io::Result<()>;
}

/// Two names, written in turn, so that one is always whole even on a file system that forgets.
const NAMES: [&str; 2] = ["ledger-a.json", "ledger-b.json"];

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

/// One configuration by number and content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<C> {
    /// Its number.
    pub generation: Generation,
    /// Digest of its content.
    pub digest: Digest,
    /// Itself.
    pub config: C,
}

/// Number and digest of the newest configuration ever tried: the same number must not come with other content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its number.
    pub generation: Generation,
    /// Digest of its content.
    pub digest: Digest,
}

/// What the ledger holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State<C> {
    /// The last good configuration.
    pub committed: Option<Entry<C>>,
    /// The one under way or waiting for its confirmation.
    pub pending: Option<Entry<C>>,
    /// The newest one ever tried.
    pub seen: Option<Seen>,
}

impl<C> Default for State<C> {
    fn default() -> Self {
        Self { committed: None, pending: None, seen: None }
    }
}

/// One version of the ledger on disk; the digest is of `state` as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    serial: u64,
    digest: Digest,
    state: Box<serde_json::value::RawValue>,
}

/// The ledger and where it is kept.
pub struct Ledger<C> {
    files: Arc<dyn Files>,
    serial: u64,
    state: State<C>,
}

impl<C: Clone + Serialize + serde::de::DeserializeOwned> Ledger<C> {
    /// Reads the ledger; the alarms say what could not be read.
    pub fn open(files: Arc<dyn Files>) -> (Self, Vec<String>) {
        let mut alarms = Vec::new();
        let mut best: Option<(u64, State<C>)> = None;
        for name in NAMES {
            match read_page(&*files, name) {
                Ok(Some((serial, state))) if best.as_ref().is_none_or(|(old, _)| serial > *old) => {
                    best = Some((serial, state));
                }
                Ok(_) => {}
                Err(reason) => alarms.push(format!("ledger file {name} is unreadable: {reason}")),
            }
        }
        let (serial, state) = best.unwrap_or_default();
        (Self { files, serial, state }, alarms)
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
        next.seen = Some(seen);
        self.write(next)
    }

    /// Makes the pending configuration the last good one.
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        let mut next = self.state.clone();
        if let Some(pending) = next.pending.take() {
            next.committed = Some(pending);
        }
        self.write(next)
    }

    /// Forgets the pending configuration; its number and digest stay known.
    ///
    /// It is forgotten even when that cannot be written: with a full disk we would else go on working towards a
    /// configuration that was given up. The file still has it as pending, which a restart gives up too.
    pub fn abandon(&mut self) -> Result<(), LedgerError> {
        let mut next = self.state.clone();
        next.pending = None;
        let written = self.write(next);
        self.state.pending = None;
        written
    }

    fn write(&mut self, next: State<C>) -> Result<(), LedgerError> {
        let serial = self.serial + 1;
        let name = if serial.is_multiple_of(2) { NAMES[0] } else { NAMES[1] };
        let state = serde_json::value::to_raw_value(&next)?;
        let digest = Digest::of_bytes(state.get().as_bytes());
        let page = serde_json::to_vec(&Page { serial, digest, state })?;
        self.files.replace(name, &page).map_err(|source| LedgerError::Write { name, source })?;
        self.serial = serial;
        self.state = next;
        Ok(())
    }
}

fn read_page<C: serde::de::DeserializeOwned>(
    files: &dyn Files,
    name: &str,
) -> Result<Option<(u64, State<C>)>, String> {
    let Some(bytes) = files.read(name).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let page: Page = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if Digest::of_bytes(page.state.get().as_bytes()) != page.digest {
        return Err("its digest does not match".to_owned());
    }
    let state = serde_json::from_str(page.state.get()).map_err(|error| error.to_string())?;
    Ok(Some((page.serial, state)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::Mutex;

    use super::*;

    /// A disk with room for so many writes.
    struct Disk(Mutex<(usize, BTreeMap<String, Vec<u8>>)>);

    impl Files for Disk {
        fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(self.0.lock().unwrap().1.get(name).cloned())
        }

        fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            let mut disk = self.0.lock().unwrap();
            disk.0 = disk.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            disk.1.insert(name.to_owned(), bytes.to_owned());
            Ok(())
        }
    }

    fn entry(number: u64) -> Entry<u64> {
        let generation = number.try_into().unwrap();
        Entry { generation, digest: Digest::of_bytes(b"x"), config: number }
    }

    #[test]
    fn what_is_given_up_is_forgotten_even_on_a_full_disk() {
        let disk = Arc::new(Disk(Mutex::new((3, BTreeMap::new()))));
        let (mut ledger, _) = Ledger::open(Arc::clone(&disk) as Arc<dyn Files>);
        ledger.begin(entry(1)).unwrap();
        ledger.commit().unwrap();
        ledger.begin(entry(2)).unwrap();
        assert!(ledger.commit().is_err() && ledger.abandon().is_err());
        assert_eq!(ledger.state().pending, None);
        assert_eq!(ledger.state().committed, Some(entry(1)));
        let (again, alarms) = Ledger::<u64>::open(disk);
        assert_eq!((again.state().committed.clone(), alarms), (Some(entry(1)), Vec::new()));
    }

    #[test]
    fn a_damaged_page_is_an_alarm_and_the_other_one_counts() {
        let disk = Arc::new(Disk(Mutex::new((9, BTreeMap::new()))));
        let (mut ledger, _) = Ledger::open(Arc::clone(&disk) as Arc<dyn Files>);
        ledger.begin(entry(1)).unwrap();
        ledger.commit().unwrap();
        ledger.begin(entry(2)).unwrap();
        for (name, bytes) in &mut disk.0.lock().unwrap().1 {
            if name == "ledger-b.json" {
                bytes.truncate(bytes.len() / 2);
            }
        }
        let (again, alarms) = Ledger::<u64>::open(disk);
        assert_eq!(again.state().committed, Some(entry(1)));
        assert_eq!(alarms.len(), 1, "{alarms:?}");
    }
}
