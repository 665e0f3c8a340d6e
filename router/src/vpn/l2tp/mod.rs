//! L2TP version 2 (RFC 2661) as the server's end, the LNS: codec, reliable control channel, tunnels and calls.
//!
//! Guarantees: bytes and time in, actions out; no input panics, and none makes a tunnel or a call outlive its timers;
//! what one peer may hold is bounded. A control message counts only when it comes from the peer that opened the tunnel,
//! and a peer is told apart by mark as well as by address, so that clients behind one NAT do not meet.
//! Not here: PPP, sockets, the kernel's data path. Calls that we would make (outgoing calls) are refused: road warriors
//! call us.

mod avp;
mod channel;
mod datagram;
mod hidden;
mod lns;
mod message;
mod session;
mod tunnel;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

pub use datagram::{Control, Data, Datagram, Malformed, decode, encode_data};
pub use lns::{Dropped, Lns, Settings};
pub use message::{End, ErrorCode, StopReason};

#[cfg(test)]
pub(super) mod tests;

/// UDP port of both ends (RFC 2661 8.1).
pub const PORT: u16 = 1701;

/// The other end of a tunnel, as the socket saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Mark of the security association that brought the datagram; 0 without one. Clients behind one NAT may share
    /// everything else.
    pub mark: u32,
    /// Where it comes from.
    pub remote: SocketAddrV4,
    /// The address of ours that it was sent to.
    pub local: Ipv4Addr,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (mark {})", self.remote, self.mark)
    }
}

/// One call, by the ids that we gave to it and to its tunnel. An id is used again only long after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// Our id of the tunnel.
    pub tunnel: u16,
    /// Our id of the call.
    pub session: u16,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tunnel, self.session)
    }
}

/// What the caller is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram.
    Send {
        /// To whom, by the same mark and from the same address.
        peer: Peer,
        /// The datagram's content.
        bytes: Vec<u8>,
    },
    /// A tunnel is set up: make its data path.
    TunnelUp {
        /// Our id of it.
        tunnel: u16,
        /// The peer's id of it.
        peer_tunnel: u16,
        /// The other end.
        peer: Peer,
        /// The peer's name for itself, printable.
        host: String,
    },
    /// A tunnel that was set up is gone; its calls went down before.
    TunnelDown {
        /// Our id of it.
        tunnel: u16,
        /// Why.
        end: End,
    },
    /// A call is set up: PPP may begin.
    SessionUp {
        /// The call.
        key: SessionKey,
        /// The peer's id of it.
        peer_session: u16,
        /// The peer asked for sequence numbers on data.
        sequenced: bool,
    },
    /// A call that was set up is gone.
    SessionDown {
        /// The call.
        key: SessionKey,
        /// Why.
        end: End,
    },
}
