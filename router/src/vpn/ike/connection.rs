//! A connection as every engine understands it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::vpn::{Encryption, Hash, IkeVersion};
use sluice_api::types::{Cidr, DhGroup, IkeId, ObjectId, Secret};

/// Name of a connection in the daemon: `s2s-ID` or `ra-ID`, so that the two kinds cannot meet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionName(String);

impl ConnectionName {
    /// Of a site-to-site connection.
    pub fn site_to_site(id: &ObjectId) -> Self {
        Self(format!("s2s-{id}"))
    }

    /// Of a remote access.
    pub fn remote_access(id: &ObjectId) -> Self {
        Self(format!("ra-{id}"))
    }

    /// One that the daemon said; `None` when it is none of ours.
    pub fn of_daemon(text: &str) -> Option<Self> {
        let id = text.strip_prefix("s2s-").or_else(|| text.strip_prefix("ra-"))?;
        let _: ObjectId = id.parse().ok()?;
        Some(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a tunnel within its connection, unique in the daemon: `NAME-1`, `NAME-2`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildName(String);

impl ChildName {
    /// The tunnel at this place of a connection's list.
    pub fn new(connection: &ConnectionName, place: usize) -> Self {
        Self(format!("{connection}-{}", place + 1))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ChildName {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for ChildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name.
    pub name: ConnectionName,
    /// Our address.
    pub local: Ipv4Addr,
    /// How we name ourselves.
    pub local_id: IkeId,
    /// The other end.
    pub peer: Peer,
    /// The first phase.
    pub ike: Ike,
    /// Dead peer detection; `None`: off.
    pub dpd: Option<Dpd>,
    /// Wrap ESP in UDP although no NAT is seen.
    pub force_encapsulation: bool,
    /// Who begins.
    pub start: Start,
    /// Its tunnels.
    pub children: Vec<Child>,
}

/// The other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None`: any.
    pub address: Option<IpAddr>,
    /// How it names itself; `None`: as it likes.
    pub id: Option<IkeId>,
}

/// The first phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ike {
    /// Which IKE.
    pub version: IkeVersion,
    /// What is offered and taken, the best first.
    pub proposals: Vec<Proposal>,
    /// New keys after so many seconds.
    pub lifetime: u32,
}

/// One set of algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Encryption.
    pub encryption: Encryption,
    /// Integrity; of the first phase with GCM the pseudo-random function alone.
    pub hash: Option<Hash>,
    /// Diffie-Hellman group; of the second phase for perfect forward secrecy.
    pub group: Option<DhGroup>,
}

/// Dead peer detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpd {
    /// Silence after which the peer is asked, in seconds.
    pub delay: u32,
    /// Silence after which it is given up, in seconds. IKEv2 has its own.
    pub timeout: u32,
}

/// Who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// We do, as soon as it is loaded, and again when it went down.
    Ours,
    /// The peer.
    Peers,
}

/// A tunnel, or one transport-mode association of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub name: ChildName,
    /// Our side of its traffic.
    pub local: Selector,
    /// The peer's.
    pub remote: Selector,
    /// How packets are wrapped.
    pub mode: Mode,
    /// How they are protected.
    pub esp: Esp,
}

/// Which packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Those of a network.
    Network(Cidr),
    /// UDP of the end itself: L2TP, at this port, or at any.
    Udp(Option<u16>),
}

/// How packets are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whole packets.
    Tunnel,
    /// Their content; each association has a mark of its own, where the engine can.
    Transport,
}

/// The second phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Esp {
    /// What is offered and taken, the best first.
    pub proposals: Vec<Proposal>,
    /// New keys after so many seconds.
    pub lifetime: u32,
}

/// A pre-shared key and those who have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKey {
    /// The key.
    pub key: Secret,
    /// Ids and addresses of the peer; none: of a remote access, whose clients are found by our own id.
    pub peers: Vec<IkeId>,
}
