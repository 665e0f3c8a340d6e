//! The blobs of what is in force, was and may be: which are kept, and which are missing.

use std::collections::BTreeSet;

use sluice_api::types::BlobDigest;

use super::alarms::Trouble;
use super::{Engine, Target};
use crate::appliance::{Appliance, Configuration};
use crate::blobs::Blobs;
use crate::ledger::Entry;

impl<A: Appliance> Engine<A> {
    /// The blobs that `target` names. Missing ones are an alarm: a push that misses any is not tried, so these were lost.
    pub(super) fn blobs_of(&mut self, target: &Target<A>) -> Blobs {
        let wanted = target.as_ref().map(|entry| entry.config.blobs()).unwrap_or_default();
        let (blobs, missing) = self.blobs.collect(&wanted);
        if missing.is_empty() {
            self.clear(Trouble::Blobs);
        } else {
            let text = format!("{} blobs of the configuration are lost", missing.len());
            self.alarm(Trouble::Blobs, &text);
        }
        self.missing = missing;
        blobs
    }

    /// The blobs of `entry` that are not here.
    pub(super) fn missing_of(&self, entry: &Entry<A::Config>) -> Vec<BlobDigest> {
        self.blobs.collect(&entry.config.blobs()).1
    }

    /// True when a blob that was missing has come.
    pub(super) fn blobs_came(&self) -> bool {
        self.missing.iter().any(|digest| self.blobs.has(digest))
    }

    /// Tells the store which blobs stay.
    pub(super) fn keep_blobs(&self) {
        let state = self.ledger.state();
        let entries = [&state.committed, &state.pending].into_iter().flatten();
        let mut named: BTreeSet<_> = entries.flat_map(|entry| entry.config.blobs()).collect();
        named.extend(&self.former_blobs);
        self.blobs.keep(named);
    }

    /// The blobs of the configuration before the committed one, from the disk.
    pub(super) fn read_former_blobs(&mut self) {
        let Some(former) = self.ledger.state().former.clone() else { return };
        let bytes = self.ledger.content(&former.digest).ok();
        let config = bytes.and_then(|bytes| A::Config::parse(&bytes).ok());
        self.former_blobs = config.map(|(config, _)| config.blobs()).unwrap_or_default();
    }
}
