//! Ways out of a router that has several.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::LinkName;

/// A public link with the next hop that answers to it. Connections that came in by it are answered by it; guests whose
/// source NAT or static NAT address is of it leave by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// A public link, listed once.
    pub link: LinkName,
    /// Next hop towards the Internet, in a network of the link.
    #[schema(value_type = String, example = "203.0.113.1")]
    pub gateway: Ipv4Addr,
    /// Next hop of IPv6, in a network of the link (capability `ipv6-uplinks`). Default: IPv6 does not leave by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2001:db8:ffff::1")]
    pub gateway_ipv6: Option<Ipv6Addr>,
}
