//! From the model to a router's configuration.
//!
//! Guarantees: pure and deterministic (the same model gives the same document, whatever the order it was stored in);
//! link names follow from the order of networks alone. Not here: the generation's number, which `ops` raises when the
//! content changed, and the check, which is the contract's own.

mod links;
mod network;

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::vpn::VpnConfig;
use sluice_api::config::{
    Control, DnsConfig, EgressPolicy, Guest, LinkRole, Route, RouterConfig, RouterDocument,
    RouterPart,
};
use sluice_api::types::{
    ApplianceId, Cidr, DomainName, FormatVersion, Generation, HostName, InterfaceAddress,
    LeaseSeconds, LinkName, MacAddr, Mtu, ObjectId, VlanId,
};

use self::links::Links;

/// All that a router's configuration is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterModel {
    /// Its id, also its host name.
    pub appliance: ApplianceId,
    /// Control NIC.
    pub control_mac: MacAddr,
    /// Control address.
    pub control: InterfaceAddress,
    /// Next hop towards managers.
    pub control_gateway: Option<Ipv4Addr>,
    /// Where managers are; empty: anywhere.
    pub managers: Vec<Cidr>,
    /// The zone's resolvers.
    pub resolvers: Vec<IpAddr>,
    /// NICs besides the control NIC.
    pub carriers: Vec<Carrier>,
    /// Guest networks that it serves.
    pub networks: Vec<NetworkModel>,
}

/// A NIC by what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// The physical network that it is plugged into.
    pub physical_network: ObjectId,
    /// Tagged traffic, or the untagged public one.
    pub tagged: bool,
    /// Its address.
    pub mac: MacAddr,
    /// Largest packet in bytes.
    pub mtu: Mtu,
}

/// A guest network as the compiler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkModel {
    /// Its id.
    pub id: ObjectId,
    /// The physical network that carries its VLAN.
    pub physical_network: ObjectId,
    /// Its VLAN.
    pub vlan: VlanId,
    /// Its addresses.
    pub cidr: Cidr,
    /// The router's address in it.
    pub gateway: Ipv4Addr,
    /// Domain of its guests.
    pub domain: DomainName,
    /// May guests open connections to the outside?
    pub egress: EgressPolicy,
    /// DHCP lease time.
    pub lease_seconds: LeaseSeconds,
    /// Largest packet of its guests; none: the carrier's.
    pub mtu: Option<Mtu>,
    /// Its way out.
    pub public: PublicModel,
    /// Its guests.
    pub guests: Vec<Guest>,
}

/// The way out of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicModel {
    /// The physical network that carries it.
    pub physical_network: ObjectId,
    /// Its VLAN; none: untagged.
    pub vlan: Option<VlanId>,
    /// Network of the public addresses.
    pub cidr: Cidr,
    /// The source-NAT address.
    pub address: Ipv4Addr,
    /// Next hop towards the Internet.
    pub gateway: Ipv4Addr,
}

/// Why a model has no configuration. Never retryable: the model has to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A network or its public range is on a physical network that no NIC is plugged into.
    #[error("no NIC of {appliance} carries {what} of physical network {physical_network}")]
    NoCarrier {
        /// The router.
        appliance: ApplianceId,
        /// Kind of traffic.
        what: &'static str,
        /// Where it would have to be plugged in.
        physical_network: ObjectId,
    },
    /// A made-up name or address does not fit its type.
    #[error("a value does not fit")]
    Value(#[from] sluice_api::types::InvalidValue),
}

/// The configuration of a router, with number `generation`.
pub fn router(model: &RouterModel, generation: Generation) -> Result<RouterDocument, CompileError> {
    let mut links = Links::new(model)?;
    let mut networks = Vec::with_capacity(model.networks.len());
    let mut routes = control_routes(model, &links.control());
    for network in sorted(&model.networks) {
        let outside = links.public(&network.public)?;
        let inside = links.guest(network)?;
        default_route(&mut routes, &outside, network.public.gateway)?;
        networks.push(network::guest_network(network, inside, outside));
    }
    let router = RouterConfig {
        hostname: hostname(&model.appliance)?,
        networks,
        dns: DnsConfig { upstreams: model.resolvers.clone(), ..DnsConfig::default() },
        public_addresses: Vec::new(),
        firewall: Vec::new(),
        egress_rules: Vec::new(),
        static_nat: Vec::new(),
        port_forwards: Vec::new(),
        balancers: Vec::new(),
        vpc: None,
        vpn: VpnConfig::default(),
    };
    Ok(RouterDocument {
        version: FormatVersion,
        generation,
        appliance: model.appliance.clone(),
        control: Control { link: links.control(), managers: model.managers.clone() },
        links: links.finish(),
        routes,
        policy_rules: Vec::new(),
        role: RouterPart::Router(router),
    })
}

fn sorted(networks: &[NetworkModel]) -> Vec<&NetworkModel> {
    let mut networks: Vec<_> = networks.iter().collect();
    networks.sort_by_key(|network| (network.vlan, network.id.clone()));
    networks
}

fn hostname(appliance: &ApplianceId) -> Result<HostName, CompileError> {
    Ok(appliance.as_str().parse()?)
}

/// Managers beyond the control network are reached through its gateway, never by the default route to the Internet.
fn control_routes(model: &RouterModel, link: &LinkName) -> Vec<Route> {
    let Some(gateway) = model.control_gateway else { return Vec::new() };
    let own = model.control.network();
    let route = |destination: &Cidr| Route {
        destination: *destination,
        link: link.clone(),
        via: Some(IpAddr::V4(gateway)),
        metric: 0,
        table: None,
    };
    model.managers.iter().filter(|cidr| !own.overlaps(cidr)).map(route).collect()
}

/// One default route, however many networks share the way out.
fn default_route(
    routes: &mut Vec<Route>,
    link: &LinkName,
    gateway: Ipv4Addr,
) -> Result<(), CompileError> {
    let destination: Cidr = "0.0.0.0/0".parse()?;
    if !routes.iter().any(|route| route.destination == destination) {
        let via = Some(IpAddr::V4(gateway));
        routes.push(Route { destination, link: link.clone(), via, metric: 0, table: None });
    }
    Ok(())
}

/// Role of the link on a carrier that has no VLANs of its own.
fn role(carrier: &Carrier) -> LinkRole {
    if carrier.tagged { LinkRole::Trunk } else { LinkRole::Public }
}

#[cfg(test)]
mod tests;
