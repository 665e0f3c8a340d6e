//! IPv6 firewall rules: what may come in from the Internet to guests' own IPv6 addresses in an isolated network.

use serde::{Deserialize, Serialize};
use sluice_api::types::{ApplianceId, Cidr, ObjectId, PortRange, UtcTime};
use utoipa::ToSchema;

use super::network::Network;
use super::patch::{end, stated};
use super::rule::{self, Stated};
use super::{Column, Context, Key, Kind, Names, named, of_router};
use crate::error::Error;
use crate::model::{RuleProtocol, Until};

/// An IPv6 firewall rule; fields as in [`Ipv6FirewallRuleSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = NetworkIpv6Rule)]
pub struct Ipv6FirewallRule {
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
    /// Where from; empty: anywhere.
    pub sources: Vec<Cidr>,
    /// To which guests; empty: all.
    pub destinations: Vec<Cidr>,
    /// What.
    pub protocol: RuleProtocol,
    /// To which ports; none: all.
    pub ports: Option<PortRange>,
    /// Which ICMPv6 type; none: all.
    pub icmp_type: Option<u8>,
    /// Which ICMPv6 code; none: all.
    pub icmp_code: Option<u8>,
    /// When it ends, in UTC; none: never.
    #[serde(default)]
    pub until: Option<UtcTime>,
}

/// An IPv6 firewall rule to be. What no rule lets in is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipv6FirewallRuleSpec {
    /// Unique in the zone.
    pub name: ObjectId,
    /// Network with IPv6, by name or id.
    pub network: ObjectId,
    /// What: all, tcp, udp, icmp or a protocol number.
    pub protocol: RuleProtocol,
    /// To which ports, such as `80` or `8000-8099`, of tcp and udp. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortRange>,
    /// Which ICMPv6 type. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Which ICMPv6 code; needs a type. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// Where from, IPv6 networks. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Cidr>,
    /// To which guests: addresses or networks within the network's `ipv6_cidr`. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Cidr>,
    /// When it ends, in UTC, such as `2027-01-31T18:00:00Z`: from then on it does nothing, and connections end that it
    /// allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Changes to an IPv6 firewall rule; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipv6FirewallRulePatch {
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

impl Kind for Ipv6FirewallRule {
    const NAMES: Names = Names {
        word: "ipv6 firewall rule",
        plural: "ipv6 firewall rules",
        prefix: "f6",
        about: "What may come in to guests' IPv6 addresses",
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

    type Spec = Ipv6FirewallRuleSpec;
    type Patch = Ipv6FirewallRulePatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: Ipv6FirewallRuleSpec,
    ) -> Result<Self, Error> {
        let network: Network = context.find(None, &spec.network).await?;
        let router = network.router.ok_or_else(|| {
            rule::invalid("network", format!("network {} has no router", network.name))
        })?;
        if network.vpc.is_some() {
            let reason = format!("tier {} is guarded by its access control list", network.name);
            return Err(rule::invalid("network", reason));
        }
        if network.ipv6_cidr.is_none() {
            let reason = format!("network {} has no ipv6_cidr", network.name);
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
            until: rule::ahead(spec.until)?,
        };
        rule.stated().traffic()?;
        Ok(rule)
    }

    async fn update(
        &mut self,
        _: &mut Context<'_>,
        patch: Ipv6FirewallRulePatch,
    ) -> Result<(), Error> {
        self.sources = patch.sources.unwrap_or_else(|| self.sources.clone());
        self.destinations = patch.destinations.unwrap_or_else(|| self.destinations.clone());
        self.ports = patch.ports.unwrap_or(self.ports);
        self.until = patch.until.map_or(self.until, Until::end);
        self.stated().traffic().map(drop)
    }
}

impl Ipv6FirewallRule {
    /// What it lets in.
    pub(crate) fn traffic(&self) -> Result<sluice_api::config::Traffic, Error> {
        self.stated().traffic()
    }

    fn stated(&self) -> Stated {
        Stated {
            protocol: self.protocol,
            ports: self.ports,
            icmp_type: self.icmp_type,
            icmp_code: self.icmp_code,
        }
    }
}
