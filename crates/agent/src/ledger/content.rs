//! The configurations themselves: the bytes as they came, each once, in a file named by their digest.
//!
//! Guarantees: what is read has the digest that it is asked for by; a file is on disk before any page names it, and is
//! removed only when the newest page does not, nor the other one as committed.

use std::collections::BTreeSet;
use std::sync::Arc;

use sluice_api::Digest;

use super::{Files, LedgerError};

const PREFIX: &str = "config-";
const SUFFIX: &str = ".json";

fn file_name(digest: &Digest) -> String {
    format!("{PREFIX}{}{SUFFIX}", digest.as_str())
}

/// The files of configurations.
pub(super) struct Contents {
    files: Arc<dyn Files>,
    /// Those known to be whole on disk.
    whole: BTreeSet<Digest>,
}

impl Contents {
    pub(super) fn new(files: Arc<dyn Files>) -> Self {
        Self { files, whole: BTreeSet::new() }
    }

    /// The bytes with this digest. Errors: why they cannot be had.
    pub(super) fn read(&mut self, digest: &Digest) -> Result<Vec<u8>, String> {
        let name = file_name(digest);
        let bytes = self.files.read(&name).map_err(|error| format!("{name}: {error}"))?;
        let bytes = bytes.ok_or_else(|| format!("{name} is missing"))?;
        if Digest::of_bytes(&bytes) != *digest {
            self.whole.remove(digest);
            return Err(format!("{name} is damaged"));
        }
        self.whole.insert(digest.clone());
        Ok(bytes)
    }

    /// Keeps `bytes`, once.
    pub(super) fn keep(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), LedgerError> {
        if self.whole.contains(digest) {
            return Ok(());
        }
        let name = file_name(digest);
        let kept = self.files.replace(&name, bytes);
        kept.map_err(|source| LedgerError::Write { name, source })?;
        self.whole.insert(digest.clone());
        Ok(())
    }

    /// Removes whatever is not in `named`, or of that what this process wrote or read, when `only_known`. What cannot be
    /// removed stays, and is tried again the next time.
    pub(super) fn sweep(&mut self, named: &BTreeSet<&Digest>, only_known: bool) {
        let known: BTreeSet<String> = self.whole.iter().map(file_name).collect();
        let keep: BTreeSet<String> = named.iter().map(|digest| file_name(digest)).collect();
        let present = self.files.list().unwrap_or_default();
        let ours = |name: &String| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
        let ours = |name: &String| ours(name) && (!only_known || known.contains(name));
        for name in present.iter().filter(|name| ours(name) && !keep.contains(*name)) {
            if let Err(error) = self.files.remove(name) {
                tracing::warn!(name, %error, "an old configuration cannot be removed");
            }
        }
        self.whole.retain(|digest| named.contains(digest));
    }
}
