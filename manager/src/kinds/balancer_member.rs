//! Members of load balancing rules: the guests among whom connections are shared out.

use serde::{Deserialize, Serialize};
use sluice_api::types::{ApplianceId, ObjectId, Port, Weight};
use utoipa::ToSchema;

use super::balancer::Balancer;
use super::{Column, Context, Key, Kind, Names, named, of_router, rule};
use crate::error::Error;

/// A member of a load balancing rule; fields as in [`BalancerMemberSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BalancerMember {
    /// Never used again once deleted; also what cookies name it by.
    pub id: ObjectId,
    /// Unique in the rule.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the rule's router.
    pub router: ApplianceId,
    /// Id of the rule.
    pub balancer: ObjectId,
    /// Id of the guest.
    pub guest: ObjectId,
    /// Id of the guest's network.
    pub network: ObjectId,
    /// Its port; none: the rule's private port.
    pub port: Option<Port>,
    /// Its share against the others'.
    pub weight: Weight,
    /// Does it serve only when no other can?
    pub backup: bool,
    /// Does it get no new clients?
    pub drain: bool,
}

/// A member to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalancerMemberSpec {
    /// Load balancing rule, by name or id.
    pub balancer: ObjectId,
    /// Unique in the rule.
    pub name: ObjectId,
    /// Guest, by name or id.
    pub guest: ObjectId,
    /// Network of the guest, by name or id; needed when guests of that name are in several. Default: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ObjectId>,
    /// Its port. Default: the rule's private port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Its share against the others', 0 to 256; 0: only clients that are bound to it. Default 1.
    #[serde(default)]
    pub weight: Weight,
    /// Does it serve only when no other can? Default false.
    #[serde(default)]
    pub backup: bool,
    /// Does it get no new clients? Default false.
    #[serde(default)]
    pub drain: bool,
}

/// Changes to a member; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalancerMemberPatch {
    /// New port; a member with another port is another one to those who were bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// New share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Whether it serves only when no other can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<bool>,
    /// Whether it gets no new clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<bool>,
}

impl Kind for BalancerMember {
    const NAMES: Names = Names {
        word: "balancer member",
        plural: "balancer members",
        prefix: "lm",
        about: "Guests behind load balancing rules",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("balancer", "balancer"),
        Key::to("guest", "guest"),
        Key::to("network", "network"),
    ];
    const SCOPE: Option<&'static str> = Some("balancer");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("BALANCER", "/balancer"),
        ("GUEST", "/guest"),
        ("PORT", "/port"),
        ("WEIGHT", "/weight"),
        ("BACKUP", "/backup"),
        ("DRAIN", "/drain"),
    ];

    type Spec = BalancerMemberSpec;
    type Patch = BalancerMemberPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: BalancerMemberSpec,
    ) -> Result<Self, Error> {
        let balancer: Balancer = context.find(None, &spec.balancer).await?;
        let router = &balancer.router;
        let target = rule::target(context, router, &spec.guest, spec.network.as_ref()).await?;
        balancer.may_lead_to(context, &target.network).await?;
        Ok(Self {
            id,
            name: spec.name,
            zone: balancer.zone,
            router: balancer.router,
            balancer: balancer.id,
            guest: target.guest.id,
            network: target.network.id,
            port: spec.port,
            weight: spec.weight,
            backup: spec.backup,
            drain: spec.drain,
        })
    }

    async fn update(
        &mut self,
        _: &mut Context<'_>,
        patch: BalancerMemberPatch,
    ) -> Result<(), Error> {
        self.port = patch.port.or(self.port);
        self.weight = patch.weight.unwrap_or(self.weight);
        self.backup = patch.backup.unwrap_or(self.backup);
        self.drain = patch.drain.unwrap_or(self.drain);
        Ok(())
    }
}
