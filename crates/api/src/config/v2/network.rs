//! Guest networks: addresses, DHCP, source NAT, default policy and the guests themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DhcpBoot, DhcpOption, GuestDhcp, GuestMetadata, NetworkDns, NetworkRange};
use crate::types::{
    AddressRange, Cidr, DomainName, HostName, LeaseSeconds, LinkName, MacAddr, Mtu, ObjectId,
};

/// One guest network on one guest link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestNetwork {
    /// Id of the network, unique in the configuration.
    pub id: ObjectId,
    /// The guest link it is on; one network per link.
    pub link: LinkName,
    /// Its IPv4 addresses, such as `10.1.1.0/24`; must be a network of an address of the link.
    pub cidr: Cidr,
    /// Further ranges of addresses on the same link, each with a gateway of its own, as shared networks have; at most 15, and
    /// none in a VPC's tier. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<NetworkRange>,
    /// The router's own address in it, which guests use as gateway.
    #[schema(value_type = String, example = "10.1.1.1")]
    pub gateway: Ipv4Addr,
    /// IPv6 in it: guests are told router and prefix, and give themselves addresses. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<NetworkIpv6>,
    /// Domain of the guests' names.
    pub domain: DomainName,
    /// May guests open connections to the outside? No default: a policy is stated.
    pub egress: EgressPolicy,
    /// Source NAT towards the outside. None: guests reach only what is routed to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_nat: Option<SourceNat>,
    /// The access control list of the tier, in a VPC. Default: nothing comes in, everything may leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<ObjectId>,
    /// DHCP settings of the network.
    #[serde(default)]
    pub dhcp: DhcpConfig,
    /// What of the name service is the network's own. Default: nothing.
    #[serde(default, skip_serializing_if = "NetworkDns::is_empty")]
    pub dns: NetworkDns,
    /// The guests; one that is not listed gets no DHCP answer unless there are pools. Default: none.
    #[serde(default)]
    pub guests: Vec<Guest>,
}

/// IPv6 of a guest network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkIpv6 {
    /// The prefix that guests make their addresses of, 64 bits long (RFC 4862); a network of an address of the link.
    #[schema(example = "2001:db8:1::/64")]
    pub cidr: Cidr,
    /// The router's own address in it.
    #[schema(value_type = String, example = "2001:db8:1::1")]
    pub gateway: Ipv6Addr,
}

/// What happens to connections that guests open towards the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EgressPolicy {
    /// Forwarded.
    Allow,
    /// Dropped.
    Deny,
}

/// Guests' connections leave by `link` with `address` as their source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceNat {
    /// A public link.
    pub link: LinkName,
    /// An address of that link.
    #[schema(value_type = String, example = "198.51.100.10")]
    pub address: Ipv4Addr,
}

/// DHCP settings (RFC 2131; option numbers of RFC 2132 unless said otherwise).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DhcpConfig {
    /// Option 51. Default 86400. Clients renew at half of it.
    #[serde(default = "default_lease")]
    pub lease_seconds: LeaseSeconds,
    /// Option 6. Default: the router itself.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub resolvers: Vec<Ipv4Addr>,
    /// Option 26. Default: the link's MTU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// Option 121 (RFC 3442); the default route is added by the server, since clients that honour 121 ignore option 3.
    #[serde(default)]
    pub routes: Vec<ClasslessRoute>,
    /// Further options, and others in place of the above; at most 32. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<DhcpOption>,
    /// Where guests boot from that boot from the network. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<DhcpBoot>,
    /// Addresses lent to guests that are not listed, as in a shared network; at most 16, each inside one range of the
    /// network. What a listed guest has is never lent. Default: none, and who is not listed gets no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<AddressRange>,
}

impl Default for DhcpConfig {
    fn default() -> Self {
        Self {
            lease_seconds: default_lease(),
            resolvers: Vec::new(),
            mtu: None,
            routes: Vec::new(),
            options: Vec::new(),
            boot: None,
            pools: Vec::new(),
        }
    }
}

fn default_lease() -> LeaseSeconds {
    LeaseSeconds::DAY
}

/// One route handed to guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClasslessRoute {
    /// An IPv4 network.
    pub destination: Cidr,
    /// Next hop inside the guest network; told to the guests of its range.
    #[schema(value_type = String)]
    pub via: Ipv4Addr,
}

/// One guest NIC in the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// Id of the guest NIC, unique in the configuration.
    pub id: ObjectId,
    /// Its address on the wire, unique in the network.
    pub mac: MacAddr,
    /// Its address, unique in the network.
    #[schema(value_type = String, example = "10.1.1.23")]
    pub address: Ipv4Addr,
    /// Further addresses that the guest sets up itself, unique in the network; at most 64. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub secondary_addresses: Vec<Ipv4Addr>,
    /// Its name, unique in the network; options 12 and DNS. One VM's NICs in networks of one domain share it.
    pub hostname: HostName,
    /// The NIC by which the VM reaches the rest of the world: only such a one is given a default route, resolvers and a
    /// domain. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub default_nic: bool,
    /// What DHCP tells it otherwise than the network's other guests. Default: nothing.
    #[serde(default, skip_serializing_if = "GuestDhcp::is_empty")]
    pub dhcp: GuestDhcp,
    /// What the guest is told about itself. Default: what follows from the above.
    #[serde(default, skip_serializing_if = "GuestMetadata::is_empty")]
    pub metadata: GuestMetadata,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_yes(value: &bool) -> bool {
    *value
}

impl GuestNetwork {
    /// The gateway as a family-neutral address.
    pub fn gateway_ip(&self) -> IpAddr {
        IpAddr::V4(self.gateway)
    }
}
