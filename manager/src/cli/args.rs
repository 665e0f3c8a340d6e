//! Arguments of the create and update commands; each becomes the JSON body of the call.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;
use serde::Serialize;
use sluice_api::types::{Cidr, DomainName, HostName, LeaseSeconds, MacAddr, Mtu, ObjectId, VlanId};

use crate::model::VlanRange;

/// A new zone.
#[derive(Debug, Args, Serialize)]
pub(super) struct ZoneArgs {
    /// Its name.
    name: ObjectId,
    /// A resolver for guests' queries; usually given twice.
    #[arg(long = "resolver", required = true)]
    resolvers: Vec<IpAddr>,
    /// Addresses of guest networks that name none.
    #[arg(long, default_value = "10.1.1.0/24")]
    guest_cidr: Cidr,
    /// Addresses of appliances on the control network.
    #[arg(long, default_value = "169.254.0.0/20")]
    control_cidr: Cidr,
    /// Next hop from the control network towards managers elsewhere.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    control_gateway: Option<Ipv4Addr>,
    /// A network that managers connect from. Default: any.
    #[arg(long = "manager-network")]
    managers: Vec<Cidr>,
}

/// Changes to a zone.
#[derive(Debug, Args, Serialize)]
pub(super) struct ZoneChanges {
    /// A new resolver; replaces all.
    #[arg(long = "resolver", required = true)]
    resolvers: Vec<IpAddr>,
}

/// A new physical network.
#[derive(Debug, Args, Serialize)]
pub(super) struct PhysicalNetworkArgs {
    /// Its name.
    name: ObjectId,
    /// Its zone.
    #[arg(long)]
    zone: ObjectId,
    /// Guest VLANs, such as 100-199; may be given more than once.
    #[arg(long)]
    vlans: Vec<VlanRange>,
    /// Largest packet in bytes.
    #[arg(long, default_value = "1500")]
    mtu: Mtu,
}

/// Changes to a physical network.
#[derive(Debug, Args, Serialize)]
pub(super) struct PhysicalNetworkChanges {
    /// Guest VLANs; replaces all.
    #[arg(long, required = true)]
    vlans: Vec<VlanRange>,
}

/// A new public range.
#[derive(Debug, Args, Serialize)]
pub(super) struct PublicRangeArgs {
    /// Its name.
    name: ObjectId,
    /// Its zone.
    #[arg(long)]
    zone: ObjectId,
    /// Physical network that carries it. Default: the zone's only one.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    physical_network: Option<ObjectId>,
    /// Its VLAN. Default: untagged.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<VlanId>,
    /// Next hop towards the Internet.
    #[arg(long)]
    gateway: Ipv4Addr,
    /// Prefix length of the network.
    #[arg(long, conflicts_with = "netmask", required_unless_present = "netmask")]
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<u8>,
    /// Dotted mask of the network.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    netmask: Option<Ipv4Addr>,
    /// First address to give out.
    #[arg(long)]
    start: Ipv4Addr,
    /// Last address to give out.
    #[arg(long)]
    end: Ipv4Addr,
}

/// There is nothing to change.
#[derive(Debug, Args, Serialize)]
pub(super) struct NoChanges {}

/// A new network.
#[derive(Debug, Args, Serialize)]
pub(super) struct NetworkArgs {
    /// Its name.
    name: ObjectId,
    /// Its zone.
    #[arg(long)]
    zone: ObjectId,
    /// Physical network that carries it. Default: the zone's only one.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    physical_network: Option<ObjectId>,
    /// Domain of the guests' names.
    #[arg(long)]
    domain: DomainName,
    /// May guests open connections to the outside?
    #[arg(long, value_parser = ["allow", "deny"])]
    egress: String,
    /// Its addresses. Default: the zone's guest addresses.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr: Option<Cidr>,
    /// The router's address. Default: the first.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<Ipv4Addr>,
    /// Its VLAN. Default: a free one.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<VlanId>,
    /// Range of the source-NAT address. Default: any of the zone.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    public_range: Option<ObjectId>,
    /// Source-NAT address. Default: a free one.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    source_nat: Option<Ipv4Addr>,
    /// DHCP lease time.
    #[arg(long, default_value = "86400")]
    lease_seconds: LeaseSeconds,
    /// Largest packet of guests in bytes. Default: the physical network's.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<Mtu>,
}

/// Changes to a network.
#[derive(Debug, Args, Serialize)]
#[group(required = true, multiple = true)]
pub(super) struct NetworkChanges {
    /// Another domain.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<DomainName>,
    /// Another egress policy.
    #[arg(long, value_parser = ["allow", "deny"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<String>,
    /// Another lease time.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_seconds: Option<LeaseSeconds>,
}

/// A new guest.
#[derive(Debug, Args, Serialize)]
pub(super) struct GuestArgs {
    /// Its host name.
    name: HostName,
    /// Its network.
    #[arg(long)]
    network: ObjectId,
    /// Zone of the network, when networks of several zones share its name.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<ObjectId>,
    /// Its address. Default: a free one.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
    /// Address of its NIC. Default: a free one.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<MacAddr>,
}

/// Changes to a guest.
#[derive(Debug, Args, Serialize)]
pub(super) struct GuestChanges {
    /// Another host name.
    #[arg(long = "name", id = "new_name", required = true)]
    name: HostName,
}
