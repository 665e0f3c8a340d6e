//! Expressions of a rule: each renders to nft text and to the JSON that `nft -j list` prints for it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use sluice_api::types::{Cidr, LinkName, Port};

use super::{Ident, RuleId};

/// One expression, in the order in which nft evaluates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expr {
    /// The packet came in by this link.
    Iif(LinkSelector),
    /// The packet leaves by this link.
    Oif(LinkSelector),
    /// Source address in a network.
    Source(Net),
    /// Destination address in a network.
    Destination(Net),
    /// Connection tracking state, any of these.
    CtState(BTreeSet<CtState>),
    /// The connection was DNATed.
    CtDnat,
    /// Transport protocol, any of these.
    L4(BTreeSet<L4>),
    /// Destination port of a transport protocol.
    DestinationPort(L4, Ports),
    /// Source port of a transport protocol.
    SourcePort(L4, Ports),
    /// Destination port whatever the transport protocol; put an [`Expr::L4`] before it.
    AnyDestinationPort(Ports),
    /// ICMP or ICMPv6 type, any of these; one family only.
    Icmp(BTreeSet<IcmpType>),
    /// The destination is an address of this machine.
    ToSelf,
    /// The packet mark under a mask has this value.
    Mark {
        /// Bits looked at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// The key, concatenated, is an element of the set.
    In(Vec<Key>, Ident),
    /// The verdict that a map has for the key; goes on when it has none.
    Vmap(Vec<Key>, Ident),
    /// Rewrites the source address.
    Snat(Ipv4Addr),
    /// Rewrites the source address to what a map has for the key.
    SnatMap(Vec<Key>, Ident),
    /// Rewrites the destination to what a map has for the key: an address, or an address and a port.
    DnatMap(Vec<Key>, Ident),
    /// Lowers the MSS option to what the route's MTU carries (RFC 4459 3.2).
    ClampMss,
    /// No route leads back to the source by the link the packet came in by (RFC 3704, strict).
    NoReturnPath,
    /// At most so many packets in a time match; `burst` (1 or more) may come at once before the rate applies.
    Limit {
        /// Packets.
        rate: u32,
        /// In which time.
        per: Per,
        /// Packets.
        burst: u32,
    },
    /// The connection's mark under a mask has this value.
    ConnectionMark {
        /// Bits looked at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// Writes the packet's or the connection's mark.
    SetMark(MarkPlace, MarkValue),
    /// Rewrites the destination; with a port that too, after a match of TCP or UDP.
    Dnat(IpAddr, Option<Port>),
    /// Rewrites the source to the address of the link that the packet leaves by.
    Masquerade,
    /// Rewrites the destination to this machine and port, after a match of TCP or UDP.
    Redirect(Port),
    /// Logs the packet to a group of nfnetlink_log, or without one to the kernel's log.
    Log {
        /// Text before it.
        prefix: RuleId,
        /// Number of the group.
        group: Option<u16>,
    },
    /// Refuses the packet and tells the sender; ends the evaluation.
    Reject(RejectWith),
    /// Counts packets and bytes.
    Counter,
    /// Ends the evaluation of the chain.
    Verdict(Verdict),
}

/// One link, or one of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkSelector {
    /// This one.
    One(LinkName),
    /// Loopback, which has no configured name.
    Loopback,
    /// Any element of a set of type [`super::SetType::Link`].
    Set(Ident),
}

/// A network or a named set of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Net {
    /// This network.
    Cidr(Cidr),
    /// This address.
    Host(IpAddr),
}

/// A port or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ports {
    /// This one.
    One(Port),
    /// From the first to the last, both included.
    Range(Port, Port),
}

/// States of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CtState {
    /// Seen in both directions.
    Established,
    /// Belongs to an established one, such as an ICMP error.
    Related,
    /// The first packet.
    New,
    /// Fits no connection.
    Invalid,
}

/// Transport protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum L4 {
    /// TCP, 6.
    Tcp,
    /// UDP, 17.
    Udp,
}

/// ICMP and ICMPv6 types that the skeleton needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum IcmpType {
    /// ICMP 8.
    EchoRequest,
    /// ICMPv6 128.
    EchoRequestV6,
    /// ICMPv6 134.
    RouterAdvertisement,
    /// ICMPv6 135.
    NeighbourSolicitation,
    /// ICMPv6 136.
    NeighbourAdvertisement,
}

/// Parts of a key.
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
    /// Transport protocol.
    L4,
    /// Destination port.
    DestinationPort,
    /// Connection tracking state.
    CtState,
}

/// Ends of evaluation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Let it pass this hook.
    Accept,
    /// Lose it.
    Drop,
    /// Go on after the rule that jumped here.
    Return,
    /// Evaluate a chain, then come back.
    Jump(Ident),
    /// Evaluate a chain, then go on where this one was jumped to from.
    Goto(Ident),
}

/// Units of time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Per {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

/// Where a mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MarkPlace {
    /// On the packet.
    Packet,
    /// On its connection.
    Connection,
}

/// A mark's new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MarkValue {
    /// This number.
    Number(u32),
    /// The whole mark of that place.
    Copy(MarkPlace),
    /// These bits of the mark of that place, the others zero.
    Masked(MarkPlace, u32),
    /// The mark of that place with the bits of a mask replaced by those of a value, which lies within the mask.
    Replaced {
        /// Where the other bits come from.
        from: MarkPlace,
        /// Bits replaced.
        mask: u32,
        /// What they become.
        value: u32,
    },
}

/// What a refused sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RejectWith {
    /// A TCP reset; after a match of TCP.
    TcpReset,
    /// ICMP or ICMPv6: administratively prohibited.
    AdminProhibited,
    /// ICMP or ICMPv6: port unreachable.
    PortUnreachable,
}
