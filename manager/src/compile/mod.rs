//! From the model to an appliance's configuration: the head that all have, and the part of its role.
//!
//! Guarantees: pure and deterministic (the same model gives the same document, whatever the order it was stored in);
//! link names come with the model. Not here: the generation's number, which `ops` raises when the
//! content changed, and the check, which is the contract's own.

mod areas;
mod balancer;
mod links;
mod load;
mod network;
mod proxy;
mod public;
mod ssvm;
mod vpc;
mod vpn;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_api::boot::Role;
use sluice_api::config::vpn::VpnConfig;
use sluice_api::config::{
    ApplianceConfig, Control, DhcpConfig, DnsConfig, EgressPolicy, Guest, NetworkDns, NetworkRange,
    ProxyConfig, ProxyPart, Route, RouterConfig, RouterDocument, RouterPart, SsvmConfig, SsvmPart,
    Uplink, UplinkProbe,
};
use sluice_api::types::{
    ApplianceId, BlobDigest, Cidr, DomainName, FormatVersion, Generation, HostName, HostPattern,
    InterfaceAddress, LinkName, MacAddr, Mtu, ObjectId, Origin, PathPrefix, Port, VlanId,
};

use crate::error::Error;
use crate::kinds::appliance::{Appliance, NicPurpose};
use crate::kinds::public_ip::Purpose;
use crate::store::Conn;

/// All that every area of an appliance's configuration is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplianceModel {
    /// Its id, also its host name.
    pub appliance: ApplianceId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Control NIC.
    pub control_mac: MacAddr,
    /// Control address.
    pub control: InterfaceAddress,
    /// Next hop towards managers.
    pub control_gateway: Option<Ipv4Addr>,
    /// Next hop towards hosts of VMs that have IPv6, with the prefix of the control network.
    pub control_gateway_ipv6: Option<InterfaceAddress>,
    /// Where managers are; empty: anywhere.
    pub managers: Vec<Cidr>,
    /// The zone's resolvers.
    pub resolvers: Vec<IpAddr>,
    /// What routers do with the rest of the world's names.
    pub dns: DnsConfig,
    /// Its address on the storage network.
    pub storage_address: Option<InterfaceAddress>,
    /// NICs besides the control NIC.
    pub carriers: Vec<Carrier>,
    /// Ways out; the first has the default route.
    pub uplinks: Vec<UplinkModel>,
    /// Its public addresses, in the order in which they were acquired.
    pub ips: Vec<PublicIpModel>,
    /// Guest networks that it serves.
    pub networks: Vec<NetworkModel>,
    /// Links to private networks.
    pub private: Vec<PrivateModel>,
    /// Blob of the certificate chain and key that it shows to the public.
    pub certificate: Option<BlobDigest>,
    /// What browsers see of a console proxy.
    pub console: ConsoleModel,
    /// How images are brought in.
    pub imports: ImportsModel,
}

/// How a secondary storage VM brings images in; none: as the contract has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportsModel {
    /// Private networks that they may come from.
    pub allowed: Vec<Cidr>,
    /// Blob of the address of a proxy.
    pub proxy: Option<BlobDigest>,
    /// Blob of further authorities.
    pub authorities: Option<BlobDigest>,
    /// TCP ports of sources.
    pub ports: Vec<Port>,
    /// Largest disk that a guest sees, in bytes.
    pub disk_bytes: Option<u64>,
    /// Most memory of one decompression, in bytes.
    pub unpack_bytes: Option<u64>,
    /// Jobs at work at the same time.
    pub jobs: Option<u8>,
}

/// What browsers see of a console proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsoleModel {
    /// Blobs of certificate chain and key.
    pub certificate: Option<(BlobDigest, BlobDigest)>,
    /// Its names.
    pub hosts: Vec<HostPattern>,
    /// Origins whose pages may show a console in a frame.
    pub frame_ancestors: Vec<Origin>,
    /// Reverse proxies before it.
    pub trusted_proxies: Vec<Cidr>,
    /// Path under which everything is.
    pub prefix: PathPrefix,
    /// Blob of the key by which browsers are known again.
    pub cookie_key: Option<BlobDigest>,
    /// It takes no new sessions.
    pub draining: bool,
    /// Its machine is of a build that cannot ask whether a screen is still its VM's.
    pub cannot_ask: bool,
    /// The zone's other console proxies.
    pub others: Vec<OtherProxy>,
}

/// Another console proxy of the same zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherProxy {
    /// Its id.
    pub id: ApplianceId,
    /// Where browsers find it.
    pub origin: Option<Origin>,
    /// It takes no new sessions.
    pub draining: bool,
}

/// A link to a private network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateModel {
    /// Its name.
    pub link: LinkName,
    /// The physical network that carries it.
    pub physical_network: ObjectId,
    /// Its VLAN.
    pub vlan: VlanId,
    /// The router's address.
    pub address: InterfaceAddress,
}

/// A NIC by what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// The physical network that it is plugged into.
    pub physical_network: ObjectId,
    /// What it is for.
    pub purpose: NicPurpose,
    /// Its link.
    pub link: LinkName,
    /// Its address.
    pub mac: MacAddr,
    /// Largest packet in bytes.
    pub mtu: Mtu,
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkModel {
    /// Its link.
    pub link: LinkName,
    /// The physical network that carries it.
    pub physical_network: ObjectId,
    /// Its VLAN; none: untagged.
    pub vlan: Option<VlanId>,
    /// Next hop towards the Internet.
    pub gateway: Ipv4Addr,
    /// Its IPv6 address and next hop.
    pub ipv6: Option<(InterfaceAddress, Ipv6Addr)>,
    /// How it is watched.
    pub probe: Option<UplinkProbe>,
}

/// A public address of the appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicIpModel {
    /// Its id.
    pub id: ObjectId,
    /// The address.
    pub address: Ipv4Addr,
    /// Prefix length of its network.
    pub prefix: u8,
    /// The uplink that has it.
    pub link: LinkName,
    /// Id of the network that it belongs to.
    pub network: Option<ObjectId>,
    /// What it is used for.
    pub purpose: Purpose,
}

/// A guest network as the compiler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkModel {
    /// Its id.
    pub id: ObjectId,
    /// Its link.
    pub link: LinkName,
    /// The physical network that carries its VLAN.
    pub physical_network: ObjectId,
    /// Its VLAN.
    pub vlan: VlanId,
    /// Its addresses.
    pub cidr: Cidr,
    /// The router's address in it.
    pub gateway: Ipv4Addr,
    /// Further ranges of addresses on its VLAN.
    pub ranges: Vec<NetworkRange>,
    /// Its IPv6 prefix.
    pub ipv6: Option<Cidr>,
    /// Domain of its guests.
    pub domain: DomainName,
    /// May guests open connections to the outside?
    pub egress: EgressPolicy,
    /// What DHCP says in it.
    pub dhcp: DhcpConfig,
    /// What of the name service is its own.
    pub dns: NetworkDns,
    /// Largest packet of its guests; none: the carrier's.
    pub mtu: Option<Mtu>,
    /// The address with which its guests leave, one of the appliance's.
    pub source_nat: Option<Ipv4Addr>,
    /// The access control list of a tier.
    pub acl: Option<ObjectId>,
    /// Its guests.
    pub guests: Vec<Guest>,
}

impl NetworkModel {
    /// All its ranges with the router's address in each: `cidr` first.
    pub fn spans(&self) -> impl Iterator<Item = (Cidr, Ipv4Addr)> {
        let further = self.ranges.iter().map(|range| (range.cidr, range.gateway));
        std::iter::once((self.cidr, self.gateway)).chain(further)
    }
}

/// Why a model has no configuration. Never retryable: the model has to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A network or its public range is on a physical network that no NIC is plugged into.
    #[error("no NIC of {appliance} carries {what} of physical network {physical_network}")]
    NoCarrier {
        /// The appliance.
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

/// The configuration that follows for `appliance`, with number 1.
pub async fn configuration(
    conn: &mut Conn,
    appliance: &Appliance,
) -> Result<ApplianceConfig, Error> {
    let model = load::load(conn, appliance).await?;
    let failed =
        |error: CompileError| Error::Corrupt { what: "model", reason: crate::push::chain(&error) };
    match appliance.role {
        Role::Router => {
            let mut config = router(&model).map_err(failed)?;
            areas::router(conn, &model, &mut config).await?;
            Ok(config.into_any())
        }
        Role::Proxy => {
            let part = ProxyPart::Proxy(ProxyConfig::default());
            let mut config = head(&model, part).map_err(failed)?;
            areas::proxy(conn, &model, &mut config).await?;
            Ok(config.into_any())
        }
        Role::Ssvm => {
            let part = SsvmPart::Ssvm(SsvmConfig::default());
            let mut config = head(&model, part).map_err(failed)?;
            areas::ssvm(conn, &model, &mut config).await?;
            Ok(config.into_any())
        }
    }
}

/// What every appliance has, with number 1.
fn head<P>(model: &ApplianceModel, role: P) -> Result<ApplianceConfig<P>, CompileError> {
    let control = links::control_link()?;
    let mut routes = control_routes(model, &control);
    if let Some(up) = model.uplinks.first() {
        routes.push(default_route(up, IpAddr::V4(up.gateway)));
    }
    if let Some((up, (_, gateway))) = model.uplinks.iter().find_map(|up| Some((up, up.ipv6?))) {
        routes.push(default_route(up, IpAddr::V6(gateway)));
    }
    Ok(ApplianceConfig {
        version: FormatVersion,
        generation: Generation::MIN,
        appliance: model.appliance.clone(),
        control: Control { link: control, managers: model.managers.clone() },
        links: links::links(model)?,
        routes,
        policy_rules: Vec::new(),
        role,
    })
}

/// A router with its networks, as far as it needs no other area.
fn router(model: &ApplianceModel) -> Result<RouterDocument, CompileError> {
    let networks = model.sorted_networks();
    let router = RouterConfig {
        hostname: hostname(&model.appliance)?,
        networks: networks.into_iter().map(|net| network::guest_network(model, net)).collect(),
        dns: model.dns.clone(),
        public_addresses: Vec::new(),
        uplinks: uplinks(model),
        firewall: Vec::new(),
        ipv6_firewall: Vec::new(),
        egress_rules: Vec::new(),
        static_nat: Vec::new(),
        port_forwards: Vec::new(),
        balancers: Vec::new(),
        vpc: None,
        vpn: VpnConfig::default(),
    };
    head(model, RouterPart::Router(router))
}

impl ApplianceModel {
    /// Networks in an order that leaves no trace of how they came.
    fn sorted_networks(&self) -> Vec<&NetworkModel> {
        let mut networks: Vec<_> = self.networks.iter().collect();
        networks.sort_by_key(|network| (network.vlan, &network.id));
        networks
    }

    /// The uplink that has the public address `address`.
    pub fn link_of(&self, address: Ipv4Addr) -> Option<&LinkName> {
        self.ips.iter().find(|ip| ip.address == address).map(|ip| &ip.link)
    }

    /// The link that has this address: the storage network's, or an uplink.
    pub fn link_with(&self, address: IpAddr) -> Option<LinkName> {
        if self.storage_address.is_some_and(|own| own.ip() == address) {
            let mut carriers = self.carriers.iter();
            let carrier = carriers.find(|carrier| carrier.purpose == NicPurpose::Storage);
            return carrier.map(|carrier| carrier.link.clone());
        }
        self.ips.iter().find(|ip| IpAddr::V4(ip.address) == address).map(|ip| ip.link.clone())
    }

    /// The public address with this id.
    pub fn ip(&self, id: &ObjectId) -> Option<&PublicIpModel> {
        self.ips.iter().find(|ip| &ip.id == id)
    }

    /// The network with this id.
    pub fn network(&self, id: &ObjectId) -> Option<&NetworkModel> {
        self.networks.iter().find(|network| &network.id == id)
    }
}

/// Only where there are several: what there is one of needs no choice.
fn uplinks(model: &ApplianceModel) -> Vec<Uplink> {
    let all = model.uplinks.iter().filter(|_| model.uplinks.len() > 1);
    let watched = model.uplinks.iter().any(|up| up.probe.is_some());
    let uplink = |up: &UplinkModel| Uplink {
        link: up.link.clone(),
        gateway: up.gateway,
        gateway_ipv6: up.ipv6.map(|(_, gateway)| gateway),
        probe: up.probe.clone(),
        source_nat: watched.then(|| takes_over(model, &up.link)).flatten(),
    };
    all.map(uplink).collect()
}

/// The address with which guests of other uplinks leave by this one while theirs is down: one that hides guests already, else
/// one that stands for no single guest.
fn takes_over(model: &ApplianceModel, link: &LinkName) -> Option<Ipv4Addr> {
    let of = |purpose| {
        let mut ips = model.ips.iter();
        ips.find(|ip| ip.link == *link && ip.purpose == purpose).map(|ip| ip.address)
    };
    [Purpose::SourceNat, Purpose::Forwards, Purpose::None].into_iter().find_map(of)
}

fn hostname(appliance: &ApplianceId) -> Result<HostName, CompileError> {
    Ok(appliance.as_str().parse()?)
}

/// Managers beyond the control network are reached through its gateway, never by the default route to the Internet.
fn control_routes(model: &ApplianceModel, link: &LinkName) -> Vec<Route> {
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

/// IPv4 and IPv6 each leave by the first uplink that has them.
fn default_route(up: &UplinkModel, gateway: IpAddr) -> Route {
    let (destination, link) = (Cidr::everything(gateway), up.link.clone());
    Route { destination, link, via: Some(gateway), metric: 0, table: None }
}

#[cfg(test)]
mod tests;
