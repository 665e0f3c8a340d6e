//! What the metadata process is told: each guest's own data, and nothing else.
//!
//! User data come as a table of contents by digest, so that a hundred guests with the same script cost one script.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sluice_api::RouterConfig;
use sluice_api::config::GuestNetwork;
use sluice_api::types::{
    Cidr, DomainName, HostName, LinkName, MacAddr, MetadataKey, MetadataValue, PublicKey,
};

use super::guest::{Guest, Network};
use crate::endpoint::Endpoint;
use crate::web::{Directory, endpoints};

/// Where clients of EC2 look for metadata, on every network.
pub const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// HTTP's own port.
const PORT: u16 = 80;

/// Everything the metadata process needs of one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataSlice {
    /// Networks served, at most one per link.
    pub networks: Vec<MetadataNetwork>,
    /// User data by digest.
    #[serde(default)]
    pub user_data: BTreeMap<String, UserData>,
    /// Port to answer on. Default 80; another one lets a desk run without rights.
    #[serde(default = "default_port")]
    pub port: u16,
}

fn default_port() -> u16 {
    PORT
}

/// One network on one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataNetwork {
    /// The link that is listened on.
    pub link: LinkName,
    /// The guests' network.
    pub cidr: Cidr,
    /// The router's addresses on it that answer.
    pub listen: Vec<Ipv4Addr>,
    /// Domain of the guests' names.
    pub domain: DomainName,
    /// Who is answered.
    pub guests: Vec<MetadataGuest>,
}

/// One guest and what it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataGuest {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its addresses, that of DHCP first.
    pub addresses: Vec<Ipv4Addr>,
    /// Its name.
    pub hostname: HostName,
    /// `instance-id`.
    pub instance_id: MetadataValue,
    /// `vm-id`. Default: the instance id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<MetadataValue>,
    /// `availability-zone`. There is always one: cloud-init does not start without.
    pub availability_zone: MetadataValue,
    /// `service-offering`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_offering: Option<MetadataValue>,
    /// `cloud-identifier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_identifier: Option<MetadataValue>,
    /// `public-ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<Ipv4Addr>,
    /// `public-keys`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_keys: Vec<PublicKey>,
    /// Values under names of the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<MetadataKey, MetadataValue>,
    /// Digest of its user data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// It is answered only with a session token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_token: bool,
}

/// User data, base64 in a slice; they hold secrets often enough to be printed as hidden.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData(pub Bytes);

impl std::fmt::Debug for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for UserData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for UserData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_ref()).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

impl MetadataSlice {
    /// Where it is to be listened.
    pub(super) fn endpoints(&self) -> BTreeSet<Endpoint> {
        let each = self.networks.iter().flat_map(|network| {
            let addresses = network.listen.iter().map(|address| (*address).into());
            endpoints(&network.link, self.port, addresses)
        });
        each.collect()
    }

    /// The guests as they are looked up.
    pub(super) fn directory(&self) -> Directory<Guest> {
        let mut directory = Directory::default();
        for network in &self.networks {
            let common = Arc::new(Network { cidr: network.cidr, domain: network.domain.clone() });
            for guest in &network.guests {
                let found = guest.user_data.as_ref().and_then(|digest| self.user_data.get(digest));
                let user_data = found.map(|found| found.0.clone());
                let entry = entry(guest, common.clone(), user_data);
                directory.enter(&network.link, guest.mac, guest.addresses.iter().copied(), entry);
            }
        }
        directory
    }
}

fn entry(guest: &MetadataGuest, network: Arc<Network>, user_data: Option<Bytes>) -> Guest {
    Guest {
        network,
        mac: guest.mac,
        addresses: guest.addresses.clone(),
        hostname: guest.hostname.clone(),
        instance_id: guest.instance_id.clone(),
        vm_id: guest.vm_id.clone(),
        availability_zone: guest.availability_zone.clone(),
        service_offering: guest.service_offering.clone(),
        cloud_identifier: guest.cloud_identifier.clone(),
        public_address: guest.public_address,
        keys: guest.public_keys.clone(),
        extra: guest.extra.clone(),
        user_data,
        needs_token: guest.needs_token,
    }
}

/// The metadata process's part of `config`; the same configuration gives the same slice.
pub fn slice(config: &RouterConfig) -> MetadataSlice {
    let networks = config.networks.iter().map(of_network).collect();
    MetadataSlice { networks, user_data: BTreeMap::new(), port: PORT }
}

fn of_network(network: &GuestNetwork) -> MetadataNetwork {
    MetadataNetwork {
        link: network.link.clone(),
        cidr: network.cidr,
        listen: vec![network.gateway, SERVICE_ADDRESS],
        domain: network.domain.clone(),
        guests: network.guests.iter().filter_map(|guest| of_guest(network, guest)).collect(),
    }
}

fn of_guest(network: &GuestNetwork, guest: &sluice_api::config::Guest) -> Option<MetadataGuest> {
    Some(MetadataGuest {
        mac: guest.mac,
        addresses: vec![guest.address],
        hostname: guest.hostname.clone(),
        instance_id: guest.id.as_str().parse().ok()?,
        vm_id: None,
        availability_zone: "default".parse().ok()?,
        service_offering: None,
        cloud_identifier: None,
        public_address: network.source_nat.as_ref().map(|nat| nat.address),
        public_keys: Vec::new(),
        extra: BTreeMap::new(),
        user_data: None,
        needs_token: false,
    })
}
