//! Guest networks (guide 2.8.1, 11.1): addresses, a VLAN, and usually a router with a source-NAT address.

mod parts;
mod place;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::config::{
    ClasslessRoute, DhcpBoot, DhcpOption, EgressPolicy, NetworkRange, UpstreamTls,
};
use sluice_api::types::{
    AddressRange, ApplianceId, Cidr, DomainName, LeaseSeconds, LinkName, Mtu, ObjectId, VlanId,
};
use utoipa::ToSchema;

use parts::{fitting_mtu, gateway, ipv6_prefix, misplaced, router, source_nat, tier};

use super::acl_list::AclList;
use super::appliance::{replug, retire};
use super::patch::stated;
use super::physical_network::PhysicalNetwork;
use super::public_ip::{PublicIp, PublicIpSpec, Purpose};
use super::public_range::PublicRange;
use super::zone::{Zone, resolvers};
use super::{Column, Context, Key, Kind, Names, dynamic, named};
use crate::error::Error;
use crate::store::allocations;
use crate::store::objects::Cell;

/// The most addresses that a guest network may span, as a prefix length: the guide's setups use nothing wider.
const WIDEST_PREFIX: u8 = 16;
/// Longest prefix of a guest network: a /29 has room for the router and five guests.
const NARROWEST_PREFIX: u8 = 29;
/// What is said in place of a router for a network that has none.
const NO_ROUTER: &str = "none";

/// A guest network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the physical network that carries it.
    pub physical_network: ObjectId,
    /// Id of the range of its source-NAT address.
    pub public_range: Option<ObjectId>,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Domain of the guests' names.
    pub domain: DomainName,
    /// Its addresses.
    pub cidr: Cidr,
    /// The router's address in it.
    #[schema(value_type = String)]
    pub gateway: Ipv4Addr,
    /// Further ranges of addresses on its VLAN.
    #[serde(default)]
    pub ranges: Vec<NetworkRange>,
    /// Its IPv6 prefix; the router has the first address of it.
    #[serde(default)]
    pub ipv6_cidr: Option<Cidr>,
    /// May guests open connections to the outside?
    pub egress: EgressPolicy,
    /// Its VLAN.
    pub vlan: VlanId,
    /// Source-NAT address.
    #[schema(value_type = Option<String>)]
    pub source_nat: Option<Ipv4Addr>,
    /// Whether it has none: guests without a public address of their own stay inside.
    #[serde(default)]
    pub no_source_nat: bool,
    /// DHCP lease time in seconds.
    pub lease_seconds: LeaseSeconds,
    /// Largest packet of guests in bytes; none: the physical network's.
    pub mtu: Option<Mtu>,
    /// Id of its router.
    pub router: Option<ApplianceId>,
    /// Name of its link in the router.
    pub link: Option<LinkName>,
    /// Id of the VPC that it is a tier of.
    #[serde(default)]
    pub vpc: Option<ObjectId>,
    /// Id of the tier's access control list.
    #[serde(default)]
    pub acl: Option<ObjectId>,
    /// Resolvers that DHCP tells of; none: the router.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub resolvers: Vec<Ipv4Addr>,
    /// Routes that DHCP tells of.
    #[serde(default)]
    pub routes: Vec<ClasslessRoute>,
    /// Further DHCP options.
    #[serde(default)]
    pub dhcp_options: Vec<DhcpOption>,
    /// Where guests boot from that boot from the network.
    #[serde(default)]
    pub boot: Option<DhcpBoot>,
    /// Addresses lent to whom no guest is made for.
    #[serde(default)]
    pub pools: Vec<AddressRange>,
    /// Resolvers that its guests' questions go to; none: the zone's.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub upstreams: Vec<IpAddr>,
    /// By what `upstreams` prove who they are, if they are asked over TLS.
    #[serde(default)]
    pub upstream_tls: Option<UpstreamTls>,
    /// Further sources that the name service answers.
    #[serde(default)]
    pub dns_clients: Vec<Cidr>,
}

/// A guest network to be.
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
    /// Further ranges of addresses on its VLAN, each with a gateway of its own, at most 15:
    /// `{"cidr": "10.1.9.0/24", "gateway": "10.1.9.1"}`. A guest that asks for no address gets one of the first range that has
    /// a free one. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<NetworkRange>,
    /// IPv6 prefix, /64, of which guests make their own addresses; the router has the first one. Default: no IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_cidr: Option<Cidr>,
    /// May guests open connections to the outside? No default: a policy is stated, but for a tier, whose access control
    /// list says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressPolicy>,
    /// VPC that it is to be a tier of, by name or id. Default: it is an isolated network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<ObjectId>,
    /// Access control list of the tier, by name or id. Default: `default-deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<ObjectId>,
    /// VLAN id, one of the physical network's ranges. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// Router that serves it, by name or id, or `none`. Default: one of its own, which comes and goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<ObjectId>,
    /// Public range of the source-NAT address, by name or id. Default: whichever of the zone has a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_range: Option<ObjectId>,
    /// Source-NAT address. Default: the router's for all its networks if it has one, else a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "198.51.100.10")]
    pub source_nat: Option<Ipv4Addr>,
    /// No source-NAT address: only guests with static NAT reach the outside, and no address is spent. Default: there is one.
    #[serde(default)]
    pub no_source_nat: bool,
    /// DHCP lease time in seconds. Default 86400.
    #[serde(default = "default_lease")]
    pub lease_seconds: LeaseSeconds,
    /// Largest packet of guests in bytes, at most the physical network's. Default: the physical network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// Resolvers that DHCP tells guests of. Default: the router, which asks `upstreams`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub resolvers: Vec<Ipv4Addr>,
    /// Routes that DHCP tells guests of besides the default route: `{"destination": "10.9.0.0/16", "via": "10.1.1.254"}`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<ClasslessRoute>,
    /// Further DHCP options: `{"code": 42, "value": {"addresses": ["192.0.2.1"]}}`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dhcp_options: Vec<DhcpOption>,
    /// Where guests boot from that boot from the network: `{"next_server": "10.1.1.5", "file": "pxelinux.0"}`.
    /// Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<DhcpBoot>,
    /// Addresses that DHCP lends to machines that no guest is made for, such as `10.1.1.100-10.1.1.199`. Default: none,
    /// and such machines get no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<AddressRange>,
    /// Resolvers that its guests' questions are forwarded to. Default: the zone's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub upstreams: Vec<IpAddr>,
    /// Ask `upstreams` over TLS: `{"server_name": "dns.example", "authorities": "-----BEGIN CERTIFICATE…"}`; without a name
    /// each shows a certificate for its address. Default: in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTls>,
    /// Further sources that the name service answers at its gateway: networks routed behind guests. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_clients: Vec<Cidr>,
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
    /// New access control list of a tier, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<ObjectId>,
    /// New resolvers that DHCP tells of; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub resolvers: Option<Vec<Ipv4Addr>>,
    /// New routes that DHCP tells of; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<ClasslessRoute>>,
    /// New further DHCP options; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp_options: Option<Vec<DhcpOption>>,
    /// Where guests boot from that boot from the network, from now on; null: nowhere.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DhcpBoot>)]
    pub boot: Option<Option<DhcpBoot>>,
    /// New addresses that are lent; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pools: Option<Vec<AddressRange>>,
    /// New resolvers that questions are forwarded to; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub upstreams: Option<Vec<IpAddr>>,
    /// Ask `upstreams` over TLS from now on, until there are none; null: in the clear.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<UpstreamTls>)]
    pub upstream_tls: Option<Option<UpstreamTls>>,
    /// New further ranges of addresses; they replace all. One with addresses in use stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Vec<NetworkRange>>,
    /// New further sources that the name service answers; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_clients: Option<Vec<Cidr>>,
    /// New IPv6 prefix, /64; null: no IPv6. It costs the guests' IPv6 connections: the old addresses lead nowhere from then
    /// on, and guests make new ones within seconds. IPv6 firewall rules that name guests of the old prefix are changed or
    /// deleted first.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Cidr>)]
    pub ipv6_cidr: Option<Option<Cidr>>,
}

fn default_lease() -> LeaseSeconds {
    LeaseSeconds::DAY
}

impl Kind for Network {
    const NAMES: Names = Names {
        word: "network",
        plural: "networks",
        prefix: "n",
        about: "Guest networks, each behind a router",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("physical_network", "physical network"),
        Key::number("vlan"),
        Key::to("router", "appliance"),
        Key::text("link"),
        Key::named("public_range", "public range"),
        Key::to("vpc", "vpc"),
        Key::to("acl", "acl list"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const DERIVED: &'static [(&'static str, fn(&Self) -> Cell)] =
        &[("ipv6_cidr", |it| Cell::Text(it.ipv6_cidr.map(|cidr| cidr.to_string())))];
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ZONE", "/zone"),
        ("CIDR", "/cidr"),
        ("VLAN", "/vlan"),
        ("SOURCE NAT", "/source_nat"),
        ("EGRESS", "/egress"),
        ("ROUTER", "/router"),
    ];

    type Spec = NetworkSpec;
    type Patch = NetworkPatch;

    named!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: NetworkSpec,
    ) -> Result<Self, Error> {
        let zone = context.find::<Zone>(None, &spec.zone).await?;
        let physical =
            PhysicalNetwork::of_zone(context, &zone, spec.physical_network.as_ref()).await?;
        let cidr = spec.cidr.unwrap_or(zone.guest_cidr);
        let gateway = gateway(cidr, spec.gateway)?;
        fitting_mtu(spec.mtu, &physical)?;
        let tier = tier(context, &zone, &spec, cidr).await?;
        let router = match &tier {
            Some((vpc, _)) => Some(vpc.router()?),
            None => router(context, &zone, spec.router.as_ref()).await?,
        };
        let (vpc, acl) = tier.map(|(vpc, acl)| (vpc.id, acl)).unzip();
        source_nat(&spec, router.is_some())?;
        let taken = context.taken(id.as_str(), "guest VLAN", router.as_ref());
        let vlan = physical.take_vlan(context, spec.vlan, taken).await?;
        let mut network = Self {
            id,
            zone: zone.id.clone(),
            physical_network: physical.id,
            // what was asked for; what there is follows when the row is there
            public_range: spec.public_range,
            source_nat: spec.source_nat,
            no_source_nat: spec.no_source_nat,
            name: spec.name,
            domain: spec.domain,
            cidr,
            gateway,
            ranges: spec.ranges,
            ipv6_cidr: spec.ipv6_cidr.map(ipv6_prefix).transpose()?,
            egress: spec.egress.unwrap_or(EgressPolicy::Allow),
            vlan,
            lease_seconds: spec.lease_seconds,
            mtu: spec.mtu,
            link: None,
            router,
            vpc,
            acl,
            resolvers: spec.resolvers,
            routes: spec.routes,
            dhcp_options: spec.dhcp_options,
            boot: spec.boot,
            pools: spec.pools,
            upstreams: spec.upstreams,
            upstream_tls: spec.upstream_tls,
            dns_clients: spec.dns_clients,
        };
        network.distinct()?;
        resolvers("upstreams", &network.upstreams)?;
        if let Some(cidr) = network.ipv6_cidr {
            PublicRange::ipv6_apart(context, &zone.id, &network.id, cidr).await?;
        }
        network.apart("control_cidr", zone.control_cidr)?;
        network.attach(context).await?;
        Ok(network)
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let Some(router) = self.router.clone() else { return Ok(()) };
        if self.no_source_nat {
            return replug(context, &router).await;
        }
        let asked = PublicIpSpec {
            network: Some(self.id.clone()),
            public_range: self.public_range.take(),
            address: self.source_nat.take(),
            purpose: Purpose::SourceNat,
            ..PublicIpSpec::of_zone(&self.zone)
        };
        let free_choice = asked.address.is_none() && asked.public_range.is_none();
        let shared = PublicIp::shared_source_nat(context, &router).await?;
        let ip = match shared.filter(|_| free_choice) {
            Some(shared) => {
                replug(context, &router).await?;
                shared
            }
            // which plugs the router in
            None => context.make::<PublicIp>(asked).await?,
        };
        let range: PublicRange = context.get(&ip.public_range).await?;
        self.apart("the network of its public range", range.cidr)?;
        (self.source_nat, self.public_range) = (Some(ip.address), Some(range.id));
        Ok(())
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: NetworkPatch,
    ) -> Result<(), Error> {
        let is_tier = self.vpc.is_some();
        if let Some((field, reason)) = misplaced(is_tier, patch.egress, patch.acl.as_ref()) {
            return Err(Error::Invalid { field, reason: reason.to_owned() });
        }
        if let Some(name) = &patch.acl {
            self.acl = Some(context.find::<AclList>(self.vpc.as_ref(), name).await?.id);
        }
        self.domain = patch.domain.unwrap_or_else(|| self.domain.clone());
        self.egress = patch.egress.unwrap_or(self.egress);
        self.lease_seconds = patch.lease_seconds.unwrap_or(self.lease_seconds);
        self.boot = patch.boot.unwrap_or_else(|| self.boot.take());
        replace(&mut self.resolvers, patch.resolvers);
        replace(&mut self.routes, patch.routes);
        replace(&mut self.dhcp_options, patch.dhcp_options);
        replace(&mut self.pools, patch.pools);
        replace(&mut self.upstreams, patch.upstreams);
        resolvers("upstreams", &self.upstreams)?;
        // terms are for resolvers: without any they go, and what is given with none is refused
        let kept = self.upstream_tls.take().filter(|_| !self.upstreams.is_empty());
        self.upstream_tls = patch.upstream_tls.unwrap_or(kept);
        if let Some(ranges) = patch.ranges {
            self.set_ranges(context, ranges).await?;
        }
        replace(&mut self.dns_clients, patch.dns_clients);
        if let Some(cidr) = patch.ipv6_cidr {
            self.set_ipv6(context, cidr).await?;
        }
        Ok(())
    }

    /// What it had is released, and free once its router confirmed a configuration without it; a router of its own that
    /// never got a boot document goes with it.
    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        self.refuse_guests(context).await?;
        for ip in context.all::<PublicIp>(&[("network", self.id.as_str())]).await? {
            if ip.purpose == Purpose::SourceNat {
                ip.let_go(context).await?;
            }
        }
        allocations::release(context.conn, self.id.as_str()).await?;
        let Some(router) = self.router.clone() else { return Ok(()) };
        self.detach(context).await?;
        if self.vpc.is_some() {
            replug(context, &router).await
        } else {
            retire(context, &router).await
        }
    }

    async fn touches(&self, _: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        Ok(self.router.iter().cloned().collect())
    }

    /// What a tier has of its VPC is not the tier's to say.
    fn as_spec(&self) -> Result<Map<String, Value>, Error> {
        let mut fields = dynamic::common_fields(self)?;
        if self.vpc.is_some() {
            for field in ["egress", "router", "public_range", "source_nat", "no_source_nat"] {
                fields.remove(field);
            }
        }
        Ok(fields)
    }

    /// A tier says so by its VPC, an isolated network by its policy.
    fn canonical(spec: NetworkSpec) -> Result<NetworkSpec, Error> {
        let is_tier = spec.vpc.is_some();
        if let Some((field, reason)) = misplaced(is_tier, spec.egress, spec.acl.as_ref()) {
            return Err(Error::Invalid { field, reason: reason.to_owned() });
        }
        if !is_tier && spec.egress.is_none() {
            let reason = "allow or deny must be stated".to_owned();
            return Err(Error::Invalid { field: "egress", reason });
        }
        let source_nat = spec.source_nat.is_some() || spec.no_source_nat;
        let own = [("router", spec.router.is_some()), ("source_nat", source_nat)];
        match own.into_iter().find(|(_, given)| is_tier && *given) {
            Some((field, _)) => {
                let reason = "is that of the VPC, for all its tiers".to_owned();
                Err(Error::Invalid { field, reason })
            }
            None => Ok(spec),
        }
    }
}

fn replace<T>(list: &mut Vec<T>, new: Option<Vec<T>>) {
    if let Some(new) = new {
        *list = new;
    }
}
