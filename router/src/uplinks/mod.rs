//! Uplinks that are watched: each probe goes out by its own uplink, and while one is down, new connections take another.
//!
//! Guarantees: an uplink is down after so many probes in a row without an answer, and up after so many with one; a probe
//! leaves by the link that it is about, with an address of it; with no uplink up, nothing changes. Connections that are open
//! keep their uplink and the address they leave with, in both directions. Not here: marks and routing tables, which are
//! `compile`'s.

mod health;
pub mod process;
pub mod seen;
mod slice;
mod watch;

pub use slice::{UplinksSlice, Watched, slice};
