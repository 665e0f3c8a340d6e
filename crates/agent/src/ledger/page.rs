//! One page of the ledger: a version of it in a file of its own, sealed by a digest.
//!
//! Guarantees: a page of which any byte was changed or cut off is not read as a page. The seal is over the digests of the
//! configurations, not over their text once more: reading an entry proves that its text has its digest.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sluice_api::Digest;

use super::{Entry, Files, Seen, State};

/// Two files, written in turn, so that one is always whole even on a file system that forgets.
pub(super) const NAMES: [&str; 2] = ["ledger-a.json", "ledger-b.json"];

/// One version of the ledger on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page<S> {
    serial: u64,
    /// Of the serial and of what [`Sealed`] holds of the state.
    digest: Digest,
    state: S,
}

/// What a page's digest is of. With the serial, since a damaged one would else let the older page win.
#[derive(Serialize)]
struct Sealed<'a> {
    serial: u64,
    committed: Option<Seen>,
    pending: Option<Seen>,
    tried: &'a [Seen],
    lost: bool,
}

/// What the two pages say together.
pub(super) struct Found<C> {
    /// The newest that could be read, and its serial number.
    pub(super) best: Option<(u64, State<C>)>,
    /// True when the other page does not hold what the best one has as committed.
    pub(super) single: bool,
    /// What is wrong.
    pub(super) alarms: Vec<String>,
}

/// The bytes of a page.
pub(super) fn seal<C: Serialize>(
    serial: u64,
    state: &State<C>,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Page { serial, digest: digest(serial, state)?, state })
}

fn digest<C>(serial: u64, state: &State<C>) -> Result<Digest, serde_json::Error> {
    let seen =
        |entry: &Entry<C>| Seen { generation: entry.generation, digest: entry.digest.clone() };
    Digest::of(&Sealed {
        serial,
        committed: state.committed.as_ref().map(seen),
        pending: state.pending.as_ref().map(seen),
        tried: &state.tried,
        lost: state.lost,
    })
}

/// Reads both pages.
pub(super) fn find<C: DeserializeOwned>(files: &dyn Files) -> Found<C> {
    let mut alarms = Vec::new();
    let mut missing = Vec::new();
    let mut pages: Vec<(u64, State<C>)> = Vec::new();
    for name in NAMES {
        match read(files, name) {
            Ok(Some(page)) => pages.push(page),
            Ok(None) => missing.push(name),
            Err(reason) => alarms.push(format!("ledger file {name} is unreadable: {reason}")),
        }
    }
    pages.sort_by_key(|(serial, _)| *serial);
    let best = pages.pop();
    // the first write leaves one page, every later one two
    if best.as_ref().is_some_and(|(serial, _)| *serial > 1) {
        alarms.extend(missing.iter().map(|name| format!("ledger file {name} is missing")));
    }
    let single = best.as_ref().is_some_and(|(_, state)| {
        let other = pages.pop();
        committed(state).is_some()
            && other.as_ref().and_then(|(_, other)| committed(other)) != committed(state)
    });
    Found { best, single, alarms }
}

fn committed<C>(state: &State<C>) -> Option<(sluice_api::types::Generation, &Digest)> {
    state.committed.as_ref().map(|entry| (entry.generation, &entry.digest))
}

fn read<C: DeserializeOwned>(
    files: &dyn Files,
    name: &str,
) -> Result<Option<(u64, State<C>)>, String> {
    let Some(bytes) = files.read(name).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let page: Page<State<C>> = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let sealed = digest(page.serial, &page.state).map_err(|error| error.to_string())?;
    if sealed != page.digest {
        return Err("its digest does not match".to_owned());
    }
    Ok(Some((page.serial, page.state)))
}
