//! One guest as the service knows it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use sluice_api::types::{
    Cidr, DomainName, HostName, MacAddr, MetadataKey, MetadataValue, PublicKey,
};

/// What all guests of a network have in common.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) cidr: Cidr,
    pub(super) domain: DomainName,
}

/// A guest, with everything that it is told.
pub(super) struct Guest {
    pub(super) network: Arc<Network>,
    pub(super) mac: MacAddr,
    /// The first address is the one that DHCP gives.
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) hostname: HostName,
    pub(super) instance_id: MetadataValue,
    pub(super) vm_id: Option<MetadataValue>,
    pub(super) availability_zone: MetadataValue,
    pub(super) service_offering: Option<MetadataValue>,
    pub(super) cloud_identifier: Option<MetadataValue>,
    pub(super) public_address: Option<Ipv4Addr>,
    pub(super) keys: Vec<PublicKey>,
    pub(super) extra: BTreeMap<MetadataKey, MetadataValue>,
    pub(super) user_data: Option<Bytes>,
    /// Only requests with a session token are answered.
    pub(super) needs_token: bool,
}

/// Who it is, and nothing of what only it is told.
impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut guest = f.debug_struct("Guest");
        guest.field("network", &self.network).field("mac", &self.mac);
        guest.field("addresses", &self.addresses).field("hostname", &self.hostname);
        guest.field("user_data", &self.user_data.as_ref().map(Bytes::len)).finish_non_exhaustive()
    }
}

impl Guest {
    /// The address that DHCP gives it.
    pub(super) fn address(&self) -> Option<Ipv4Addr> {
        self.addresses.first().copied()
    }

    /// Its name with its domain.
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.hostname, self.network.domain)
    }

    /// All its keys, a line each.
    pub(super) fn key_lines(&self) -> Option<String> {
        let lines: Vec<_> = self.keys.iter().map(PublicKey::as_str).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}
