//! Static NAT: one public address stands for one guest (guide 11.13).

use serde::{Deserialize, Serialize};
use sluice_api::types::{ApplianceId, ObjectId, UtcTime};
use utoipa::ToSchema;

use super::patch::end;
use super::public_ip::{PublicIp, Purpose};
use super::rule;
use super::{Column, Context, Key, Kind, Names, named, of_router};
use crate::error::Error;
use crate::model::Until;

/// A static NAT; fields as in [`StaticNatSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = GuestStaticNat)]
pub struct StaticNat {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the appliance that has the address.
    pub router: ApplianceId,
    /// Id of the public address.
    pub public_ip: ObjectId,
    /// Id of the guest.
    pub guest: ObjectId,
    /// Id of the guest's network.
    pub network: ObjectId,
    /// When it ends, in UTC; none: never.
    #[serde(default)]
    pub until: Option<UtcTime>,
}

/// A static NAT to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticNatSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Public address, by name or id, that nothing else uses.
    pub public_ip: ObjectId,
    /// Guest, by name or id, that no other static NAT leads to.
    pub guest: ObjectId,
    /// Network of the guest, by name or id; needed when guests of that name are in several. Default: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ObjectId>,
    /// When it ends, in UTC, such as `2027-01-31T18:00:00Z`: from then on it does nothing, and connections end that it
    /// allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Changes to a static NAT; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticNatPatch {
    /// New guest, by name or id, behind the same router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<ObjectId>,
    /// Network of the new guest, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ObjectId>,
    /// New end, in UTC; `never`, or null, takes it away.
    #[serde(default, deserialize_with = "end", skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

impl Kind for StaticNat {
    const NAMES: Names = Names {
        word: "static nat",
        plural: "static nats",
        prefix: "sn",
        about: "Public addresses that stand for one guest each",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("public_ip", "public ip"),
        Key::to("guest", "guest"),
        Key::to("network", "network"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("PUBLIC IP", "/public_ip"),
        ("GUEST", "/guest"),
        ("NETWORK", "/network"),
        ("UNTIL", "/until"),
    ];

    type Spec = StaticNatSpec;
    type Patch = StaticNatPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: StaticNatSpec,
    ) -> Result<Self, Error> {
        let (mut ip, router) = rule::address(context, &spec.public_ip).await?;
        let target = rule::target(context, &router, &spec.guest, spec.network.as_ref()).await?;
        ip.claim(context, Purpose::StaticNat, Some(&target.network)).await?;
        let nat = Self {
            id,
            name: spec.name,
            zone: ip.zone,
            router,
            public_ip: ip.id,
            guest: target.guest.id,
            network: target.network.id,
            until: rule::ahead(spec.until)?,
        };
        nat.alone(context).await?;
        Ok(nat)
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: StaticNatPatch,
    ) -> Result<(), Error> {
        self.until = patch.until.map_or(self.until, Until::end);
        let name = patch.guest.as_ref().unwrap_or(&self.guest);
        let target = rule::target(context, &self.router, name, patch.network.as_ref()).await?;
        PublicIp::leads_to(context, &self.public_ip, &self.id, &target.network).await?;
        (self.guest, self.network) = (target.guest.id, target.network.id);
        self.alone(context).await
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        PublicIp::unclaim(context, &self.public_ip).await
    }
}

impl StaticNat {
    /// A guest's connections leave with one address.
    async fn alone(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let others = context.all::<Self>(&[("guest", self.guest.as_str())]).await?;
        match others.iter().find(|other| other.id != self.id && other.network == self.network) {
            Some(other) => {
                let reason = format!("static NAT {} leads to this guest already", other.name);
                Err(Error::Conflict { field: "guest", reason })
            }
            None => Ok(()),
        }
    }
}
