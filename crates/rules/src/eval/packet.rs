//! What is judged: a packet, and what connection tracking knows of its connection.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::types::{LinkName, MacAddr};

use crate::{CtState, CtStatus, Direction, IpVersion, Protocol};

/// A packet as it comes in, or as this machine sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// The link it came in by; `None` for one that this machine sends.
    pub iif: Option<LinkName>,
    /// Ethernet source, where it came in by Ethernet.
    pub source_mac: Option<MacAddr>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address; of the same version as the source.
    pub destination: IpAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// What the protocol's header says.
    pub header: Header,
    /// Mark, 0 unless something outside of the tables gave it one.
    pub mark: u32,
    /// The user of the socket that sends it, by number; for packets that this machine sends.
    pub user: Option<u32>,
    /// Request id of the IPsec policy that it came out of.
    pub ipsec_in: Option<u32>,
    /// Request id of the IPsec policy that it will go into.
    pub ipsec_out: Option<u32>,
}

/// The part of a transport header that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Header {
    /// Ports of TCP or UDP.
    Ports {
        /// Source.
        source: u16,
        /// Destination.
        destination: u16,
        /// TCP: opens a connection (SYN without RST).
        opens: bool,
    },
    /// Type and code of ICMP or ICMPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Of a protocol that we do not look into.
    Other,
}

impl Packet {
    /// A packet of this header between two addresses, from outside; `None` when they are of two versions.
    pub fn between(
        source: IpAddr,
        destination: IpAddr,
        protocol: Protocol,
        header: Header,
    ) -> Option<Self> {
        (source.is_ipv4() == destination.is_ipv4()).then_some(Self {
            iif: None,
            source_mac: None,
            source,
            destination,
            protocol,
            header,
            mark: 0,
            user: None,
            ipsec_in: None,
            ipsec_out: None,
        })
    }

    /// The same, come in by a link.
    #[must_use]
    pub fn by(self, link: LinkName) -> Self {
        Self { iif: Some(link), ..self }
    }

    /// Its version of IP.
    pub fn version(&self) -> IpVersion {
        IpVersion::of(self.destination)
    }

    /// Source and destination port.
    pub(super) fn ports(&self) -> Option<(u16, u16)> {
        match self.header {
            Header::Ports { source, destination, .. } => Some((source, destination)),
            _ => None,
        }
    }
}

/// One end of a connection: an address, and a port where there are ports.
pub type End = (IpAddr, Option<u16>);

/// What connection tracking knows of the connection that the packet belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracking {
    /// The packet's state in it.
    pub state: CtState,
    /// The packet's way.
    pub direction: Direction,
    /// The connection's mark.
    pub mark: u32,
    /// The connection's labels, the lowest bit for label 0.
    pub labels: u128,
    /// Its translations so far.
    pub status: BTreeSet<CtStatus>,
    /// Source and destination of its first packet as it came in.
    pub original: (End, End),
    /// Where its destination and source were translated to. A packet that is not the first goes there; of the first,
    /// it says which of several ways it took.
    pub translated: Translated,
}

/// Where ends were translated to; `None` for one that was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Translated {
    /// The destination.
    pub destination: Option<End>,
    /// The source.
    pub source: Option<End>,
}

impl Tracking {
    /// Of the first packet of a connection.
    pub fn first(packet: &Packet) -> Self {
        let ports = packet.ports();
        let source = (packet.source, ports.map(|ports| ports.0));
        let destination = (packet.destination, ports.map(|ports| ports.1));
        Self {
            state: CtState::New,
            direction: Direction::Original,
            mark: 0,
            labels: 0,
            status: BTreeSet::new(),
            original: (source, destination),
            translated: Translated::default(),
        }
    }
}
