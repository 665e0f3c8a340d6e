//! Rules on public addresses and on what guests may open (guide 11.14).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Helper, Traffic};
use crate::types::{Cidr, ObjectId, UtcTime};

/// Lets connections in to a public address of an isolated network, judged before any translation. What no rule lets in is
/// dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirewallRule {
    /// Unique among the firewall rules.
    pub id: ObjectId,
    /// One of the public addresses.
    #[schema(value_type = String, example = "198.51.100.11")]
    pub public: Ipv4Addr,
    /// Where from. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// What.
    pub traffic: Traffic,
    /// Connections that this rule names get a helper, so that what they agree on passes too. Wants `tcp` (FTP, PPTP) or `udp`
    /// (TFTP) with ports. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC; from then on it is as if it were not there, and connections end that it allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// An exception to a network's egress policy: where that is `deny`, these may leave; where it is `allow`, these may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// Unique among the egress rules.
    pub id: ObjectId,
    /// The guests' network.
    pub network: ObjectId,
    /// Which guests, by address. Default: all of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// Where to. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Cidr>,
    /// What.
    pub traffic: Traffic,
    /// Connections that this rule names get a helper, so that what they agree on passes too. Wants `tcp` (FTP, PPTP) or `udp`
    /// (TFTP) with ports; such a rule lets pass whatever the policy is. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC; from then on it is as if it were not there, and connections end that it allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Lets connections in from the public links to IPv6 addresses of a network's guests, which are reached as they are: IPv6 is
/// not translated (capability `ipv6-uplinks`). What no rule lets in is dropped. Tiers of a VPC have access control lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipv6FirewallRule {
    /// Unique among these rules.
    pub id: ObjectId,
    /// The guests' network, one with IPv6.
    pub network: ObjectId,
    /// Where from, IPv6 networks. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// Which guests: addresses or networks inside the network's prefix. Default: all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Cidr>,
    /// What; types of ICMP are those of ICMPv6.
    pub traffic: Traffic,
    /// When it ends, in UTC; from then on it is as if it were not there, and connections end that it allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}
