//! The connections that the kernel tracks: read them, end one, and what the tracking table counted.
//!
//! Guarantees: a listing is whole, or it is read again: the kernel says when the table changed under a dump; ending one
//! entry ends that entry, by its number, and no later one between the same two ends. Never flushes.
//! Messages are those of netlink-packet-netfilter, its raw attributes where it has no types.

mod message;

use std::io;

use serde::{Deserialize, Serialize};
use sluice_rules::eval::Flow;

use crate::netfilter::ask;

/// Times that a listing is begun, while the table changes under it.
const LOOKS: usize = 5;

/// What the tracking table holds and has counted since the machine started, over all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingCounts {
    /// Connections now.
    pub entries: u32,
    /// Connections that it may hold.
    pub limit: u32,
    /// Packets lost because their connection could not be entered.
    pub insert_failed: u64,
    /// Packets lost because the table was full.
    pub dropped: u64,
    /// Connections that had to go before their time, to make room.
    pub early_dropped: u64,
}

/// All connections of this network namespace.
pub(crate) async fn list() -> io::Result<Vec<Flow>> {
    for _ in 0..LOOKS {
        let mut flows = Vec::new();
        // what cannot be read is of a protocol that we do not know; it is not ours to end
        if ask(&message::list(), |bytes| flows.extend(message::flow(bytes))).await? {
            return Ok(flows);
        }
    }
    Err(io::Error::other("the table changes faster than it can be read"))
}

/// Ends a connection's entry. One that is gone is ended.
pub(crate) async fn end(flow: &Flow) -> io::Result<()> {
    match ask(&message::delete(flow), |_| {}).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer.map(drop),
    }
}

/// What the table holds and has counted.
pub(crate) async fn counts() -> io::Result<TrackingCounts> {
    let mut counts = TrackingCounts::default();
    ask(&message::totals(), |bytes| message::add_totals(bytes, &mut counts)).await?;
    ask(&message::each_processor(), |bytes| message::add_processor(bytes, &mut counts)).await?;
    Ok(counts)
}
