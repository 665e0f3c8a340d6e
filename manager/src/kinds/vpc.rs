//! Virtual private clouds: tiers behind one router of their own (guide 11.19).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::types::{ApplianceId, Cidr, ObjectId};
use utoipa::ToSchema;

use super::acl_list::{self, AclList, AclListSpec};
use super::acl_rule::{AclRule, AclRuleSpec};
use super::appliance::{Appliance, ApplianceSpec, object_id, retire};
use super::balancer_member::BalancerMember;
use super::network::Network;
use super::public_ip::{PublicIp, PublicIpSpec, Purpose};
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, named, rule};
use crate::error::Error;

/// A VPC; fields as in [`VpcSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VirtualPrivateCloud)]
pub struct Vpc {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// The super CIDR.
    pub cidr: Cidr,
    /// Most tiers.
    pub max_tiers: u16,
    /// Most tiers with members of load balancing rules.
    #[serde(default = "default_max_balanced_tiers")]
    pub max_balanced_tiers: u16,
    /// Id of the range of its source-NAT address.
    pub public_range: Option<ObjectId>,
    /// The address with which guests of all tiers leave.
    #[schema(value_type = Option<String>)]
    pub source_nat: Option<Ipv4Addr>,
    /// Id of its router.
    pub router: Option<ApplianceId>,
}

/// A VPC to be. It gets a router, a source-NAT address, and the lists `default-deny` and `default-allow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpcSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// The super CIDR: an IPv4 network of RFC 1918 that has all tiers inside.
    pub cidr: Cidr,
    /// Most tiers, 1 to 250 (`vpc.max.networks`). Default 3.
    #[serde(default = "default_max_tiers")]
    pub max_tiers: u16,
    /// Most tiers with members of load balancing rules, 1 to 250. Default 1, as the guide has it.
    #[serde(default = "default_max_balanced_tiers")]
    pub max_balanced_tiers: u16,
    /// Public range of the source-NAT address, by name or id. Default: whichever of the zone has a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_range: Option<ObjectId>,
    /// Source-NAT address. Default: a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "198.51.100.10")]
    pub source_nat: Option<Ipv4Addr>,
}

/// Changes to a VPC; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpcPatch {
    /// New bound of tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tiers: Option<u16>,
    /// New bound of tiers with members of load balancing rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_balanced_tiers: Option<u16>,
}

fn default_max_tiers() -> u16 {
    3
}

fn default_max_balanced_tiers() -> u16 {
    1
}

impl Kind for Vpc {
    const NAMES: Names = Names {
        word: "vpc",
        plural: "vpcs",
        prefix: "vpc",
        about: "Virtual private clouds: tiers behind one router",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::named("public_range", "public range"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("ZONE", "/zone"),
        ("CIDR", "/cidr"),
        ("SOURCE NAT", "/source_nat"),
        ("ROUTER", "/router"),
    ];

    type Spec = VpcSpec;
    type Patch = VpcPatch;

    named!();

    async fn create(context: &mut Context<'_>, id: ObjectId, spec: VpcSpec) -> Result<Self, Error> {
        let zone = context.find::<Zone>(None, &spec.zone).await?;
        let most = i64::from(zone.max_vpcs);
        if context.count::<Self>(("zone", zone.id.as_str()), most).await? >= most {
            let pool = format!("the {} VPCs of zone {} (max_vpcs)", zone.max_vpcs, zone.name);
            return Err(Error::Exhausted { pool });
        }
        super_cidr(spec.cidr)?;
        bound("max_tiers", spec.max_tiers)?;
        bound("max_balanced_tiers", spec.max_balanced_tiers)?;
        if spec.cidr.overlaps(&zone.control_cidr) {
            let reason = format!("{} overlaps control_cidr {}", spec.cidr, zone.control_cidr);
            return Err(rule::invalid("cidr", reason));
        }
        let router =
            ApplianceSpec { with_network: true, ..ApplianceSpec::of_zone(&zone.id, Role::Router) };
        let router = context.make::<Appliance>(router).await?.id;
        Ok(Self {
            id,
            name: spec.name,
            zone: zone.id,
            cidr: spec.cidr,
            max_tiers: spec.max_tiers,
            max_balanced_tiers: spec.max_balanced_tiers,
            public_range: spec.public_range,
            source_nat: spec.source_nat,
            router: Some(router),
        })
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let asked = PublicIpSpec {
            vpc: Some(self.id.clone()),
            public_range: self.public_range.take(),
            address: self.source_nat.take(),
            purpose: Purpose::SourceNat,
            ..PublicIpSpec::of_zone(&self.zone)
        };
        let ip = context.make::<PublicIp>(asked).await?;
        (self.source_nat, self.public_range) = (Some(ip.address), Some(ip.public_range));
        self.default_lists(context).await
    }

    async fn update(&mut self, context: &mut Context<'_>, patch: VpcPatch) -> Result<(), Error> {
        self.max_tiers = patch.max_tiers.unwrap_or(self.max_tiers);
        bound("max_tiers", self.max_tiers)?;
        self.max_balanced_tiers = patch.max_balanced_tiers.unwrap_or(self.max_balanced_tiers);
        bound("max_balanced_tiers", self.max_balanced_tiers)?;
        let balanced = self.balanced_tiers(context).await?.len();
        if balanced > usize::from(self.max_balanced_tiers) {
            let reason = format!("there are {balanced} tiers with members already");
            return Err(rule::invalid("max_balanced_tiers", reason));
        }
        let tiers = context.all::<Network>(&[("vpc", self.id.as_str())]).await?.len();
        if tiers > usize::from(self.max_tiers) {
            return Err(rule::invalid("max_tiers", format!("there are {tiers} tiers already")));
        }
        Ok(())
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let own = self.id.clone();
        let own = [("vpc", own.as_str())];
        if let Some(tier) = context.all::<Network>(&own).await?.first() {
            let by = format!("tier {}", tier.name);
            return Err(Error::InUse { kind: Self::NAMES.word, name: self.name(), by });
        }
        for list in context.all::<AclList>(&own).await? {
            if list.with_vpc {
                for rule in context.all::<AclRule>(&[("acl_list", list.id.as_str())]).await? {
                    context.remove(rule).await?;
                }
                context.remove(list).await?;
            }
        }
        for ip in context.all::<PublicIp>(&own).await? {
            if ip.purpose == Purpose::SourceNat {
                ip.let_go(context).await?;
            }
        }
        let Some(router) = self.router.take() else { return Ok(()) };
        context.save(self).await?;
        self.router = Some(router.clone());
        retire(context, &router).await
    }

    async fn touches(&self, _: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        Ok(self.router.iter().cloned().collect())
    }
}

/// RFC 1918, as the guide wants it (11.19.1), with room for a tier.
fn super_cidr(cidr: Cidr) -> Result<(), Error> {
    let private = matches!(cidr.network(), IpAddr::V4(first) if first.is_private())
        && matches!(cidr.last(), IpAddr::V4(last) if last.is_private());
    if !private || cidr.prefix() > 28 {
        let reason = format!("{cidr} is not an IPv4 network of RFC 1918, /28 or wider");
        return Err(rule::invalid("cidr", reason));
    }
    Ok(())
}

fn bound(field: &'static str, tiers: u16) -> Result<(), Error> {
    if (1..=250).contains(&tiers) {
        return Ok(());
    }
    Err(rule::invalid(field, "must be 1 to 250"))
}

impl Vpc {
    /// The VPC whose router this is.
    pub(crate) async fn of_router(
        context: &mut Context<'_>,
        router: &ApplianceId,
    ) -> Result<Option<Self>, Error> {
        Ok(context.all::<Self>(&[("router", object_id(router).as_str())]).await?.pop())
    }

    /// Its router; one that is being deleted has none.
    pub(super) fn router(&self) -> Result<ApplianceId, Error> {
        self.router.clone().ok_or_else(|| Error::Corrupt {
            what: "vpc",
            reason: format!("{} has no router", self.id),
        })
    }

    /// A tier of it may have this network.
    pub(super) async fn room(&self, context: &mut Context<'_>, cidr: Cidr) -> Result<(), Error> {
        if !(self.cidr.contains(cidr.network()) && self.cidr.contains(cidr.last())) {
            let reason = format!("{cidr} is not inside {} of VPC {}", self.cidr, self.name);
            return Err(rule::invalid("cidr", reason));
        }
        let tiers = context.all::<Network>(&[("vpc", self.id.as_str())]).await?.len();
        if tiers >= usize::from(self.max_tiers) {
            let pool = format!("the {} tiers of VPC {} (max_tiers)", self.max_tiers, self.name);
            return Err(Error::Exhausted { pool });
        }
        Ok(())
    }

    /// Members of load balancing rules may be in the tier `network`.
    pub(super) async fn may_balance(
        &self,
        context: &mut Context<'_>,
        network: &Network,
    ) -> Result<(), Error> {
        let balanced = self.balanced_tiers(context).await?;
        let room = balanced.len() < usize::from(self.max_balanced_tiers);
        if room || balanced.contains(&network.id) {
            return Ok(());
        }
        let mut names = Vec::new();
        for tier in &balanced {
            names.push(context.get::<Network>(tier).await?.name.to_string());
        }
        let reason = format!(
            "VPC {} balances load in {} already, and in no more than {} (max_balanced_tiers)",
            self.name,
            names.join(", "),
            self.max_balanced_tiers
        );
        Err(Error::Conflict { field: "guest", reason })
    }

    /// The tiers with members of load balancing rules.
    async fn balanced_tiers(&self, context: &mut Context<'_>) -> Result<BTreeSet<ObjectId>, Error> {
        let Some(router) = &self.router else { return Ok(BTreeSet::new()) };
        let router = object_id(router);
        let members = context.all::<BalancerMember>(&[("router", router.as_str())]).await?;
        Ok(members.into_iter().map(|member| member.network).collect())
    }

    /// What every VPC has: a list that lets nothing in, and one that lets everything pass.
    async fn default_lists(&self, context: &mut Context<'_>) -> Result<(), Error> {
        context.make::<AclList>(AclListSpec::made_with(&self.id, acl_list::DEFAULT)?).await?;
        let allow = AclListSpec::made_with(&self.id, "default-allow")?;
        let allow = context.make::<AclList>(allow).await?;
        for rule in AclRuleSpec::everything(&allow.id)? {
            context.make::<AclRule>(rule).await?;
        }
        Ok(())
    }
}
