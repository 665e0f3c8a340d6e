//! The whole configuration of one virtual router.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DnsConfig, GuestNetwork, Link, Route};
use crate::types::{ApplianceId, Cidr, Generation, HostName, LinkName};

/// Everything a router is to do. What is not in here does not exist on the router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouterConfig {
    /// Version of this format: 1.
    pub version: ConfigVersion,
    /// Number of this configuration; an appliance refuses one that is lower than what it has.
    pub generation: Generation,
    /// The appliance this is for; another one refuses it.
    pub appliance: ApplianceId,
    /// Host name of the router, resolvable in every guest domain.
    pub hostname: HostName,
    /// How the manager reaches the appliance.
    pub control: Control,
    /// Interfaces; each NIC or VLAN once.
    pub links: Vec<Link>,
    /// Routes besides those that follow from the links' addresses. Default: none.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Guest networks served. Default: none.
    #[serde(default)]
    pub networks: Vec<GuestNetwork>,
    /// Name service towards the guests.
    #[serde(default)]
    pub dns: DnsConfig,
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

/// The format version; decoding any other number is an error that names the ones understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ConfigVersion;

impl ConfigVersion {
    /// The number on the wire.
    pub const NUMBER: u32 = 1;
}

impl TryFrom<u32> for ConfigVersion {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        if number == Self::NUMBER {
            return Ok(Self);
        }
        Err(format!("version {number} is not understood; this build understands {}", Self::NUMBER))
    }
}

impl From<ConfigVersion> for u32 {
    fn from(_: ConfigVersion) -> Self {
        ConfigVersion::NUMBER
    }
}

impl utoipa::PartialSchema for ConfigVersion {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::Integer)
            .enum_values(Some([Self::NUMBER]))
            .description(Some("format version"))
            .into()
    }
}

impl ToSchema for ConfigVersion {}
