//! What is there: security associations, as the daemon says.

use serde::{Deserialize, Serialize};

use super::connection::ConnectionName;

/// A connection's first phase and its tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaState {
    /// The connection.
    pub name: ConnectionName,
    /// True when the two ends have proved themselves.
    pub established: bool,
    /// True when we began.
    pub initiator: bool,
    /// Version of IKE.
    pub version: u8,
    /// Where the peer is, with its port.
    pub remote: String,
    /// How it named itself.
    pub remote_id: String,
    /// A NAT stands between.
    pub nat: bool,
    /// Algorithms of the first phase.
    pub algorithms: String,
    /// Seconds since the ends proved themselves.
    pub age: u64,
    /// Its tunnels.
    pub children: Vec<ChildState>,
}

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChildState {
    /// Its name in the configuration.
    pub name: String,
    /// True when packets pass.
    pub installed: bool,
    /// Our side of the traffic.
    pub local: Vec<String>,
    /// The peer's.
    pub remote: Vec<String>,
    /// Algorithms.
    pub algorithms: String,
    /// Diffie-Hellman group of its keys, when they were made with one.
    pub group: Option<String>,
    /// The daemon's number of it, which new keys change.
    pub number: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Seconds since it was made.
    pub age: u64,
    /// Mark of what comes in by it; 0 without one.
    pub mark: u32,
}

/// Something that went wrong with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The connection; `None`: the peer could not be assigned to one.
    pub name: Option<ConnectionName>,
    /// What it is.
    pub kind: TroubleKind,
    /// The daemon's words.
    pub words: String,
}

/// What can go wrong, told apart as an administrator would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// The keys differ, or the ids.
    Authentication,
    /// The first phase has no algorithms in common.
    IkeProposal,
    /// The second phase has none.
    EspProposal,
    /// New keys of a tunnel cannot be agreed on: perfect forward secrecy differs.
    Pfs,
    /// The ends name different networks.
    Networks,
    /// Nobody answers.
    NoAnswer,
    /// The peer went away.
    Gone,
    /// What the peer sends is not what its keys and algorithms say.
    Integrity,
}

impl TroubleKind {
    /// What it means, for a person.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Authentication => "the pre-shared keys or the ids differ",
            Self::IkeProposal => "no IKE policy in common: encryption, hash or group differ",
            Self::EspProposal => "no ESP policy in common: encryption, hash or PFS differ",
            Self::Pfs => "the peer refuses new keys with this PFS group; the tunnel will end",
            Self::Networks => "the networks of the two ends do not match",
            Self::NoAnswer => "the peer does not answer",
            Self::Gone => "the peer went away",
            Self::Integrity => {
                "packets from the peer fail their integrity check; some old peers cut SHA-256 to 96 bits"
            }
        }
    }
}
