//! Public addresses that were acquired: from which range, for whom, for what (guide 11.5).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sluice_api::types::{ApplianceId, ObjectId};
use utoipa::ToSchema;

use super::appliance::{Appliance, object_id, replug};
use super::balancer::Balancer;
use super::network::Network;
use super::port_forward::PortForward;
use super::public_range::PublicRange;
use super::static_nat::StaticNat;
use super::vpc::Vpc;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, NoPatch, dynamic, named};
use crate::error::Error;
use crate::store::{Taken, allocations};

/// A public address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicIp {
    /// Never used again once released.
    pub id: ObjectId,
    /// Unique in the zone; the id unless one was given.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the range that it is from.
    pub public_range: ObjectId,
    /// The address.
    #[schema(value_type = String)]
    pub address: Ipv4Addr,
    /// Id of the network that it belongs to.
    pub network: Option<ObjectId>,
    /// Id of the VPC that it belongs to.
    #[serde(default)]
    pub vpc: Option<ObjectId>,
    /// Id of the appliance that has it.
    pub router: Option<ApplianceId>,
    /// What it is used for.
    pub purpose: Purpose,
}

/// What a public address is used for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Nothing yet.
    #[default]
    None,
    /// Guests' connections leave with it.
    SourceNat,
    /// It stands for one guest.
    StaticNat,
    /// Port forwards and load balancers.
    Forwards,
    /// The appliance's own services.
    Appliance,
}

impl Purpose {
    fn told(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::SourceNat => "source NAT",
            Self::StaticNat => "static NAT",
            Self::Forwards => "port forwards or load balancers",
            Self::Appliance => "the services of its appliance",
        }
    }
}

/// A public address to be acquired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicIpSpec {
    /// Zone, by name or id. Default: that of the network or router; one of the three is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ObjectId>,
    /// Network that it is for, by name or id; its router gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ObjectId>,
    /// VPC that it is for, by name or id; its router gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<ObjectId>,
    /// Appliance that gets it, by name or id. Default: the network's or VPC's router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<ObjectId>,
    /// Public range, by name or id. Default: whichever of the zone has a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_range: Option<ObjectId>,
    /// The address. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "198.51.100.10")]
    pub address: Option<Ipv4Addr>,
    /// Unique in the zone. Default: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ObjectId>,
    /// Set by what uses it.
    #[serde(skip)]
    pub purpose: Purpose,
}

impl PublicIpSpec {
    /// Any address of `zone`, for nobody yet.
    pub fn of_zone(zone: &ObjectId) -> Self {
        Self {
            zone: Some(zone.clone()),
            network: None,
            vpc: None,
            router: None,
            public_range: None,
            address: None,
            name: None,
            purpose: Purpose::None,
        }
    }
}

impl Kind for PublicIp {
    const NAMES: Names = Names {
        word: "public ip",
        plural: "public ips",
        prefix: "ip",
        about: "Public addresses: acquire, release",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("public_range", "public range"),
        Key::text("address"),
        Key::to("network", "network"),
        Key::to("vpc", "vpc"),
        Key::to("router", "appliance"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("ADDRESS", "/address"),
        ("ZONE", "/zone"),
        ("RANGE", "/public_range"),
        ("NETWORK", "/network"),
        ("ROUTER", "/router"),
        ("PURPOSE", "/purpose"),
    ];

    type Spec = PublicIpSpec;
    type Patch = NoPatch;

    named!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: PublicIpSpec,
    ) -> Result<Self, Error> {
        let zone = match &spec.zone {
            Some(name) => Some(context.find::<Zone>(None, name).await?.id),
            None => None,
        };
        let network = match &spec.network {
            Some(name) => Some(context.find::<Network>(zone.as_ref(), name).await?),
            None => None,
        };
        let router = match &spec.router {
            Some(name) => Some(context.find::<Appliance>(zone.as_ref(), name).await?),
            None => None,
        };
        let vpc = match &spec.vpc {
            Some(name) => Some(context.find::<Vpc>(zone.as_ref(), name).await?),
            None => None,
        };
        let zone = zone
            .or_else(|| network.as_ref().map(|network| network.zone.clone()))
            .or_else(|| vpc.as_ref().map(|vpc| vpc.zone.clone()))
            .or_else(|| router.as_ref().map(|router| router.zone.clone()))
            .ok_or_else(|| invalid("zone", "zone, network, vpc or router must be given"))?;
        let own = router.map(|router| router.id);
        let router = own
            .or_else(|| network.as_ref().and_then(|network| network.router.clone()))
            .or_else(|| vpc.as_ref().and_then(|vpc| vpc.router.clone()));
        let taken = context.taken(id.as_str(), purpose_word(spec.purpose), router.as_ref());
        let (range, address) = take(context, &zone, &spec, taken).await?;
        Ok(Self {
            name: spec.name.unwrap_or_else(|| id.clone()),
            id,
            zone,
            public_range: range.id,
            address,
            network: network.map(|network| network.id),
            vpc: vpc.map(|vpc| vpc.id),
            router,
            purpose: spec.purpose,
        })
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        match &self.router {
            Some(router) => replug(context, router).await,
            None => Ok(()),
        }
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        if self.purpose != Purpose::None {
            let (name, by) = (self.address.to_string(), self.purpose.told().to_owned());
            return Err(Error::InUse { kind: Self::NAMES.word, name, by });
        }
        allocations::release(context.conn, self.id.as_str()).await
    }

    /// The last address of an uplink takes the uplink along.
    async fn deleted(&self, context: &mut Context<'_>) -> Result<(), Error> {
        match &self.router {
            Some(router) => replug(context, router).await,
            None => Ok(()),
        }
    }

    fn prunes(&self) -> bool {
        !matches!(self.purpose, Purpose::SourceNat | Purpose::Appliance)
    }

    /// By its name, or as people know it, by its address.
    async fn locate(
        context: &mut Context<'_>,
        spec: &Map<String, Value>,
    ) -> Result<Option<Self>, Error> {
        let stated = spec.get("address").and_then(Value::as_str);
        if stated.is_none() && !spec.contains_key("name") {
            return Err(invalid("name", "name or address must be given to find it again"));
        }
        let Some(address) = stated.filter(|_| !spec.contains_key("name")) else {
            return dynamic::locate(context, spec).await;
        };
        let mut found = context.own::<Self>(&[("address", address)]).await?;
        found.retain(|ip| context.zones.is_empty() || context.zones.contains(&ip.zone));
        let known = found.len() == 1;
        Ok(found.pop().filter(|_| known))
    }

    fn as_spec(&self) -> Result<Map<String, Value>, Error> {
        let mut fields = dynamic::common_fields(self)?;
        if self.name == self.id {
            fields.remove("name");
        }
        Ok(fields)
    }

    async fn touches(&self, _: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        Ok(self.router.iter().cloned().collect())
    }
}

fn invalid(field: &'static str, reason: &str) -> Error {
    Error::Invalid { field, reason: reason.to_owned() }
}

fn purpose_word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::SourceNat => "source NAT",
        Purpose::Appliance => "address of an appliance",
        _ => "public address",
    }
}

/// An allocated number as an address.
pub fn ipv4(value: i64) -> Result<Ipv4Addr, Error> {
    let corrupt = || Error::Corrupt { what: "address", reason: format!("{value} is none") };
    u32::try_from(value).map(Ipv4Addr::from).map_err(|_| corrupt())
}

async fn take(
    context: &mut Context<'_>,
    zone: &ObjectId,
    spec: &PublicIpSpec,
    taken: Taken<'_>,
) -> Result<(PublicRange, Ipv4Addr), Error> {
    let ranges = match &spec.public_range {
        Some(name) => vec![context.find::<PublicRange>(Some(zone), name).await?],
        None => context.all::<PublicRange>(&[("zone", zone.as_str())]).await?,
    };
    if let Some(address) = spec.address {
        return take_this(context, ranges, address, spec.purpose, taken).await;
    }
    for range in ranges {
        if let Some(address) = range.take_any(context, taken).await? {
            return Ok((range, address));
        }
    }
    let zone: Zone = context.get(zone).await?;
    Err(Error::Exhausted { pool: format!("the public addresses of zone {}", zone.name) })
}

async fn take_this(
    context: &mut Context<'_>,
    ranges: Vec<PublicRange>,
    address: Ipv4Addr,
    purpose: Purpose,
    taken: Taken<'_>,
) -> Result<(PublicRange, Ipv4Addr), Error> {
    let field = if purpose == Purpose::SourceNat { "source_nat" } else { "address" };
    let Some(range) = ranges.into_iter().find(|range| range.has(address)) else {
        let reason = format!("{address} is in no public range that this network may use");
        return Err(Error::Invalid { field, reason });
    };
    if range.take(context, address, taken).await? {
        return Ok((range, address));
    }
    Err(Error::Conflict { field, reason: format!("{address} is taken") })
}

impl PublicIp {
    /// Takes it for a rule that leads to guests of `network`. An address is for static NAT alone, or for any number of
    /// forwards and balancers, with source NAT or without.
    pub(super) async fn claim(
        &mut self,
        context: &mut Context<'_>,
        purpose: Purpose,
        network: Option<&Network>,
    ) -> Result<(), Error> {
        if let Some(network) = network {
            self.is_for(context, network).await?;
        }
        match (self.purpose, purpose) {
            (Purpose::SourceNat | Purpose::Forwards, Purpose::Forwards) => {
                self.may_share(context, network, None).await
            }
            (Purpose::None, purpose) => {
                self.purpose = purpose;
                context.save(self).await
            }
            (used, _) => {
                let reason = format!("{} is used for {}", self.address, used.told());
                Err(Error::Conflict { field: "public_ip", reason })
            }
        }
    }

    /// The forward or static NAT `rule` on the address `id` leads to guests of another network, `network`, from now on.
    pub(super) async fn leads_to(
        context: &mut Context<'_>,
        id: &ObjectId,
        rule: &ObjectId,
        network: &Network,
    ) -> Result<(), Error> {
        let ip: Self = context.get(id).await?;
        ip.is_for(context, network).await?;
        match ip.purpose {
            Purpose::Forwards => ip.may_share(context, Some(network), Some(rule)).await,
            // what was there before addresses became exclusive stays
            _ => Ok(()),
        }
    }

    /// Whether it may have one more forward to `network`, or that of `moved` there, or without a network a balancer. Where
    /// addresses are exclusive, it serves one purpose and one network (guide 11.19).
    async fn may_share(
        &self,
        context: &mut Context<'_>,
        network: Option<&Network>,
        moved: Option<&ObjectId>,
    ) -> Result<(), Error> {
        let zone: Zone = context.get(&self.zone).await?;
        if !zone.exclusive_addresses {
            return Ok(());
        }
        let own = ("public_ip", self.id.as_str());
        let balancers = context.count::<Balancer>(own, 1).await? > 0;
        let forwards = context.count::<PortForward>(own, 1).await? > 0;
        let mut elsewhere = false;
        if let Some(network) = network {
            let not = ("network", network.id.as_str());
            let others = context.others::<PortForward>(own, not).await?;
            elsewhere = others.iter().any(|it| Some(&it.id) != moved);
        }
        let used = match network {
            _ if self.purpose == Purpose::SourceNat => "source NAT",
            Some(_) if balancers => "load balancers",
            None if forwards => "port forwards",
            Some(_) if elsewhere => "port forwards to another network",
            _ => return Ok(()),
        };
        let reason = format!(
            "{} is used for {used}, and addresses of zone {} serve one purpose and one network (exclusive_addresses)",
            self.address, zone.name
        );
        Err(Error::Conflict { field: "public_ip", reason })
    }

    /// Guests of `network` may be behind it.
    pub(super) async fn is_for(
        &self,
        context: &mut Context<'_>,
        network: &Network,
    ) -> Result<(), Error> {
        let Some(own) = self.network.as_ref().filter(|own| **own != network.id) else {
            return Ok(());
        };
        let own: Network = context.get(own).await?;
        let reason = format!("{} belongs to network {}", self.address, own.name);
        Err(Error::Conflict { field: "public_ip", reason })
    }

    /// Lets it go when the last rule goes that uses it; called while that rule is still there.
    pub(super) async fn unclaim(context: &mut Context<'_>, id: &ObjectId) -> Result<(), Error> {
        let mut ip: Self = context.get(id).await?;
        let own = ("public_ip", id.as_str());
        let users = context.count::<PortForward>(own, 2).await?
            + context.count::<StaticNat>(own, 2).await?
            + context.count::<Balancer>(own, 2).await?;
        let by_rules = matches!(ip.purpose, Purpose::StaticNat | Purpose::Forwards);
        if by_rules && users <= 1 {
            ip.purpose = Purpose::None;
            context.save(&ip).await?;
        }
        Ok(())
    }

    /// Releases an address together with what used it.
    pub(super) async fn let_go(mut self, context: &mut Context<'_>) -> Result<(), Error> {
        self.purpose = Purpose::None;
        context.remove(self).await
    }

    /// The address through which the guests behind `router` leave, if it has one for all of them.
    pub(super) async fn shared_source_nat(
        context: &mut Context<'_>,
        router: &ApplianceId,
    ) -> Result<Option<Self>, Error> {
        let all = context.all::<Self>(&[("router", object_id(router).as_str())]).await?;
        Ok(all.into_iter().find(|ip| ip.network.is_none() && ip.purpose == Purpose::SourceNat))
    }
}
