//! Which packets a rule is about.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::PortRange;

/// Protocol and what the protocol has: one meaning for every rule. Left out means all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Traffic {
    /// Every protocol.
    All {},
    /// TCP to some ports.
    Tcp {
        /// Destination ports. Default: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ports: Option<PortRange>,
    },
    /// UDP to some ports.
    Udp {
        /// Destination ports. Default: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ports: Option<PortRange>,
    },
    /// ICMP, and ICMPv6 where the addresses are IPv6.
    Icmp {
        /// The type, as the family numbers it. Default: all.
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
        kind: Option<u8>,
        /// The code; needs a type. Default: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u8>,
    },
    /// Another protocol by its number (IANA protocol numbers).
    Protocol {
        /// The number.
        number: u8,
    },
}

/// A protocol whose connections agree on others, which the kernel's tracking then lets pass with them. It reads what such a
/// connection carries, so it is given to those alone that a rule with a helper names, from their first packet on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Helper {
    /// File transfer over TCP (RFC 959, 2428), active and passive.
    Ftp,
    /// Trivial file transfer over UDP (RFC 1350), whose answers come from another port.
    Tftp,
    /// Tunnels of PPP over TCP and GRE (RFC 2637); over IPv4 only.
    Pptp,
}

impl Helper {
    /// The name, as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Tftp => "tftp",
            Self::Pptp => "pptp",
        }
    }

    /// The ports of a rule about `traffic`, when this can help its connections: it wants the transport protocol that it is
    /// carried by, and ports, since no other connections are to be read.
    pub fn ports_of(self, traffic: &Traffic) -> Option<PortRange> {
        match (self, traffic) {
            (Self::Ftp | Self::Pptp, Traffic::Tcp { ports })
            | (Self::Tftp, Traffic::Udp { ports }) => *ports,
            _ => None,
        }
    }
}
