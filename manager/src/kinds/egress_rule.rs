//! Egress rules: exceptions to a network's policy towards the outside (guide 11.14).

use serde::{Deserialize, Serialize};
use sluice_api::config::Helper;
use sluice_api::types::{ApplianceId, Cidr, ObjectId, PortRange, UtcTime};
use utoipa::ToSchema;

use super::network::Network;
use super::patch::{end, stated};
use super::rule;
use super::{Column, Context, Key, Kind, Names, named, of_router};
use crate::error::Error;
use crate::model::{RuleProtocol, Until};

/// An egress rule; fields as in [`EgressRuleSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = NetworkEgressRule)]
pub struct EgressRule {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the network's router.
    pub router: ApplianceId,
    /// Id of the network.
    pub network: ObjectId,
    /// Which guests; empty: all.
    pub sources: Vec<Cidr>,
    /// Where to; empty: anywhere.
    pub destinations: Vec<Cidr>,
    /// What.
    pub protocol: RuleProtocol,
    /// To which ports; none: all.
    pub ports: Option<PortRange>,
    /// Which ICMP type; none: all.
    pub icmp_type: Option<u8>,
    /// Which ICMP code; none: all.
    pub icmp_code: Option<u8>,
    /// Which helper its connections get; none: no helper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC; none: never.
    #[serde(default)]
    pub until: Option<UtcTime>,
}

/// An egress rule to be: where the network's policy is `deny` this may leave, where it is `allow` this may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressRuleSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Network, by name or id.
    pub network: ObjectId,
    /// What: all, tcp, udp, icmp or a protocol number.
    pub protocol: RuleProtocol,
    /// To which ports, such as `80` or `8000-8099`, of tcp and udp. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
    /// Which ICMP type. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Which ICMP code; needs a type. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// Which guests, networks or addresses within the network. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// Where to. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Cidr>,
    /// Which helper its connections get, so that what they agree on passes too: ftp, tftp or pptp. Needs tcp (ftp, pptp) or
    /// udp (tftp) with ports; the rule lets pass whatever the policy of the network is. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC, such as `2027-01-31T18:00:00Z`: from then on it does nothing, and connections end that it
    /// allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Changes to an egress rule; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressRulePatch {
    /// New sources; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Cidr>>,
    /// New destinations; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<Cidr>>,
    /// New ports; null: all of them.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PortRange>)]
    pub ports: Option<Option<PortRange>>,
    /// New end, in UTC; `never`, or null, takes it away.
    #[serde(default, deserialize_with = "end", skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

impl Kind for EgressRule {
    const NAMES: Names = Names {
        word: "egress rule",
        plural: "egress rules",
        prefix: "er",
        about: "Exceptions to networks' egress policies",
    };
    const KEYS: &'static [Key] =
        &[Key::to("zone", "zone"), Key::to("router", "appliance"), Key::to("network", "network")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("NETWORK", "/network"),
        ("PROTOCOL", "/protocol"),
        ("PORTS", "/ports"),
        ("SOURCES", "/sources"),
        ("DESTINATIONS", "/destinations"),
        ("UNTIL", "/until"),
    ];

    type Spec = EgressRuleSpec;
    type Patch = EgressRulePatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: EgressRuleSpec,
    ) -> Result<Self, Error> {
        let network: Network = context.find(None, &spec.network).await?;
        let router = network.router.ok_or_else(|| {
            rule::invalid("network", format!("network {} has no router", network.name))
        })?;
        if network.vpc.is_some() {
            let reason = format!("tier {} is guarded by its access control list", network.name);
            return Err(rule::invalid("network", reason));
        }
        let rule = Self {
            id,
            name: spec.name,
            zone: network.zone,
            router,
            network: network.id,
            sources: spec.sources,
            destinations: spec.destinations,
            protocol: spec.protocol,
            ports: spec.ports,
            icmp_type: spec.icmp_type,
            icmp_code: spec.icmp_code,
            helper: spec.helper,
            until: rule::ahead(spec.until)?,
        };
        rule.traffic()?;
        Ok(rule)
    }

    async fn update(&mut self, _: &mut Context<'_>, patch: EgressRulePatch) -> Result<(), Error> {
        self.sources = patch.sources.unwrap_or_else(|| self.sources.clone());
        self.destinations = patch.destinations.unwrap_or_else(|| self.destinations.clone());
        self.ports = patch.ports.unwrap_or(self.ports);
        self.until = patch.until.map_or(self.until, Until::end);
        self.traffic().map(drop)
    }
}

impl EgressRule {
    rule::stated!();
}
