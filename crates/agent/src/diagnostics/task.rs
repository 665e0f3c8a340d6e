//! What the agent asks of the process that reads packets for it, and what that one answers: a line of JSON each.
//!
//! Guarantees: an answer says what a packet means and is never a packet, but for a capture, whose file follows as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sluice_api::report::ProbeOutcome;
use sluice_api::types::MacAddr;

use super::filter::Filter;

/// What to look for in what comes by the socket that it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Task {
    /// What comes back about echo requests to this peer with this identifier.
    Echo {
        /// Whom they are sent to; its family is the socket's.
        peer: IpAddr,
        /// The identifier.
        id: u16,
    },
    /// Who says by ARP that it has this address.
    Arp(Ipv4Addr),
    /// Who says by neighbour discovery that it has this address.
    Neighbour(Ipv6Addr),
    /// A pcap file of what passes.
    Capture(Take),
}

/// What a capture keeps, and when it ends: at the first of its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Take {
    /// What to keep.
    pub(super) filter: Filter,
    /// Most packets.
    pub(super) packets: u32,
    /// Most bytes of the file.
    pub(super) bytes: usize,
    /// Seconds.
    pub(super) seconds: u8,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    /// It listens: what is asked from now on is not missed.
    Ready,
    /// A message about an echo request.
    Echo {
        /// The request's number.
        sequence: u16,
        /// What came of it.
        outcome: ProbeOutcome,
        /// Why something cannot be reached.
        reason: Option<String>,
        /// Who says so.
        from: IpAddr,
    },
    /// Who has the address.
    Holder(MacAddr),
}
