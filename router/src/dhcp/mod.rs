//! The DHCPv4 server (RFC 2131, 2132, 3442): reservations, and loans from pools where a network has them.
//!
//! Guarantees: the core ([`Server`]) is pure (bytes and time in, replies out) and never panics on input. A guest's address
//! follows from the configuration, so no restart can lose it. A client that the configuration does not name gets no answer of
//! any kind unless its network lends; what is lent is written down before the client is told. dhcproto reads and writes
//! the messages. Not here: DHCPv6, updates of DNS (names come from the configuration).

mod counters;
pub mod desk;
mod frame;
mod index;
mod journal;
mod lent;
mod link;
mod log;
mod options;
mod pools;
mod probe;
pub mod process;
mod reply;
mod server;
pub mod service;
mod slice;
mod state;
mod told;
mod wire;

pub use counters::Counters;
pub use frame::{FRAME_OVERHEAD, frame};
pub use lent::{Change, OFFER_HOLD, QUARANTINE};
pub(crate) use link::PROBES;
pub use server::{Arrival, Destination, DropReason, Event, NakReason, Outcome, Reply, Server};
pub use slice::{DhcpSlice, NetworkSlice, Reservation, slice};
pub use state::{DECLINE_HOLD, DECLINE_PAUSE};
pub use wire::{Kind, Malformed, Message, decode};

#[cfg(test)]
mod tests;

/// UDP port that servers and relays listen on (RFC 2131 4.1).
pub const SERVER_PORT: u16 = 67;
/// UDP port that clients listen on (RFC 2131 4.1).
pub const CLIENT_PORT: u16 = 68;
