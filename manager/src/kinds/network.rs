//! Guest networks (guide 2.8.1, 11.1): addresses, a VLAN, and usually a router with a source-NAT address.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::config::EgressPolicy;
use sluice_api::types::{
    ApplianceId, Cidr, DomainName, LeaseSeconds, LinkName, Mtu, ObjectId, VlanId,
};
use sqlx::Row as _;
use utoipa::ToSchema;

use super::acl_list::AclList;
use super::appliance::{Appliance, ApplianceSpec, free_link, replug, retire};
use super::physical_network::PhysicalNetwork;
use super::public_ip::{PublicIp, PublicIpSpec, Purpose};
use super::public_range::PublicRange;
use super::vpc::Vpc;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names};
use crate::error::Error;
use crate::store::allocations;

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
    /// May guests open connections to the outside?
    pub egress: EgressPolicy,
    /// Its VLAN.
    pub vlan: VlanId,
    /// Source-NAT address.
    #[schema(value_type = Option<String>)]
    pub source_nat: Option<Ipv4Addr>,
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
    /// DHCP lease time in seconds. Default 86400.
    #[serde(default = "default_lease")]
    pub lease_seconds: LeaseSeconds,
    /// Largest packet of guests in bytes, at most the physical network's. Default: the physical network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
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

    fn id(&self) -> ObjectId {
        self.id.clone()
    }

    fn name(&self) -> String {
        self.name.to_string()
    }

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
        if router.is_none() && (spec.source_nat.is_some() || spec.public_range.is_some()) {
            let reason = "a network without a router has no public address".to_owned();
            return Err(Error::Invalid { field: "source_nat", reason });
        }
        let taken = context.taken(id.as_str(), "guest VLAN", router.as_ref());
        let vlan = physical.take_vlan(context, spec.vlan, taken).await?;
        let mut network = Self {
            id,
            zone: zone.id.clone(),
            physical_network: physical.id,
            // what was asked for; what there is follows when the row is there
            public_range: spec.public_range,
            source_nat: spec.source_nat,
            name: spec.name,
            domain: spec.domain,
            cidr,
            gateway,
            egress: spec.egress.unwrap_or(EgressPolicy::Allow),
            vlan,
            lease_seconds: spec.lease_seconds,
            mtu: spec.mtu,
            link: None,
            router,
            vpc,
            acl,
        };
        network.apart("control_cidr", zone.control_cidr)?;
        network.attach(context).await?;
        Ok(network)
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let asked = PublicIpSpec {
            network: Some(self.id.clone()),
            public_range: self.public_range.take(),
            address: self.source_nat.take(),
            purpose: Purpose::SourceNat,
            ..PublicIpSpec::of_zone(&self.zone)
        };
        let Some(router) = self.router.clone() else { return Ok(()) };
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
        let own = [("router", spec.router.is_some()), ("source_nat", spec.source_nat.is_some())];
        match own.into_iter().find(|(_, given)| is_tier && *given) {
            Some((field, _)) => {
                let reason = "is that of the VPC, for all its tiers".to_owned();
                Err(Error::Invalid { field, reason })
            }
            None => Ok(spec),
        }
    }
}

/// A field that tiers or isolated networks do not have.
fn misplaced(
    is_tier: bool,
    egress: Option<EgressPolicy>,
    acl: Option<&ObjectId>,
) -> Option<(&'static str, &'static str)> {
    match (is_tier, egress, acl) {
        (true, Some(_), _) => Some(("egress", "is said by the tier's access control list")),
        (false, _, Some(_)) => Some(("acl", "only a tier of a VPC has an access control list")),
        _ => None,
    }
}

/// The VPC of a tier to be, and the id of its list.
async fn tier(
    context: &mut Context<'_>,
    zone: &Zone,
    spec: &NetworkSpec,
    cidr: Cidr,
) -> Result<Option<(Vpc, ObjectId)>, Error> {
    let Some(name) = &spec.vpc else { return Ok(None) };
    let vpc: Vpc = context.find(Some(&zone.id), name).await?;
    vpc.room(context, cidr).await?;
    let list = match &spec.acl {
        Some(name) => context.find::<AclList>(Some(&vpc.id), name).await?,
        None => AclList::default_of(context, &vpc).await?,
    };
    Ok(Some((vpc, list.id)))
}

fn gateway(cidr: Cidr, asked: Option<Ipv4Addr>) -> Result<Ipv4Addr, Error> {
    let (IpAddr::V4(base), prefix) = (cidr.network(), cidr.prefix()) else {
        return Err(Error::Invalid { field: "cidr", reason: "must be an IPv4 network".into() });
    };
    if !(WIDEST_PREFIX..=NARROWEST_PREFIX).contains(&prefix) {
        let reason = format!("must be /{WIDEST_PREFIX} to /{NARROWEST_PREFIX}, not /{prefix}");
        return Err(Error::Invalid { field: "cidr", reason });
    }
    let gateway = asked.unwrap_or_else(|| Ipv4Addr::from(u32::from(base).saturating_add(1)));
    if !cidr.usable_for_host(IpAddr::V4(gateway)) {
        let reason = format!("{gateway} is not a host address of {cidr}");
        return Err(Error::Invalid { field: "gateway", reason });
    }
    Ok(gateway)
}

fn fitting_mtu(mtu: Option<Mtu>, physical: &PhysicalNetwork) -> Result<(), Error> {
    match mtu {
        Some(mtu) if mtu > physical.mtu => {
            let reason = format!(
                "{mtu} is larger than {} of physical network {}",
                physical.mtu, physical.name
            );
            Err(Error::Invalid { field: "mtu", reason })
        }
        _ => Ok(()),
    }
}

/// The router that was asked for, or one of its own.
async fn router(
    context: &mut Context<'_>,
    zone: &Zone,
    asked: Option<&ObjectId>,
) -> Result<Option<ApplianceId>, Error> {
    let Some(name) = asked else {
        let spec =
            ApplianceSpec { with_network: true, ..ApplianceSpec::of_zone(&zone.id, Role::Router) };
        return Ok(Some(context.make::<Appliance>(spec).await?.id));
    };
    if name.as_str() == NO_ROUTER {
        return Ok(None);
    }
    let found = context.find::<Appliance>(Some(&zone.id), name).await?;
    if found.role == Role::Router {
        return Ok(Some(found.id));
    }
    let reason = format!("{} is no router", found.name);
    Err(Error::Invalid { field: "router", reason })
}

impl Network {
    /// Its router must be able to tell the guests' addresses from those around.
    fn apart(&self, what: &str, other: Cidr) -> Result<(), Error> {
        if !self.cidr.overlaps(&other) {
            return Ok(());
        }
        let reason = format!("{} overlaps {what} {other}", self.cidr);
        Err(Error::Invalid { field: "cidr", reason })
    }

    /// Gives it a link of its router.
    async fn attach(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let Some(router) = &self.router else { return Ok(()) };
        let others = context.all::<Self>(&[("router", router.as_str())]).await?;
        if let Some(other) = others.iter().find(|other| other.cidr.overlaps(&self.cidr)) {
            let what = format!("network {} of the same router,", other.name);
            return self.apart(&what, other.cidr);
        }
        let used = others.iter().filter_map(|other| other.link.as_ref());
        self.link = Some(free_link("guest", used)?);
        Ok(())
    }

    async fn detach(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let (router, link) = (self.router.take(), self.link.take());
        context.save(self).await?;
        // the answer tells what it was
        (self.router, self.link) = (router, link);
        Ok(())
    }

    async fn refuse_guests(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let row = sqlx::query(
            "SELECT min(hostname) AS name, count(*) AS count FROM nics WHERE network = $1",
        )
        .bind(self.id.as_str())
        .fetch_one(&mut *context.conn)
        .await?;
        let Some(name) = row.try_get::<Option<String>, _>("name")? else { return Ok(()) };
        let by = format!("guest {name} and {} more", row.try_get::<i64, _>("count")? - 1);
        Err(Error::InUse { kind: Self::NAMES.word, name: self.name(), by })
    }
}
