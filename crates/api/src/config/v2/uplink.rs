//! Ways out of a router that has several.

use std::net::Ipv4Addr;

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
}
