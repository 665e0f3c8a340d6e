//! Public addresses and what is translated to and from them.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Cidr, LinkName, ObjectId, Port, PortRange, UtcTime};

/// One public address of the router; also an address of its link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicAddress {
    /// Unique among the public addresses.
    pub id: ObjectId,
    /// An address of the link, unique.
    #[schema(value_type = String, example = "198.51.100.11")]
    pub address: Ipv4Addr,
    /// A public link.
    pub link: LinkName,
}

/// One guest address stands for one public address and the other way round (guide 11.13). Only what passes the public link is
/// translated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticNat {
    /// Unique among the static NAT rules.
    pub id: ObjectId,
    /// One of the public addresses; nothing else may be translated to or from it.
    #[schema(value_type = String, example = "198.51.100.11")]
    pub public: Ipv4Addr,
    /// The guest's network.
    pub network: ObjectId,
    /// The guest's address in it.
    #[schema(value_type = String, example = "10.1.1.23")]
    pub guest: Ipv4Addr,
    /// When it ends, in UTC; from then on it is as if it were not there, and connections end that it allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Connections to a public address and port go to a guest (guide 11.14).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortForward {
    /// Unique among the port forwards.
    pub id: ObjectId,
    /// One of the public addresses.
    #[schema(value_type = String, example = "198.51.100.11")]
    pub public: Ipv4Addr,
    /// Which transport protocol.
    pub protocol: ForwardProtocol,
    /// Public ports; no other forward of the same address and protocol may have one of them.
    pub ports: PortRange,
    /// The guest's network.
    pub network: ObjectId,
    /// The guest's address in it.
    #[schema(value_type = String, example = "10.1.1.23")]
    pub guest: Ipv4Addr,
    /// The guest's port for the first of `ports`; the others follow in order. Default: the same ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_port: Option<Port>,
    /// Who may use it, besides what the firewall lets in. Default: anyone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// When it ends, in UTC; from then on it is as if it were not there, and connections end that it allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Transport protocols with ports.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}
