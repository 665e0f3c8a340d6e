//! What only a virtual router has.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::balancer::Balancer;
use super::vpn::VpnConfig;
use super::{
    DnsConfig, EgressRule, FirewallRule, GuestNetwork, Ipv6FirewallRule, PortForward,
    PublicAddress, StaticNat, Uplink, Vpc,
};
use crate::types::HostName;

/// The part of a router: networks, services and the policy between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// Host name of the router, resolvable in every guest domain.
    pub hostname: HostName,
    /// Guest networks served; the tiers, if the router is a VPC's. Default: none.
    #[serde(default)]
    pub networks: Vec<GuestNetwork>,
    /// Name service towards the guests.
    #[serde(default)]
    pub dns: DnsConfig,
    /// Public addresses that something besides source NAT is done with. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_addresses: Vec<PublicAddress>,
    /// The public links, when there are several: each has its own way back. The default route is a route of the
    /// appliance, and is for what nothing here is about. Default: none, everything leaves as it is routed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uplinks: Vec<Uplink>,
    /// What comes in to the public addresses; unused in a VPC, whose tiers have access control lists. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firewall: Vec<FirewallRule>,
    /// What comes in to guests' own IPv6 addresses; unused in a VPC, as `firewall` is. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_firewall: Vec<Ipv6FirewallRule>,
    /// Exceptions to the networks' egress policies. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress_rules: Vec<EgressRule>,
    /// Guests with a public address of their own. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_nat: Vec<StaticNat>,
    /// Public ports that lead to guests. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_forwards: Vec<PortForward>,
    /// Addresses and ports whose connections are shared out among guests. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balancers: Vec<Balancer>,
    /// The router is a VPC's. Default: isolated networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<Vpc>,
    /// Virtual private networks. Default: none.
    #[serde(default, skip_serializing_if = "VpnConfig::is_empty")]
    pub vpn: VpnConfig,
}
