//! Interfaces of an appliance: NICs matched by MAC and VLANs on a trunk NIC.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{InterfaceAddress, LinkName, MacAddr, Mtu, VlanId};

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The kernel name it gets.
    pub name: LinkName,
    /// What it is for; the packet policy follows from it.
    pub role: LinkRole,
    /// Which NIC or VLAN it is.
    pub attach: Attachment,
    /// Largest packet in bytes. Default 1500. A VLAN's may not exceed its trunk's.
    #[serde(default = "default_mtu")]
    pub mtu: Mtu,
    /// Addresses, v4 and v6; a trunk has none. Default: none.
    #[serde(default)]
    pub addresses: Vec<InterfaceAddress>,
}

fn default_mtu() -> Mtu {
    Mtu::ETHERNET
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkRole {
    /// Towards the manager: the API and nothing else.
    Control,
    /// Carries VLAN links only; untagged frames are not for us.
    Trunk,
    /// Towards the Internet.
    Public,
    /// Towards guests.
    Guest,
    /// Towards a private network, by a VPC's private gateway.
    Private,
    /// Towards storage servers.
    Storage,
}

/// Where a link's frames come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Attachment {
    /// A NIC of its own.
    Nic {
        /// The NIC's address; NICs are found by it, never by their order.
        mac: MacAddr,
    },
    /// An IEEE 802.1Q VLAN on a trunk link.
    Vlan {
        /// The link with role `trunk` that carries it.
        trunk: LinkName,
        /// The tag.
        id: VlanId,
        /// Address of the VLAN interface. Default: the trunk's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mac: Option<MacAddr>,
    },
}
