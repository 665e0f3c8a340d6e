//! What people ask for when they make or change a system VM.

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::types::{
    Cidr, HostPattern, InterfaceAddress, ObjectId, Origin, PathPrefix, Port, Secret,
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
    /// Proxy that an ssvm fetches all images by, `http://[USER:PASSWORD@]HOST:PORT` (secstorage.proxy). It looks names up
    /// itself, so what may be fetched from is then up to it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_proxy: Option<Secret>,
    /// Further authorities, PEM, that an ssvm's sources and object stores may have certificates of. Default: those of Debian
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_authorities: Option<Secret>,
    /// TCP ports that an ssvm fetches images from, at most 32. Default: 80 and 443.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ports: Vec<Port>,
    /// Largest disk of an image that an ssvm lets in, in bytes as a guest sees it, 1 MiB to 64 TiB. Default: 2 TiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_disk_bytes: Option<u64>,
    /// Most memory that unpacking one image may take on an ssvm, in bytes, 1 MiB to 4 GiB. Default: 160 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpack_bytes: Option<u64>,
    /// Images that an ssvm works at at the same time, 1 to 64; the others wait. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_jobs: Option<u8>,
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
    /// Another proxy that images are fetched by; null: none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Secret>)]
    pub source_proxy: Option<Option<Secret>>,
    /// Other authorities, PEM; null: those of Debian alone.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Secret>)]
    pub source_authorities: Option<Option<Secret>>,
    /// New ports that images are fetched from; they replace all. None: 80 and 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<Vec<Port>>,
    /// New largest disk of an image; null: 2 TiB.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub most_disk_bytes: Option<Option<u64>>,
    /// New most memory of unpacking; null: 160 MiB.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub unpack_bytes: Option<Option<u64>>,
    /// New number of images that are worked at; null: 4.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u8>)]
    pub image_jobs: Option<Option<u8>>,
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
            source_proxy: None,
            source_authorities: None,
            source_ports: Vec::new(),
            most_disk_bytes: None,
            unpack_bytes: None,
            image_jobs: None,
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
