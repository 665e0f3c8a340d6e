//! What of a packet or its connection a set, a map or a hash is asked about.

use serde::{Deserialize, Serialize};

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// Link it came in by.
    Iif,
    /// Link it leaves by.
    Oif,
    /// IPv4 source.
    SourceV4,
    /// IPv4 destination.
    DestinationV4,
    /// IPv6 source.
    SourceV6,
    /// IPv6 destination.
    DestinationV6,
    /// Ethernet source, of packets that came in by Ethernet.
    SourceMac,
    /// Transport protocol.
    L4,
    /// Source port.
    SourcePort,
    /// Destination port.
    DestinationPort,
    /// IPv4 destination of the connection's first packet, as it came in.
    OriginalDestinationV4,
    /// IPv6 destination of the connection's first packet, as it came in.
    OriginalDestinationV6,
    /// Destination port of the connection's first packet, as it came in. In a concatenation only for nft 1.1 and later.
    OriginalDestinationPort,
    /// The packet's mark.
    Mark,
    /// The connection's mark.
    ConnectionMark,
}
