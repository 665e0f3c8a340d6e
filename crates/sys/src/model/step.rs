//! One change to the kernel, in the words of an operator.

use std::fmt;

use serde::{Deserialize, Serialize};
use sluice_api::types::{InterfaceAddress, LinkName, MacAddr, Mtu, VlanId};

use super::{IfName, RouteEntry, SysctlKey, SysctlValue};
use crate::nft::Script;

/// One change. Each says what it finds, so that it can be printed and undone.
///
/// Carrying one out twice: adding fails with "exists", removing what is gone succeeds, setting succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Gives a NIC the name by which we know it and puts it into our group. It is set down for that if it is up.
    RenameLink {
        /// Present name; may equal `to` when only the group is missing.
        from: IfName,
        /// New name.
        to: LinkName,
    },
    /// Makes an 802.1Q interface, down.
    CreateVlan {
        /// Its name.
        link: LinkName,
        /// The interface beneath.
        trunk: LinkName,
        /// Its tag.
        id: VlanId,
        /// Its address; none: the trunk's.
        mac: Option<MacAddr>,
        /// Largest packet, in bytes.
        mtu: Mtu,
    },
    /// Takes an 802.1Q interface away, and with it its addresses and routes.
    DeleteVlan {
        /// Its name; one that we never named is possible after a foreign rename.
        link: IfName,
    },
    /// Sets the largest packet.
    SetMtu {
        /// Which interface.
        link: LinkName,
        /// Bytes now.
        from: u32,
        /// Bytes wanted.
        to: Mtu,
    },
    /// Lets the interface carry traffic.
    SetUp {
        /// Which interface.
        link: LinkName,
    },
    /// Stops the interface; the kernel then drops its IPv6 addresses and all of its routes.
    SetDown {
        /// Which interface.
        link: LinkName,
    },
    /// Changes the hardware address.
    SetMac {
        /// Which interface.
        link: LinkName,
        /// Address wanted.
        to: MacAddr,
    },
    /// Gives an interface an address.
    AddAddress {
        /// Which interface.
        link: LinkName,
        /// The address.
        address: InterfaceAddress,
    },
    /// Takes an address away.
    RemoveAddress {
        /// Which interface.
        link: IfName,
        /// The address.
        address: InterfaceAddress,
    },
    /// Adds a route.
    AddRoute(RouteEntry),
    /// Replaces a route by one in the same slot ([`RouteEntry::same_slot`]), without a gap.
    ReplaceRoute {
        /// The route that is there.
        from: RouteEntry,
        /// The route that takes its place.
        to: RouteEntry,
    },
    /// Removes a route.
    RemoveRoute(RouteEntry),
    /// Writes a kernel setting.
    SetSysctl {
        /// Which.
        key: SysctlKey,
        /// Value now, if it could be read.
        from: Option<SysctlValue>,
        /// Value wanted.
        to: SysctlValue,
    },
    /// One nf_tables transaction over all of our tables.
    Rules(Script),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RenameLink { from, to } if from.as_str() == to.as_str() => {
                write!(f, "~ link {to} taken over")
            }
            Self::RenameLink { from, to } => write!(f, "~ link {from} renamed {to}"),
            Self::CreateVlan { link, trunk, id, mac, mtu } => {
                write!(f, "+ link {link} vlan {id} on {trunk} mtu {mtu}")?;
                mac.map_or(Ok(()), |mac| write!(f, " mac {mac}"))
            }
            Self::DeleteVlan { link } => write!(f, "- link {link}"),
            Self::SetMtu { link, from, to } => write!(f, "~ link {link} mtu {from} -> {to}"),
            Self::SetUp { link } => write!(f, "~ link {link} up"),
            Self::SetDown { link } => write!(f, "~ link {link} down"),
            Self::SetMac { link, to } => write!(f, "~ link {link} mac {to}"),
            Self::AddAddress { link, address } => write!(f, "+ address {address} on {link}"),
            Self::RemoveAddress { link, address } => write!(f, "- address {address} on {link}"),
            Self::AddRoute(route) => write!(f, "+ route {route}"),
            Self::ReplaceRoute { from, to } => write!(f, "~ route {from} -> {to}"),
            Self::RemoveRoute(route) => write!(f, "- route {route}"),
            Self::SetSysctl { key, from: Some(from), to } => {
                write!(f, "= sysctl {key} {from} -> {to}")
            }
            Self::SetSysctl { key, from: None, to } => write!(f, "= sysctl {key} {to}"),
            Self::Rules(script) => write!(f, "{script}"),
        }
    }
}
