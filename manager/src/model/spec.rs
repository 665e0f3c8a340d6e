//! What people ask for: bodies of the create and change calls, and the whole-cloud file of `sluice apply`.
//!
//! References name another object by its name or its id. What is left out is allocated or takes the stated default.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use sluice_api::config::EgressPolicy;
use sluice_api::types::{Cidr, DomainName, HostName, LeaseSeconds, MacAddr, Mtu, ObjectId, VlanId};
use utoipa::ToSchema;

use super::VlanRange;

/// The most addresses that a guest network may span, as a prefix length: the guide's setups use nothing wider.
pub const WIDEST_GUEST_PREFIX: u8 = 16;

/// A zone: what its networks share (guide 2.2, 6.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneSpec {
    /// Unique among zones.
    pub name: ObjectId,
    /// The resolvers that routers forward guests' queries to, in order of preference; 1 to 4, usually two.
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.53", "192.0.2.54"]))]
    pub resolvers: Vec<IpAddr>,
    /// Addresses of a guest network that names none. Default `10.1.1.0/24`.
    #[serde(default = "default_guest_cidr")]
    pub guest_cidr: Cidr,
    /// Addresses of appliances on the control network; the first nine are kept for managers and gateways.
    /// Default `169.254.0.0/20`, which leaves the metadata address 169.254.169.254 alone.
    #[serde(default = "default_control_cidr")]
    pub control_cidr: Cidr,
    /// Next hop from the control network towards managers elsewhere. Default: managers are on the control network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub control_gateway: Option<Ipv4Addr>,
    /// Networks that managers connect from; required with `control_gateway`. Default: any.
    #[serde(default)]
    pub managers: Vec<Cidr>,
}

/// A physical network of a zone, carrying guest VLANs (guide 2.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PhysicalNetworkSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// VLAN ids for guest networks; ranges may not overlap. Default: none.
    #[serde(default)]
    pub vlans: Vec<VlanRange>,
    /// Largest packet of its trunk NICs in bytes. Default 1500.
    #[serde(default = "default_mtu")]
    pub mtu: Mtu,
}

/// A range of public addresses (guide 2.8.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicRangeSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Physical network that carries it, by name or id. Default: the zone's only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_network: Option<ObjectId>,
    /// Unique in the zone.
    pub name: ObjectId,
    /// VLAN of the public traffic; may not be one of the guest VLANs. Default: untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// Next hop towards the Internet, inside the network.
    #[schema(value_type = String, example = "198.51.100.1")]
    pub gateway: Ipv4Addr,
    /// Prefix length of the network, 1 to 31. Give this or `netmask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31)]
    pub prefix: Option<u8>,
    /// Dotted mask of the network. Give this or `prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "255.255.255.0")]
    pub netmask: Option<Ipv4Addr>,
    /// First address to give out.
    #[schema(value_type = String, example = "198.51.100.10")]
    pub start: Ipv4Addr,
    /// Last address to give out.
    #[schema(value_type = String, example = "198.51.100.99")]
    pub end: Ipv4Addr,
}

/// An isolated guest network behind its own router (guide 2.8.1, 11.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Physical network that carries it, by name or id. Default: the zone's only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_network: Option<ObjectId>,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Domain of the guests' names.
    pub domain: DomainName,
    /// IPv4 network, /16 to /29. Default: the zone's `guest_cidr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<Cidr>,
    /// The router's address in it. Default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.1.1.1")]
    pub gateway: Option<Ipv4Addr>,
    /// May guests open connections to the outside? No default: a policy is stated.
    pub egress: EgressPolicy,
    /// VLAN id, one of the physical network's ranges. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// Public range of the source-NAT address, by name or id. Default: whichever of the zone has a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_range: Option<ObjectId>,
    /// Source-NAT address. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "198.51.100.10")]
    pub source_nat: Option<Ipv4Addr>,
    /// DHCP lease time in seconds. Default 86400.
    #[serde(default = "default_lease")]
    pub lease_seconds: LeaseSeconds,
    /// Largest packet of guests in bytes, at most the physical network's. Default: the physical network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

/// A guest with a NIC in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestSpec {
    /// Zone of the network, by name or id; needed when networks of several zones share a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ObjectId>,
    /// Network, by name or id.
    pub network: ObjectId,
    /// Its host name, unique in the network.
    pub name: HostName,
    /// Its address. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.1.1.23")]
    pub address: Option<Ipv4Addr>,
    /// Address of its NIC. Default: a free, locally administered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

/// Changes to a zone; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZonePatch {
    /// New resolvers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub resolvers: Option<Vec<IpAddr>>,
}

/// Changes to a physical network; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PhysicalNetworkPatch {
    /// New VLAN ranges; a VLAN in use may not drop out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlans: Option<Vec<VlanRange>>,
}

/// Changes to a network; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkPatch {
    /// New domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainName>,
    /// New egress policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressPolicy>,
    /// New lease time in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<LeaseSeconds>,
}

/// Changes to a guest; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestPatch {
    /// New host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<HostName>,
}

/// Where an appliance's API is reached, if not at its control address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// Address and port, such as a forwarded loopback port of the lab; null goes back to the control address.
    #[schema(value_type = Option<String>, example = "127.0.0.1:43922")]
    pub address: Option<std::net::SocketAddr>,
}

/// A whole cloud: what the zones it names are to hold, and nothing else. Zones it does not name stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudSpec {
    /// Zones.
    #[serde(default)]
    pub zones: Vec<ZoneSpec>,
    /// Physical networks.
    #[serde(default)]
    pub physical_networks: Vec<PhysicalNetworkSpec>,
    /// Public ranges.
    #[serde(default)]
    pub public_ranges: Vec<PublicRangeSpec>,
    /// Guest networks.
    #[serde(default)]
    pub networks: Vec<NetworkSpec>,
    /// Guests.
    #[serde(default)]
    pub guests: Vec<GuestSpec>,
}

fn default_guest_cidr() -> Cidr {
    constant("10.1.1.0/24")
}

fn default_control_cidr() -> Cidr {
    constant("169.254.0.0/20")
}

#[expect(clippy::expect_used, reason = "constants of this file, read by a test")]
fn constant(text: &str) -> Cidr {
    text.parse().expect("the constant is a network")
}

fn default_mtu() -> Mtu {
    Mtu::ETHERNET
}

fn default_lease() -> LeaseSeconds {
    LeaseSeconds::DAY
}
