//! The whole configuration of one appliance: what every appliance has, and the part of its role.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnyPart, Link, PolicyRule, Route};
use crate::types::{ApplianceId, Cidr, FormatVersion, Generation, LinkName};

/// The version of this format.
pub type ConfigVersion = FormatVersion<2>;

/// Everything an appliance is to do. What is not in here does not exist on it.
///
/// The parameter is the part of one role ([`super::RouterPart`] and its siblings), for code that knows which appliance it is;
/// without it, any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplianceConfig<P = AnyPart> {
    /// Version of this format: 2.
    pub version: ConfigVersion,
    /// Number of this configuration; an appliance refuses one that is lower than what it has.
    pub generation: Generation,
    /// The appliance this is for; another one refuses it.
    pub appliance: ApplianceId,
    /// How the manager reaches the appliance.
    pub control: Control,
    /// Interfaces; each NIC or VLAN once.
    pub links: Vec<Link>,
    /// Routes besides those that follow from the links' addresses. Default: none.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Which routing table a packet is looked up in. Default: none, everything in the main table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_rules: Vec<PolicyRule>,
    /// What the appliance is, and all that only such an appliance has.
    pub role: P,
}

/// The way in for the manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The link with role `control` whose addresses answer on port 3922.
    pub link: LinkName,
    /// Networks from which the API may be reached; a client certificate is needed besides. Default: any.
    #[serde(default)]
    pub managers: Vec<Cidr>,
}
