//! What goes while the kernel is read.

use std::collections::BTreeSet;

use sluice_sys::nft::Counters;

/// What changes took away since a look at the kernel began.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) rules: BTreeSet<(String, u64)>,
    pub(super) elements: BTreeSet<(String, String)>,
}

impl Gone {
    /// Notes what goes with a change.
    pub(super) fn note(&mut self, rules: &Counters, usage: &Counters) {
        self.rules.extend(rules.each.keys().cloned());
        self.elements.extend(usage.elements.keys().cloned());
    }
}
