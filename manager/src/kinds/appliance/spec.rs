//! What people ask for when they make or change a system VM.

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::types::{
    Cidr, HostPattern, InterfaceAddress, ObjectId, Origin, PathPrefix, Secret,
};
use utoipa::ToSchema;

use crate::kinds::patch::stated;

/// A system VM to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplianceSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// What it is to be. Routers of isolated networks are made with their network.
    pub role: Role,
    /// Unique in the zone. Default: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ObjectId>,
    /// Public range of the address of a proxy or ssvm, by name or id. Default: whichever of the zone has a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_range: Option<ObjectId>,
    /// Physical network of an ssvm's storage traffic, by name or id. Default: it reaches its stores by the public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_network: Option<ObjectId>,
    /// Its address on the storage network; required with `storage_network`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_address: Option<InterfaceAddress>,
    /// Certificate chain and private key (PKCS #8) in PEM that a proxy or ssvm shows to the public. Default: an ssvm serves
    /// nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Secret>,
    /// Private networks that an ssvm may bring images in from. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_sources: Vec<Cidr>,
    /// Names that browsers call a proxy by. Default: none, and nobody is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPattern>,
    /// Origins whose pages may show a console of a proxy in a frame. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frame_ancestors: Vec<Origin>,
    /// Reverse proxies before a proxy, whose word on who the client is counts. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Cidr>,
    /// Where browsers find a proxy, as its links say. Its host is one of `hosts`. Default:
    /// `https://` and the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Path under which a proxy has everything, such as `/console` behind a reverse proxy. Default `/`.
    #[serde(default)]
    pub prefix: PathPrefix,
    /// Takes a proxy no new sessions? Those that run go on, and its links lead to the zone's other proxies. Default false.
    #[serde(default)]
    pub draining: bool,
    /// A router that is made with its network.
    #[serde(skip)]
    pub with_network: bool,
}

/// Changes to a system VM; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppliancePatch {
    /// New certificate chain and private key in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Secret>,
    /// New networks that images may come from; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_sources: Option<Vec<Cidr>>,
    /// New names of a proxy; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostPattern>>,
    /// New origins that may show a console in a frame; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_ancestors: Option<Vec<Origin>>,
    /// New reverse proxies; they replace all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_proxies: Option<Vec<Cidr>>,
    /// Where browsers find a proxy now; null: `https://` and the first of `hosts`.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Origin>)]
    pub origin: Option<Option<Origin>>,
    /// New path under which a proxy has everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<PathPrefix>,
    /// Takes a proxy no new sessions from now on? Its links move to the zone's other proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
}

impl ApplianceSpec {
    /// An appliance of `role` in `zone`.
    pub fn of_zone(zone: &ObjectId, role: Role) -> Self {
        Self {
            zone: zone.clone(),
            role,
            name: None,
            public_range: None,
            storage_network: None,
            storage_address: None,
            certificate: None,
            allowed_sources: Vec::new(),
            hosts: Vec::new(),
            frame_ancestors: Vec::new(),
            trusted_proxies: Vec::new(),
            origin: None,
            prefix: PathPrefix::default(),
            draining: false,
            with_network: false,
        }
    }
}
