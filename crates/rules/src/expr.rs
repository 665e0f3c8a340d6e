//! Expressions of a rule: what it looks at and what it does. Each is lowered to nft's statements in one place
//! (`tree/lower.rs`) and evaluated in one place (`eval/expr.rs`).

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sluice_api::types::{Cidr, LinkName, Port};

use crate::{AddressSpan, IcmpType, Ident, IpVersion, Key, L4, Protocol, RuleId, Span};

/// One expression, in the order in which nft evaluates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expr {
    /// The packet came in by this link.
    Iif(LinkSelector),
    /// The packet leaves by this link.
    Oif(LinkSelector),
    /// IP version.
    Version(IpVersion),
    /// Source address.
    Source(Net),
    /// Destination address.
    Destination(Net),
    /// Connection tracking state, any of these.
    CtState(BTreeSet<CtState>),
    /// The connection's address was translated, in any of these ways.
    CtStatus(BTreeSet<CtStatus>),
    /// The packet goes this way of its connection.
    CtDirection(Direction),
    /// Source of the connection's first packet, before any translation.
    OriginalSource(Net),
    /// Destination of the connection's first packet, before any translation.
    OriginalDestination(Net),
    /// Destination port of the connection's first packet, before any translation; of this protocol.
    OriginalDestinationPort(L4, Ports),
    /// Transport protocol, any of these.
    L4(BTreeSet<L4>),
    /// IP protocol, any of these.
    Protocol(BTreeSet<Protocol>),
    /// Destination port of a transport protocol.
    DestinationPort(L4, Ports),
    /// Source port of a transport protocol.
    SourcePort(L4, Ports),
    /// Destination port whatever the transport protocol; put an [`Expr::L4`] of several before it.
    AnyDestinationPort(Ports),
    /// ICMP or ICMPv6 type, any of these; one version only.
    Icmp(BTreeSet<IcmpType>),
    /// ICMP or ICMPv6 type and code.
    IcmpCode(IcmpType, u8),
    /// The destination is an address of this machine.
    ToSelf,
    /// The destination is of any of these kinds.
    DestinationKind(BTreeSet<AddressKind>),
    /// The packet's mark under a mask has this value.
    Mark {
        /// Bits looked at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// The connection's mark under a mask has this value.
    ConnectionMark {
        /// Bits looked at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// The connection has this label.
    Label(Label),
    /// The packet is of a socket of any of these users, by number.
    SocketUser(BTreeSet<u32>),
    /// What IPsec did or will do with the packet.
    Ipsec(IpsecWay, Ipsec),
    /// The key, concatenated, is an element of the set.
    In(Vec<Key>, Ident),
    /// The key, concatenated, is no element of the set.
    NotIn(Vec<Key>, Ident),
    /// The verdict that a map has for the key; goes on when it has none.
    Vmap(Vec<Key>, Ident),
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
    /// What is more than so many packets in a time matches: the opposite of [`Expr::Limit`].
    OverLimit {
        /// Packets.
        rate: u32,
        /// In which time.
        per: Per,
        /// Packets.
        burst: u32,
    },
    /// Rewrites the source address.
    Snat(IpAddr),
    /// Rewrites the source address to what a map has for the key; goes on when it has none.
    SnatMap(IpVersion, Vec<Key>, Ident),
    /// Rewrites the source to the address of the link that the packet leaves by.
    Masquerade,
    /// Rewrites the destination; with a port that too, after a match of TCP or UDP.
    Dnat(IpAddr, Option<Port>),
    /// Rewrites the destination to what a map has for the key, an address or an address and a port; goes on when it has
    /// none. Without a port the packet's own is kept. A key or value with a port wants a match of TCP, UDP or both before.
    DnatMap(IpVersion, Vec<Key>, Ident),
    /// Rewrites the destination to one of several, after a match of TCP or UDP; drops the packet when there is none.
    Balance(Spread, Targets),
    /// Rewrites the destination to this machine; with a port that too, after a match of TCP or UDP.
    Redirect(Option<Port>),
    /// Lowers the MSS option of packets that open a TCP connection to what the route's MTU carries (RFC 4459 3.2).
    ClampMss,
    /// Writes the packet's or the connection's mark.
    SetMark(MarkPlace, MarkValue),
    /// Gives the connection a label, besides those that it has.
    SetLabel(Label),
    /// The connection is not tracked; in a chain before tracking.
    NoTrack,
    /// A helper of connection tracking looks into the connection, after a match of its protocol.
    CtHelper(Ident),
    /// Packets of the connection to come are forwarded by a flowtable, past these chains.
    Offload(Ident),
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
    /// Counts packets and bytes in a named counter.
    NamedCounter(Ident),
    /// Counts packets and bytes in the counter that a map has for the key; goes on when it has none.
    CounterMap(Vec<Key>, Ident),
    /// Ends the evaluation of the chain.
    Verdict(Verdict),
}

/// One link, or one of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkSelector {
    /// This one.
    One(LinkName),
    /// Any but this one.
    Not(LinkName),
    /// All whose names begin like this.
    Beginning(LinkName),
    /// Loopback, which has no configured name.
    Loopback,
    /// Any element of a set of type [`crate::SetType::Link`].
    Set(Ident),
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Net {
    /// Those of this network.
    Cidr(Cidr),
    /// This one.
    Host(IpAddr),
    /// Those from one to another.
    Span(AddressSpan),
    /// All of the network's IP version but those of the network.
    Outside(Cidr),
    /// Any element of a set of type [`crate::SetType::Ipv4`] or [`crate::SetType::Ipv6`], as the version says.
    Set(IpVersion, Ident),
    /// All of the IP version but those of the set.
    NotSet(IpVersion, Ident),
}

/// Ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ports {
    /// This one.
    One(Port),
    /// From the first to the last, both included.
    Range(Port, Port),
    /// Those of any of these spans, of which there is at least one, and which do not overlap.
    Several(BTreeSet<Span<u16>>),
}

impl Ports {
    /// The spans that they are.
    pub fn spans(&self) -> BTreeSet<Span<u16>> {
        match self {
            Self::One(port) => [Span::from(*port)].into(),
            Self::Range(first, last) => [Span::new(first.get(), last.get())].into(),
            Self::Several(spans) => spans.clone(),
        }
    }
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
    /// Not tracked.
    Untracked,
}

/// Translations of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CtStatus {
    /// Of its source.
    Snat,
    /// Of its destination.
    Dnat,
}

/// Ways of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// That of the first packet.
    Original,
    /// That of the answers.
    Reply,
}

/// Kinds of addresses, as the routing tables know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AddressKind {
    /// Of another machine.
    Unicast,
    /// Of this machine.
    Local,
    /// IPv4 broadcast.
    Broadcast,
    /// Multicast.
    Multicast,
}

/// The way through IPsec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum IpsecWay {
    /// What the packet came out of.
    In,
    /// What the packet will go into.
    Out,
}

/// What IPsec has to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ipsec {
    /// Something, whatever it is.
    Some,
    /// Nothing.
    None,
    /// A transformation with this request id, which its policy has.
    Request(u32),
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

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::tree::verdict(self))
    }
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// What a map has for the key; the rule ends there when it has none.
    Map(Vec<Key>, Ident),
}

/// A label of a connection: one of 128 that it can have, each by itself, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Label(u8);

impl TryFrom<u8> for Label {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if number < 128 {
            Ok(Self(number))
        } else {
            Err(format!("{number} is not a label, 0 to 127"))
        }
    }
}

impl From<Label> for u8 {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl Label {
    /// The label among all, as a bit.
    pub(crate) fn bit(self) -> u128 {
        1 << self.0
    }
}

/// How connections are spread over several targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Spread {
    /// One after the other.
    Turns,
    /// By chance.
    Random,
    /// The same target for the same source address, as long as the targets are as many. The seed makes routers differ.
    SourceHash(u32),
}

/// Where connections go that are spread; a target may stand there several times to get more of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Targets {
    /// IPv4 addresses and ports.
    V4(Vec<(Ipv4Addr, Port)>),
    /// IPv6 addresses and ports.
    V6(Vec<(Ipv6Addr, Port)>),
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
    /// ICMP or ICMPv6: host unreachable.
    HostUnreachable,
    /// ICMP or ICMPv6: no route.
    NoRoute,
}
