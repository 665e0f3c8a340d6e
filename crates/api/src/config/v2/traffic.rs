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
