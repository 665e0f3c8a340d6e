//! Private gateways: ways from a VPC to private networks (guide 11.19.5).

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use sluice_api::types::{ApplianceId, InterfaceAddress, LinkName, ObjectId, VlanId};
use utoipa::ToSchema;

use super::acl_list::AclList;
use super::appliance::{free_link, replug};
use super::patch::stated;
use super::physical_network::PhysicalNetwork;
use super::static_route::StaticRoute;
use super::vpc::Vpc;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, named, of_router, rule};
use crate::error::Error;
use crate::store::objects::Cell;

/// A private gateway; fields as in [`PrivateGatewaySpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VpcPrivateGateway)]
pub struct PrivateGateway {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of its VPC.
    pub vpc: ObjectId,
    /// Id of the VPC's router.
    pub router: ApplianceId,
    /// Name of its link in the router.
    pub link: LinkName,
    /// Id of the physical network that carries it.
    pub physical_network: ObjectId,
    /// Its VLAN.
    pub vlan: VlanId,
    /// The router's address in the private network.
    pub address: InterfaceAddress,
    /// Next hop of static routes.
    #[schema(value_type = String)]
    pub gateway: Ipv4Addr,
    /// Id of the access control list that judges what passes; none: nothing passes.
    pub acl: Option<ObjectId>,
    /// Do guests leave by it with its address?
    pub source_nat: bool,
}

/// A private gateway to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivateGatewaySpec {
    /// VPC, by name or id.
    pub vpc: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Physical network that carries it, by name or id. Default: the zone's only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_network: Option<ObjectId>,
    /// Its VLAN, none of the physical network's guest VLANs.
    pub vlan: VlanId,
    /// The router's address in the private network with its prefix length, such as `172.16.0.2/24`.
    pub address: InterfaceAddress,
    /// Next hop of static routes, an address of that network.
    #[schema(value_type = String, example = "172.16.0.1")]
    pub gateway: Ipv4Addr,
    /// Access control list of the VPC, by name or id, that judges what passes in either direction. Default: nothing
    /// passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<ObjectId>,
    /// Do guests leave by it with its address? Default: they keep their own.
    #[serde(default)]
    pub source_nat: bool,
}

/// Changes to a private gateway; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivateGatewayPatch {
    /// New access control list, by name or id; null: nothing passes.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ObjectId>)]
    pub acl: Option<Option<ObjectId>>,
    /// New use of source NAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_nat: Option<bool>,
}

impl Kind for PrivateGateway {
    const NAMES: Names = Names {
        word: "private gateway",
        plural: "private gateways",
        prefix: "pg",
        about: "Ways from VPCs to private networks",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("vpc", "vpc"),
        Key::to("router", "appliance"),
        Key::to("physical_network", "physical network"),
        Key::number("vlan"),
        Key::text("address"),
        Key::to("acl", "acl list"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("VPC", "/vpc"),
        ("VLAN", "/vlan"),
        ("ADDRESS", "/address"),
        ("GATEWAY", "/gateway"),
        ("LIST", "/acl"),
    ];

    type Spec = PrivateGatewaySpec;
    type Patch = PrivateGatewayPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: PrivateGatewaySpec,
    ) -> Result<Self, Error> {
        let vpc: Vpc = context.find(None, &spec.vpc).await?;
        let zone: Zone = context.get(&vpc.zone).await?;
        let asked = spec.physical_network.as_ref();
        let physical = PhysicalNetwork::of_zone(context, &zone, asked).await?;
        physical.keep_apart(spec.vlan, "vlan")?;
        physical.not_public(context, spec.vlan).await?;
        next_hop(&spec.address, spec.gateway)?;
        if spec.address.network().overlaps(&vpc.cidr) {
            let reason = format!("{} overlaps {} of VPC {}", spec.address, vpc.cidr, vpc.name);
            return Err(rule::invalid("address", reason));
        }
        let acl = match &spec.acl {
            Some(name) => Some(context.find::<AclList>(Some(&vpc.id), name).await?.id),
            None => None,
        };
        let gateway = Self {
            id,
            name: spec.name,
            zone: zone.id,
            router: vpc.router()?,
            link: free(context, &vpc).await?,
            vpc: vpc.id,
            physical_network: physical.id,
            vlan: spec.vlan,
            address: spec.address,
            gateway: spec.gateway,
            acl,
            source_nat: spec.source_nat,
        };
        gateway.alone(context).await?;
        Ok(gateway)
    }

    async fn created(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        replug(context, &self.router).await
    }

    async fn deleted(&self, context: &mut Context<'_>) -> Result<(), Error> {
        replug(context, &self.router).await
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: PrivateGatewayPatch,
    ) -> Result<(), Error> {
        if let Some(name) = &patch.acl {
            self.acl = match name {
                Some(name) => Some(context.find::<AclList>(Some(&self.vpc), name).await?.id),
                None => None,
            };
        }
        self.source_nat = patch.source_nat.unwrap_or(self.source_nat);
        Ok(())
    }
}

fn next_hop(address: &InterfaceAddress, gateway: Ipv4Addr) -> Result<(), Error> {
    if !address.network().is_ipv4() || !address.network().usable_for_host(address.ip()) {
        let reason = format!("{address} is not a host address of an IPv4 network");
        return Err(rule::invalid("address", reason));
    }
    let gateway = IpAddr::V4(gateway);
    if !address.network().usable_for_host(gateway) || gateway == address.ip() {
        let reason = format!("{gateway} is not another host address of {}", address.network());
        return Err(rule::invalid("gateway", reason));
    }
    Ok(())
}

async fn free(context: &mut Context<'_>, vpc: &Vpc) -> Result<LinkName, Error> {
    let others = context.all::<PrivateGateway>(&[("vpc", vpc.id.as_str())]).await?;
    free_link("priv", others.iter().map(|other| &other.link))
}

impl PrivateGateway {
    /// No other of the zone has its address on its VLAN, and none of the VPC its VLAN (guide 11.19.5).
    async fn alone(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let physical = Cell::Text(Some(self.physical_network.to_string()));
        let vlan = Cell::Number(Some(self.vlan.get().into()));
        let beside = [("physical_network", physical), ("vlan", vlan)];
        let conflict = |field, reason| Err(Error::Conflict { field, reason });
        for other in context.matching::<Self>(&beside).await? {
            if other.address.ip() == self.address.ip() {
                let reason = format!(
                    "{} on VLAN {} is that of private gateway {}",
                    self.address.ip(),
                    self.vlan,
                    other.name
                );
                return conflict("address", reason);
            }
            if other.vpc == self.vpc {
                let reason = format!("VLAN {} is that of {}", self.vlan, other.name);
                return conflict("vlan", reason);
            }
        }
        let network = self.address.network();
        let routes = context.all::<StaticRoute>(&[("vpc", self.vpc.as_str())]).await?;
        if let Some(route) = routes.iter().find(|route| route.cidr.overlaps(&network)) {
            let reason = format!("{network} overlaps {} of route {}", route.cidr, route.name);
            return conflict("address", reason);
        }
        let own = context.all::<Self>(&[("vpc", self.vpc.as_str())]).await?;
        match own.iter().find(|o| o.address.network().overlaps(&self.address.network())) {
            Some(other) => {
                conflict("address", format!("{} of {} overlaps it", other.address, other.name))
            }
            None => Ok(()),
        }
    }
}
