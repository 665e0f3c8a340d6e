//! The DHCPv4 server (RFC 2131, 2132, 3442): reservations only, answered from an index in memory.
//!
//! Guarantees: the core ([`Server`]) is pure (bytes and time in, replies out), never panics on input and keeps no state
//! that a restart could lose, because every address follows from the configuration. A client that the configuration does
//! not name gets no answer of any kind. dhcproto reads and writes the messages. Not here: pools, leases on disk, DHCPv6,
//! updates of DNS (names come from the configuration too).

mod counters;
pub mod desk;
mod frame;
mod index;
mod link;
mod log;
mod options;
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
