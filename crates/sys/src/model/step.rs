//! One change to the kernel, printable as an operator reads it.

use std::fmt;

use serde::{Deserialize, Serialize};
use sluice_api::config::Attachment;
use sluice_api::types::{InterfaceAddress, LinkName, MacAddr, Mtu};

use super::{PolicyEntry, RouteEntry, SysctlKey};
use crate::nft::Script;

/// A change to one kernel object, or one whole transaction of rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Gives a NIC its name; the kernel wants it down for that on older releases, so it is taken down first.
    Rename {
        /// Present name.
        from: String,
        /// Name to have.
        to: LinkName,
    },
    /// Makes a VLAN link on a trunk.
    CreateVlan {
        /// Name to have.
        link: LinkName,
        /// Always [`Attachment::Vlan`].
        attach: Attachment,
    },
    /// Removes a VLAN link of ours, and with it its addresses and routes.
    DeleteLink {
        /// Its name.
        link: String,
    },
    /// Sets the Ethernet address of a VLAN link.
    SetMac {
        /// The link.
        link: LinkName,
        /// Address to have.
        mac: MacAddr,
    },
    /// Sets the largest packet.
    SetMtu {
        /// The link.
        link: LinkName,
        /// Bytes now.
        from: u32,
        /// Bytes to have.
        to: Mtu,
    },
    /// Brings a link up.
    SetUp {
        /// The link.
        link: LinkName,
    },
    /// Takes a link down.
    SetDown {
        /// The link.
        link: String,
    },
    /// Adds an address to a link.
    AddAddress {
        /// The link.
        link: LinkName,
        /// The address.
        address: InterfaceAddress,
    },
    /// Removes an address from a link.
    RemoveAddress {
        /// The link.
        link: String,
        /// The address.
        address: InterfaceAddress,
    },
    /// Adds a route.
    AddRoute(RouteEntry),
    /// Puts a route in the place of another one of ours, without a moment in which there is neither.
    ChangeRoute {
        /// What is there.
        from: RouteEntry,
        /// What is to be there, in the same table, to the same destination, of the same metric.
        to: RouteEntry,
    },
    /// Removes a route.
    RemoveRoute(RouteEntry),
    /// Adds a policy rule.
    AddPolicy(PolicyEntry),
    /// Removes a policy rule.
    RemovePolicy(PolicyEntry),
    /// Sets a kernel setting.
    SetSysctl {
        /// Which.
        key: SysctlKey,
        /// Value now, if it could be read.
        from: Option<String>,
        /// Value to have.
        to: String,
    },
    /// Changes rules: one nft transaction, whole or not at all.
    Rules(Script),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rename { from, to } => write!(f, "~ link {from}: name {to}"),
            Self::CreateVlan { link, attach } => vlan(f, link, attach),
            Self::DeleteLink { link } => write!(f, "- link {link}"),
            Self::SetMac { link, mac } => write!(f, "~ link {link}: address {mac}"),
            Self::SetMtu { link, from, to } => write!(f, "~ link {link}: mtu {from} -> {to}"),
            Self::SetUp { link } => write!(f, "~ link {link}: up"),
            Self::SetDown { link } => write!(f, "~ link {link}: down"),
            Self::AddAddress { link, address } => write!(f, "+ address {address} on {link}"),
            Self::RemoveAddress { link, address } => write!(f, "- address {address} on {link}"),
            Self::AddRoute(route) => write!(f, "+ route {route}"),
            Self::ChangeRoute { from, to } => write!(f, "~ route {from}: {to}"),
            Self::RemoveRoute(route) => write!(f, "- route {route}"),
            Self::AddPolicy(rule) => write!(f, "+ policy rule {rule}"),
            Self::RemovePolicy(rule) => write!(f, "- policy rule {rule}"),
            Self::SetSysctl { key, from: Some(from), to } => {
                write!(f, "~ sysctl {key}: {from} -> {to}")
            }
            Self::SetSysctl { key, from: None, to } => write!(f, "~ sysctl {key}: {to}"),
            Self::Rules(script) => write!(f, "{}", script.summary()),
        }
    }
}

fn vlan(f: &mut fmt::Formatter<'_>, link: &LinkName, attach: &Attachment) -> fmt::Result {
    match attach {
        Attachment::Vlan { trunk, id, .. } => write!(f, "+ link {link}: vlan {id} on {trunk}"),
        Attachment::Nic { mac } => write!(f, "+ link {link}: NIC {mac}"),
    }
}

impl fmt::Display for RouteEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " on {}", self.link)?;
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        if self.table != super::MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}
