//! Routes of an appliance.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Cidr, LinkName, RouteTable};

/// One route; it gets route protocol 201, by which the agent knows its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where to; `0.0.0.0/0` or `::/0` for the default route.
    pub destination: Cidr,
    /// The link it leaves by.
    pub link: LinkName,
    /// Next hop, in a network of that link. Default: the destination is on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "198.51.100.1")]
    pub via: Option<IpAddr>,
    /// Smaller wins. Default 0, which the kernel reads as 1024 for IPv6.
    #[serde(default)]
    pub metric: u32,
    /// The routing table it is in. Default: the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<RouteTable>,
}

/// Which routing table a packet is looked up in: the first rule that fits and whose table has a route decides.
/// The kernel's own rule for the main table comes after all of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Order, 0 to 999, smaller first; each number once in a family. The kernel has it as 20000 and more.
    pub order: u16,
    /// Source address of the packet. Default: any, of both families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Cidr>,
    /// Destination address of the packet. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Cidr>,
    /// The link it came in by. Default: any, and what the appliance sends itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkName>,
    /// The low 16 bits of the packet mark. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u16>,
    /// The table to look in.
    pub table: RouteTable,
}

/// What the kernel makes of an IPv6 route without a metric (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

impl Route {
    /// The metric under which the kernel has the route: two routes to one destination collide when these are equal.
    pub fn kernel_metric(&self) -> u32 {
        match self.metric {
            0 if !self.destination.is_ipv4() => IPV6_METRIC,
            metric => metric,
        }
    }
}
