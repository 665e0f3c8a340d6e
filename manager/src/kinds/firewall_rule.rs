//! Firewall rules: what may come in to a public address of an isolated network (guide 11.14).

use serde::{Deserialize, Serialize};
use sluice_api::config::Helper;
use sluice_api::types::{ApplianceId, Cidr, ObjectId, PortRange, UtcTime};
use utoipa::ToSchema;

use super::patch::{end, stated};
use super::rule;
use super::vpc::Vpc;
use super::{Column, Context, Key, Kind, Names, named, of_router};
use crate::error::Error;
use crate::model::{RuleProtocol, Until};

/// A firewall rule; fields as in [`FirewallRuleSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PublicFirewallRule)]
pub struct FirewallRule {
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
    /// What.
    pub protocol: RuleProtocol,
    /// To which ports; none: all.
    pub ports: Option<PortRange>,
    /// Which ICMP type; none: all.
    pub icmp_type: Option<u8>,
    /// Which ICMP code; none: all.
    pub icmp_code: Option<u8>,
    /// Where from; empty: anywhere.
    pub sources: Vec<Cidr>,
    /// Which helper its connections get; none: no helper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC; none: never.
    #[serde(default)]
    pub until: Option<UtcTime>,
}

/// A firewall rule to be. What no rule lets in is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirewallRuleSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Public address, by name or id.
    pub public_ip: ObjectId,
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
    /// Where from, IPv4 networks. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// Which helper its connections get, so that what they agree on passes too: ftp, tftp or pptp. Needs tcp (ftp, pptp) or
    /// udp (tftp) with ports. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC, such as `2027-01-31T18:00:00Z`: from then on it does nothing, and connections end that it
    /// allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Changes to a firewall rule; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirewallRulePatch {
    /// New sources; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Cidr>>,
    /// New ports; null: all of them.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PortRange>)]
    pub ports: Option<Option<PortRange>>,
    /// New end, in UTC; `never`, or null, takes it away.
    #[serde(default, deserialize_with = "end", skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

impl Kind for FirewallRule {
    const NAMES: Names = Names {
        word: "firewall rule",
        plural: "firewall rules",
        prefix: "fw",
        about: "What may come in to public addresses",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("public_ip", "public ip"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("PUBLIC IP", "/public_ip"),
        ("PROTOCOL", "/protocol"),
        ("PORTS", "/ports"),
        ("SOURCES", "/sources"),
        ("UNTIL", "/until"),
    ];

    type Spec = FirewallRuleSpec;
    type Patch = FirewallRulePatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: FirewallRuleSpec,
    ) -> Result<Self, Error> {
        let (ip, router) = rule::address(context, &spec.public_ip).await?;
        if let Some(vpc) = Vpc::of_router(context, &router).await? {
            let reason = format!(
                "{} is of VPC {}, whose tiers are guarded by access control lists",
                ip.address, vpc.name
            );
            return Err(rule::invalid("public_ip", reason));
        }
        let rule = Self {
            id,
            name: spec.name,
            zone: ip.zone,
            router,
            public_ip: ip.id,
            protocol: spec.protocol,
            ports: spec.ports,
            icmp_type: spec.icmp_type,
            icmp_code: spec.icmp_code,
            sources: spec.sources,
            helper: spec.helper,
            until: rule::ahead(spec.until)?,
        };
        rule.traffic()?;
        Ok(rule)
    }

    async fn update(&mut self, _: &mut Context<'_>, patch: FirewallRulePatch) -> Result<(), Error> {
        self.sources = patch.sources.unwrap_or_else(|| self.sources.clone());
        self.ports = patch.ports.unwrap_or(self.ports);
        self.until = patch.until.map_or(self.until, Until::end);
        self.traffic().map(drop)
    }
}

impl FirewallRule {
    rule::stated!();
}
