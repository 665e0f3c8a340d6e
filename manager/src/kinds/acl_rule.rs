//! Rules of access control lists (guide 11.19.4).

use serde::{Deserialize, Serialize};
use sluice_api::config::{AclAction, AclDirection, Helper, Traffic};
use sluice_api::types::{AclNumber, ApplianceId, Cidr, ObjectId, PortRange, UtcTime};
use utoipa::ToSchema;

use super::acl_list::AclList;
use super::patch::{end, stated};
use super::rule::{self, Stated};
use super::{Column, Context, Key, Kind, Names, named, of_router};
use crate::error::Error;
use crate::model::{RuleProtocol, Until};
use crate::store::objects::Cell;

/// A rule of an access control list; fields as in [`AclRuleSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ListRule)]
pub struct AclRule {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the list.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the VPC's router.
    pub router: ApplianceId,
    /// Id of the list.
    pub acl_list: ObjectId,
    /// Its place in the list.
    pub number: AclNumber,
    /// Into the tier or out of it.
    pub direction: AclDirection,
    /// What becomes of it.
    pub action: AclAction,
    /// The other end; empty: anywhere.
    pub networks: Vec<Cidr>,
    /// What.
    pub protocol: RuleProtocol,
    /// To which ports; none: all.
    pub ports: Option<PortRange>,
    /// Which ICMP type; none: all.
    pub icmp_type: Option<u8>,
    /// Which ICMP code; none: all.
    pub icmp_code: Option<u8>,
    /// It came with its VPC and goes with it.
    pub with_vpc: bool,
    /// Which helper its connections get; none: no helper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC; none: never.
    #[serde(default)]
    pub until: Option<UtcTime>,
}

/// A rule of an access control list to be: the first that fits decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AclRuleSpec {
    /// Access control list, by name or id.
    pub acl_list: ObjectId,
    /// Unique in the list.
    pub name: ObjectId,
    /// Its place in the list, used once; smaller is asked first.
    pub number: AclNumber,
    /// Into the tier or out of it.
    pub direction: AclDirection,
    /// What becomes of it.
    pub action: AclAction,
    /// The other end: sources of ingress, destinations of egress. Default: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Cidr>,
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
    /// Which helper its connections get, so that what they agree on passes too: ftp, tftp or pptp. Needs tcp (ftp, pptp) or
    /// udp (tftp) with ports, and the action allow. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
    /// When it ends, in UTC, such as `2027-01-31T18:00:00Z`: from then on it does nothing, and connections end that it
    /// allowed. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
}

/// Changes to a rule of an access control list; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AclRulePatch {
    /// New place in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<AclNumber>,
    /// What becomes of it from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<AclAction>,
    /// New other ends; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<Cidr>>,
    /// New ports; null: all of them.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PortRange>)]
    pub ports: Option<Option<PortRange>>,
    /// New end, in UTC; `never`, or null, takes it away.
    #[serde(default, deserialize_with = "end", skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

impl AclRuleSpec {
    /// Lets everything pass in both directions.
    pub(super) fn everything(list: &ObjectId) -> Result<Vec<Self>, Error> {
        let corrupt = |error: sluice_api::types::InvalidValue| Error::Corrupt {
            what: "default rule",
            reason: error.to_string(),
        };
        let rule = |name: &str, number: &str, direction| -> Result<Self, Error> {
            Ok(Self {
                acl_list: list.clone(),
                name: name.parse().map_err(corrupt)?,
                number: number.parse().map_err(corrupt)?,
                direction,
                action: AclAction::Allow,
                networks: Vec::new(),
                protocol: RuleProtocol::All,
                ports: None,
                icmp_type: None,
                icmp_code: None,
                helper: None,
                until: None,
            })
        };
        Ok(vec![rule("in", "1", AclDirection::Ingress)?, rule("out", "2", AclDirection::Egress)?])
    }
}

impl Kind for AclRule {
    const NAMES: Names = Names {
        word: "acl rule",
        plural: "acl rules",
        prefix: "ar",
        about: "Rules of access control lists",
    };
    const KEYS: &'static [Key] =
        &[Key::to("zone", "zone"), Key::to("router", "appliance"), Key::to("acl_list", "acl list")];
    const DERIVED: &'static [(&'static str, fn(&Self) -> Cell)] =
        &[("number", |it| Cell::Number(Some(it.number.get().into())))];
    const SCOPE: Option<&'static str> = Some("acl_list");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("LIST", "/acl_list"),
        ("NUMBER", "/number"),
        ("DIRECTION", "/direction"),
        ("ACTION", "/action"),
        ("PROTOCOL", "/protocol"),
        ("PORTS", "/ports"),
        ("NETWORKS", "/networks"),
        ("UNTIL", "/until"),
    ];

    type Spec = AclRuleSpec;
    type Patch = AclRulePatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: AclRuleSpec,
    ) -> Result<Self, Error> {
        let list: AclList = context.find(None, &spec.acl_list).await?;
        let rule = Self {
            id,
            name: spec.name,
            zone: list.zone,
            router: list.router,
            acl_list: list.id,
            number: spec.number,
            direction: spec.direction,
            action: spec.action,
            networks: spec.networks,
            protocol: spec.protocol,
            ports: spec.ports,
            icmp_type: spec.icmp_type,
            icmp_code: spec.icmp_code,
            with_vpc: list.with_vpc,
            helper: spec.helper,
            until: rule::ahead(spec.until)?,
        };
        rule.traffic()?;
        rule.alone(context).await?;
        Ok(rule)
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: AclRulePatch,
    ) -> Result<(), Error> {
        self.number = patch.number.unwrap_or(self.number);
        self.action = patch.action.unwrap_or(self.action);
        self.networks = patch.networks.unwrap_or_else(|| self.networks.clone());
        self.ports = patch.ports.unwrap_or(self.ports);
        self.until = patch.until.map_or(self.until, Until::end);
        self.traffic()?;
        self.alone(context).await
    }

    fn prunes(&self) -> bool {
        !self.with_vpc
    }
}

impl AclRule {
    /// What it is about.
    pub(crate) fn traffic(&self) -> Result<Traffic, Error> {
        let (protocol, ports) = (self.protocol, self.ports);
        let (icmp_type, icmp_code) = (self.icmp_type, self.icmp_code);
        Stated { protocol, ports, icmp_type, icmp_code }.traffic()
    }

    /// No other rule of the list has its number.
    async fn alone(&self, context: &mut Context<'_>) -> Result<(), Error> {
        let list = Cell::Text(Some(self.acl_list.to_string()));
        let number = Cell::Number(Some(self.number.get().into()));
        let others = context.matching::<Self>(&[("acl_list", list), ("number", number)]).await?;
        match others.iter().find(|other| other.id != self.id) {
            Some(other) => {
                let reason = format!("{} is the number of rule {}", self.number, other.name);
                Err(Error::Conflict { field: "number", reason })
            }
            None => Ok(()),
        }
    }
}
