//! One page of the ledger: a version of it in a file of its own, sealed by a digest.
//!
//! Guarantees: a page of which any byte was changed or cut off is not read as a page. A page holds numbers and digests;
//! what they are of is in files of its own ([`super::content`]), so a page is small whatever a configuration is.

use serde::{Deserialize, Serialize};
use sluice_api::Digest;

use super::{Files, Seen};

/// Two files, written in turn, so that one is always whole even on a file system that forgets.
pub(super) const NAMES: [&str; 2] = ["ledger-a.json", "ledger-b.json"];

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) committed: Option<Seen>,
    /// Committed before that one.
    pub(super) former: Option<Seen>,
    pub(super) pending: Option<Seen>,
    pub(super) tried: Vec<Seen>,
    pub(super) lost: bool,
    /// In force since live connections were last judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unjudged: Vec<Seen>,
}

impl Written {
    /// The contents of what was committed.
    pub(super) fn lasting(&self) -> impl Iterator<Item = &Digest> {
        [&self.committed, &self.former].into_iter().flatten().map(|seen| &seen.digest)
    }

    /// The contents that it names.
    pub(super) fn named(&self) -> impl Iterator<Item = &Digest> {
        let others = self.pending.iter().chain(&self.unjudged).map(|seen| &seen.digest);
        self.lasting().chain(others)
    }
}

/// One version of the ledger on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    serial: u64,
    /// Of the serial and the state: a damaged serial would else let the older page win.
    digest: Digest,
    state: Written,
}

/// What the two pages say together.
pub(super) struct Found {
    /// The newest that could be read, and its serial number.
    pub(super) best: Option<(u64, Written)>,
    /// The other one, if it could be read.
    pub(super) other: Option<Written>,
    /// What is wrong.
    pub(super) alarms: Vec<String>,
}

/// The bytes of a page.
pub(super) fn seal(serial: u64, state: &Written) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Page { serial, digest: digest(serial, state)?, state: state.clone() })
}

fn digest(serial: u64, state: &Written) -> Result<Digest, serde_json::Error> {
    Digest::of(&(serial, state))
}

/// Reads both pages.
pub(super) fn find(files: &dyn Files) -> Found {
    let mut alarms = Vec::new();
    let mut missing = Vec::new();
    let mut pages = Vec::new();
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
    Found { best, other: pages.pop().map(|(_, state)| state), alarms }
}

fn read(files: &dyn Files, name: &str) -> Result<Option<(u64, Written)>, String> {
    let Some(bytes) = files.read(name).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let page: Page = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let sealed = digest(page.serial, &page.state).map_err(|error| error.to_string())?;
    if sealed != page.digest {
        return Err("its digest does not match".to_owned());
    }
    Ok(Some((page.serial, page.state)))
}
