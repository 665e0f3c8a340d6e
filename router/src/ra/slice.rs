//! What the process is told: each link that it advertises on, and what.

use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::config::{Attachment, GuestNetwork, Link};
use sluice_api::types::{Cidr, LinkName, MacAddr, Mtu};

/// Everything that is advertised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaSlice {
    /// Networks with IPv6, one for a link.
    pub networks: Vec<RaNetwork>,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaNetwork {
    /// Its link.
    pub link: LinkName,
    /// The link's Ethernet address, of which the kernel makes its link-local address (RFC 4291 appendix A).
    pub mac: MacAddr,
    /// The prefix that guests make addresses of, always 64 bits long.
    pub prefix: Cidr,
    /// Largest packet on the link.
    pub mtu: Mtu,
}

/// The process's part of `config`; the same configuration gives the same slice.
pub fn slice(config: &RouterDocument) -> RaSlice {
    let networks = config.role.networks.iter().filter_map(|network| of_network(config, network));
    RaSlice { networks: networks.collect() }
}

fn of_network(config: &RouterDocument, network: &GuestNetwork) -> Option<RaNetwork> {
    let prefix = network.ipv6.as_ref()?.cidr;
    let link = config.links.iter().find(|link| link.name == network.link)?;
    let mac = mac(config, link)?;
    Some(RaNetwork { link: link.name.clone(), mac, prefix, mtu: link.mtu })
}

/// A VLAN without an address of its own has its trunk's.
fn mac(config: &RouterDocument, link: &Link) -> Option<MacAddr> {
    match &link.attach {
        Attachment::Nic { mac } | Attachment::Vlan { mac: Some(mac), .. } => Some(*mac),
        Attachment::Vlan { trunk, .. } => {
            let trunk = config.links.iter().find(|link| link.name == *trunk)?;
            match trunk.attach {
                Attachment::Nic { mac } => Some(mac),
                Attachment::Vlan { .. } => None,
            }
        }
    }
}
