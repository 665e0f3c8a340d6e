//! What is counted about requests and connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Connections accepted of guests.
    pub(super) connections: AtomicU64,
    /// Connections closed because their guest, or all guests, had too many.
    pub(super) evicted: AtomicU64,
    /// Connections that ended by a fault: malformed, too large, too slow.
    pub(super) broken: AtomicU64,
    /// Requests answered with 2xx.
    pub(super) served: AtomicU64,
    /// Requests answered with 404.
    pub(super) not_found: AtomicU64,
    /// Requests answered otherwise.
    pub(super) refused: AtomicU64,
    /// Connections and requests of nobody's address.
    pub(super) strangers_address: AtomicU64,
    /// Connections and requests of a guest's address with another MAC address.
    pub(super) strangers_mac: AtomicU64,
}

/// Counts one more.
pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// All of them by name.
    pub(super) fn named(&self) -> BTreeMap<String, u64> {
        [
            ("connections", &self.connections),
            ("evicted", &self.evicted),
            ("broken", &self.broken),
            ("served", &self.served),
            ("not_found", &self.not_found),
            ("refused", &self.refused),
            ("strangers_address", &self.strangers_address),
            ("strangers_mac", &self.strangers_mac),
        ]
        .map(|(name, counter)| (name.to_owned(), counter.load(Ordering::Relaxed)))
        .into()
    }
}
