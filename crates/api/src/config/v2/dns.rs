//! Name service towards the guests.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{Cidr, DomainName};

/// Settings of the DNS server; the guest zones themselves follow from the networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsConfig {
    /// The zone's resolvers in order of preference, asked on port 53; at most 4. None: only guest names are answered,
    /// everything else is refused.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.53", "192.0.2.54"]))]
    pub upstreams: Vec<IpAddr>,
    /// Names that resolvers of their own are asked for, those of private addresses included; at most 32. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_zones: Vec<ForwardZone>,
    /// Mix upper and lower case in what is asked, which a forger must guess too (draft-vixie-dnsext-dns0x20). To be
    /// switched off where a resolver compares by case. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub mixed_case: bool,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { upstreams: Vec::new(), forward_zones: Vec::new(), mixed_case: true }
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_yes(value: &bool) -> bool {
    *value
}

/// A name and everything below it, asked of resolvers of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardZone {
    /// The name, such as `corp.example` or `10.in-addr.arpa`.
    pub zone: DomainName,
    /// Who knows it, in order of preference; at most 4. Default: the resolvers of the network that asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub upstreams: Vec<IpAddr>,
}

/// What of the name service is one network's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkDns {
    /// Resolvers for its guests, in order of preference; at most 4. Default: `dns.upstreams`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub upstreams: Vec<IpAddr>,
    /// Further sources that are answered at its gateway: subnets routed behind guests; at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Cidr>,
}

impl NetworkDns {
    /// Nothing is the network's own.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
