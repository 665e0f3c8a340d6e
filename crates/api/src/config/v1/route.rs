//! Routes of an appliance.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Cidr, LinkName};

/// One route in the main table; it gets route protocol 201, by which the agent knows its own.
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
