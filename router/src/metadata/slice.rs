//! What the metadata process is told: each guest's own data, and nothing else.
//!
//! User data come as a table of contents by digest, so that a hundred guests with the same script cost one script.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::config::{GuestNetwork, TokenPolicy};
use sluice_api::types::{
    BlobDigest, Cidr, DomainName, HostName, LinkName, MacAddr, MetadataKey, MetadataValue,
    PublicKey, SecretBytes,
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
    /// Networks served; those on one link are ranges of one guest network.
    pub networks: Vec<MetadataNetwork>,
    /// User data by digest; they hold secrets often enough.
    #[serde(default)]
    pub user_data: BTreeMap<BlobDigest, SecretBytes>,
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
    pub user_data: Option<BlobDigest>,
    /// It is answered only with a session token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_token: bool,
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
        let shared: BTreeMap<_, _> = self
            .user_data
            .iter()
            .map(|(digest, bytes)| (digest, Bytes::from_owner(Shared(bytes.clone()))))
            .collect();
        let mut directory = Directory::default();
        for network in &self.networks {
            let common = Arc::new(Network { cidr: network.cidr, domain: network.domain.clone() });
            for guest in &network.guests {
                let user_data = guest.user_data.as_ref().and_then(|digest| shared.get(digest));
                let entry = entry(guest, common.clone(), user_data.cloned());
                directory.enter(&network.link, guest.mac, guest.addresses.iter().copied(), entry);
            }
        }
        directory
    }
}

/// User data as a body that many answers share; wiped with the last of them.
struct Shared(SecretBytes);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.reveal()
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

/// The metadata process's part of `config`, with the bytes that `blob` gives; the same configuration gives the same slice.
///
/// User data that `blob` does not have are left out: the guest is told that there are none.
pub fn slice(
    config: &RouterDocument,
    blob: impl Fn(&BlobDigest) -> Option<SecretBytes>,
) -> MetadataSlice {
    let networks = &config.role.networks;
    let named = networks.iter().flat_map(|network| &network.guests);
    let digests: BTreeSet<_> = named.filter_map(|guest| guest.metadata.user_data).collect();
    MetadataSlice {
        networks: networks
            .iter()
            .flat_map(GuestNetwork::by_range)
            .map(|network| of_network(config, &network))
            .collect(),
        user_data: digests.iter().filter_map(|digest| Some((*digest, blob(digest)?))).collect(),
        port: PORT,
    }
}

fn of_network(config: &RouterDocument, network: &GuestNetwork) -> MetadataNetwork {
    MetadataNetwork {
        link: network.link.clone(),
        cidr: network.cidr,
        listen: vec![network.gateway, SERVICE_ADDRESS],
        domain: network.domain.clone(),
        guests: network.guests.iter().map(|guest| of_guest(config, network, guest)).collect(),
    }
}

fn of_guest(
    config: &RouterDocument,
    network: &GuestNetwork,
    guest: &sluice_api::config::Guest,
) -> MetadataGuest {
    let metadata = &guest.metadata;
    let addresses = std::iter::once(&guest.address).chain(&guest.secondary_addresses);
    MetadataGuest {
        mac: guest.mac,
        addresses: addresses.copied().collect(),
        hostname: guest.hostname.clone(),
        instance_id: metadata.instance_id.clone().unwrap_or_else(|| (&guest.id).into()),
        vm_id: metadata.vm_id.clone(),
        availability_zone: metadata
            .availability_zone
            .clone()
            .unwrap_or_else(MetadataValue::default_zone),
        service_offering: metadata.service_offering.clone(),
        cloud_identifier: metadata.cloud_identifier.clone(),
        public_address: public_address(config, network, guest),
        public_keys: metadata.public_keys.clone(),
        extra: metadata.extra.clone(),
        user_data: metadata.user_data,
        needs_token: metadata.tokens == TokenPolicy::Required,
    }
}

/// By which the world sees the guest: its own public address, or that of its network.
fn public_address(
    config: &RouterDocument,
    network: &GuestNetwork,
    guest: &sluice_api::config::Guest,
) -> Option<Ipv4Addr> {
    let mut all = config.role.static_nat.iter();
    let own = all.find(|nat| nat.network == network.id && nat.guest == guest.address);
    own.map(|nat| nat.public).or_else(|| network.source_nat.as_ref().map(|nat| nat.address))
}
