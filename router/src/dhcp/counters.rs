//! What the server counts, by message type and by reason of silence.

use std::collections::BTreeMap;

/// Totals since the process started. Keys are the lower-case names of events, such as `ack` or `unknown-client`;
/// their number is fixed, so no client can make this grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Well-formed messages by type.
    pub received: BTreeMap<&'static str, u64>,
    /// Replies by type.
    pub sent: BTreeMap<&'static str, u64>,
    /// Messages without a reply, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Options left out because the reply had no room for them.
    pub options_omitted: u64,
}

impl Counters {
    pub(crate) fn bump(map: &mut BTreeMap<&'static str, u64>, key: &'static str) {
        *map.entry(key).or_default() += 1;
    }
}
