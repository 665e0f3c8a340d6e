//! Static routes of a VPC by its private gateways (guide 11.19.5).

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use sluice_api::types::{ApplianceId, Cidr, ObjectId};
use utoipa::ToSchema;

use super::private_gateway::PrivateGateway;
use super::vpc::Vpc;
use super::{Column, Context, Key, Kind, Names, NoPatch, named, of_router, rule};
use crate::error::Error;

/// A static route; fields as in [`StaticRouteSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StaticRoute {
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
    /// Id of the private gateway.
    pub private_gateway: ObjectId,
    /// Where to.
    pub cidr: Cidr,
    /// Next hop; none: the private gateway's.
    #[schema(value_type = Option<String>)]
    pub next_hop: Option<Ipv4Addr>,
}

/// A static route to be. There are none by the public gateway: everything else leaves there anyway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticRouteSpec {
    /// Private gateway, by name or id.
    pub private_gateway: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Where to, an IPv4 network apart from the VPC's and from those of its other routes.
    pub cidr: Cidr,
    /// Next hop in the private network. Default: the private gateway's `gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "172.16.0.1")]
    pub next_hop: Option<Ipv4Addr>,
}

impl Kind for StaticRoute {
    const NAMES: Names = Names {
        word: "static route",
        plural: "static routes",
        prefix: "sr",
        about: "Routes of VPCs by their private gateways",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("vpc", "vpc"),
        Key::to("router", "appliance"),
        Key::to("private_gateway", "private gateway"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("VPC", "/vpc"),
        ("CIDR", "/cidr"),
        ("PRIVATE GATEWAY", "/private_gateway"),
        ("NEXT HOP", "/next_hop"),
    ];

    type Spec = StaticRouteSpec;
    type Patch = NoPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: StaticRouteSpec,
    ) -> Result<Self, Error> {
        let gateway: PrivateGateway = context.find(None, &spec.private_gateway).await?;
        let vpc: Vpc = context.get(&gateway.vpc).await?;
        apart(context, &vpc, spec.cidr).await?;
        if let Some(hop) = spec.next_hop.map(IpAddr::V4) {
            let network = gateway.address.network();
            if !network.usable_for_host(hop) || hop == gateway.address.ip() {
                let reason = format!("{hop} is not another host address of {network}");
                return Err(rule::invalid("next_hop", reason));
            }
        }
        Ok(Self {
            id,
            name: spec.name,
            zone: gateway.zone,
            vpc: vpc.id,
            router: gateway.router,
            private_gateway: gateway.id,
            cidr: spec.cidr,
            next_hop: spec.next_hop,
        })
    }
}

/// The guide's rules of conflict (11.19.5).
async fn apart(context: &mut Context<'_>, vpc: &Vpc, cidr: Cidr) -> Result<(), Error> {
    if !cidr.is_ipv4() || cidr.prefix() == 0 {
        let reason =
            "must be an IPv4 network, and not everything, which leaves by the public gateway";
        return Err(rule::invalid("cidr", reason));
    }
    if cidr.overlaps(&vpc.cidr) {
        let reason = format!("{cidr} overlaps {} of VPC {}", vpc.cidr, vpc.name);
        return Err(rule::invalid("cidr", reason));
    }
    for gateway in context.all::<PrivateGateway>(&[("vpc", vpc.id.as_str())]).await? {
        if gateway.address.network().overlaps(&cidr) {
            let reason = format!("{cidr} overlaps {} of {}", gateway.address, gateway.name);
            return Err(rule::invalid("cidr", reason));
        }
    }
    let others = context.all::<StaticRoute>(&[("vpc", vpc.id.as_str())]).await?;
    match others.iter().find(|other| other.cidr.overlaps(&cidr)) {
        Some(other) => {
            let reason = format!("{cidr} overlaps {} of route {}", other.cidr, other.name);
            Err(Error::Conflict { field: "cidr", reason })
        }
        None => Ok(()),
    }
}
