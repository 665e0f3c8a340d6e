//! Name service towards the guests.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Settings of the DNS server; the guest zones themselves follow from the networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsConfig {
    /// The zone's resolvers in order of preference, asked on port 53; at most 4. None: only guest names are answered,
    /// everything else is refused.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.53", "192.0.2.54"]))]
    pub upstreams: Vec<IpAddr>,
}
