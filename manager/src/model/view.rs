//! What the manager shows: each object with its id and all that was allocated for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use sluice_api::Finding;
use sluice_api::boot::Role;
use sluice_api::config::EgressPolicy;
use sluice_api::report::{Phase, PlanSummary, Timing};
use sluice_api::types::{
    ApplianceId, Cidr, DomainName, Generation, HostName, InterfaceAddress, LeaseSeconds, MacAddr,
    Mtu, ObjectId, VlanId,
};
use utoipa::ToSchema;

use super::VlanRange;

/// A zone; fields as in [`super::ZoneSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Zone {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique among zones.
    pub name: ObjectId,
    /// Resolvers of its routers.
    #[schema(value_type = Vec<String>)]
    pub resolvers: Vec<IpAddr>,
    /// Default addresses of guest networks.
    pub guest_cidr: Cidr,
    /// Addresses of appliances on the control network.
    pub control_cidr: Cidr,
    /// Next hop towards managers.
    #[schema(value_type = Option<String>)]
    pub control_gateway: Option<Ipv4Addr>,
    /// Networks that managers connect from; empty: any.
    pub managers: Vec<Cidr>,
}

/// A physical network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhysicalNetwork {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// VLAN ids for guest networks, sorted.
    pub vlans: Vec<VlanRange>,
    /// Largest packet of its trunk NICs in bytes.
    pub mtu: Mtu,
}

/// A range of public addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicRange {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the physical network that carries it.
    pub physical_network: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// VLAN of the public traffic; none: untagged.
    pub vlan: Option<VlanId>,
    /// The network of the addresses.
    pub cidr: Cidr,
    /// Next hop towards the Internet.
    #[schema(value_type = String)]
    pub gateway: Ipv4Addr,
    /// First address to give out.
    #[schema(value_type = String)]
    pub start: Ipv4Addr,
    /// Last address to give out.
    #[schema(value_type = String)]
    pub end: Ipv4Addr,
}

/// An isolated guest network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the physical network that carries it.
    pub physical_network: ObjectId,
    /// Id of the range of its source-NAT address.
    pub public_range: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Domain of the guests' names.
    pub domain: DomainName,
    /// Its addresses.
    pub cidr: Cidr,
    /// The router's address in it.
    #[schema(value_type = String)]
    pub gateway: Ipv4Addr,
    /// May guests open connections to the outside?
    pub egress: EgressPolicy,
    /// Its VLAN.
    pub vlan: VlanId,
    /// Source-NAT address.
    #[schema(value_type = String)]
    pub source_nat: Ipv4Addr,
    /// DHCP lease time in seconds.
    pub lease_seconds: LeaseSeconds,
    /// Largest packet of guests in bytes; none: the physical network's.
    pub mtu: Option<Mtu>,
    /// Its router.
    pub router: ApplianceId,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guest {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Host name.
    pub name: HostName,
    /// Its NICs; the first is the one it was created with.
    pub nics: Vec<Nic>,
}

/// A guest's NIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Nic {
    /// Also its id in the router's configuration.
    pub id: ObjectId,
    /// Id of its network.
    pub network: ObjectId,
    /// Its address on the wire.
    pub mac: MacAddr,
    /// Its address.
    #[schema(value_type = String)]
    pub address: Ipv4Addr,
}

/// A system VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Appliance {
    /// Also its host name and the name in its certificate.
    pub id: ApplianceId,
    /// What it is.
    pub role: Role,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the network it serves; none once that is deleted: destroy the machine, then delete the appliance.
    pub network: Option<ObjectId>,
    /// Its address on the control network.
    pub control: InterfaceAddress,
    /// Where the manager reaches it, if not at the control address.
    #[schema(value_type = Option<String>)]
    pub endpoint: Option<SocketAddr>,
    /// The NICs that its machine must have, in this order; it finds them by their addresses.
    pub nics: Vec<ApplianceNic>,
}

/// A NIC that an appliance's machine must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplianceNic {
    /// What it is for.
    pub purpose: NicPurpose,
    /// Id of the physical network to plug it into; none for the control network.
    pub physical_network: Option<ObjectId>,
    /// Its address on the wire.
    pub mac: MacAddr,
}

/// What an appliance's NIC is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NicPurpose {
    /// Control network.
    Control,
    /// Untagged public traffic.
    Public,
    /// Tagged traffic of a physical network.
    Trunk,
}

/// Wanted against reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplianceStatus {
    /// Which appliance.
    pub appliance: ApplianceId,
    /// What it is.
    pub role: Role,
    /// Number of the configuration that it should have.
    pub wanted: Generation,
    /// Number of the configuration that it last reported as committed.
    pub reported: Option<Generation>,
    /// True when it answers and has what is wanted.
    pub in_sync: bool,
    /// Did it answer the last time it was asked?
    pub reachable: bool,
    /// Where its engine stands.
    pub phase: Option<Phase>,
    /// Word for its last answer to a push: applied, already, stale, changed, busy, rejected, failed, or
    /// unreachable, not-booted, internal (the manager itself failed).
    pub last_answer: Option<String>,
    /// The reason behind the last answer, for a person.
    pub detail: Option<String>,
    /// What the last push changed.
    pub plan: Option<PlanSummary>,
    /// How long the last push took.
    pub timing: Option<Timing>,
    /// Since when it is as it is, RFC 3339 in UTC.
    pub since: Option<String>,
    /// When the certificate that it shows ends, RFC 3339 in UTC; until it was first seen, the one issued; none before
    /// the first boot document.
    pub certificate_until: Option<String>,
    /// What it last reported as wrong with it, and a certificate that cannot be renewed; empty: nothing.
    #[serde(default)]
    pub alarms: Vec<String>,
}

/// One item taken from a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Allocation {
    /// The pool, such as `public:pr-1`, `vlan:pn-1`, `guest:n-1`, `control:z-1` or `mac`.
    pub pool: String,
    /// The item as it is written: an address, a VLAN id, a MAC.
    pub value: String,
    /// Id of the object that it was taken for.
    pub owner: String,
    /// What for.
    pub purpose: String,
    /// Whether it is in use or on its way back.
    pub state: AllocationState,
    /// The appliance that must confirm a release.
    pub appliance: Option<ApplianceId>,
    /// The generation that the appliance must confirm before a releasing item is free.
    pub release_generation: Option<Generation>,
}

/// State of an allocation: free -> allocated -> releasing -> free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AllocationState {
    /// In use.
    Allocated,
    /// Given back, but the appliance may still use it: until it confirms, nobody else gets it.
    Releasing,
}

/// A dry run of the wanted configuration on the appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliancePlan {
    /// The configuration that was tried.
    pub generation: u64,
    /// The steps that would be taken.
    pub plan: PlanSummary,
    /// What the appliance remarks.
    pub findings: Vec<Finding>,
}
