//! The state of the kernel as last seen.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sluice_api::types::{InterfaceAddress, MacAddr};

use super::{IfName, ObservedLink, RouteEntry, SysctlKey, SysctlValue};
use crate::nft::{ObservedTables, TableId};

/// What an observation covers besides links, addresses and routes, which are always looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Packet tables; others are never read.
    pub tables: BTreeSet<TableId>,
    /// Kernel settings.
    pub sysctls: BTreeSet<SysctlKey>,
}

/// The kernel's state, as far as it can concern us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Every interface but `lo`, by its present name.
    pub links: BTreeMap<IfName, ObservedLink>,
    /// Global addresses on those; the kernel's own link-local IPv6 addresses and `lo`'s are left out.
    pub addresses: BTreeSet<(IfName, InterfaceAddress)>,
    /// Routes with protocol 201 on links whose name has our form; all others are foreign and left out.
    pub routes: BTreeSet<RouteEntry>,
    /// The settings asked for; one that does not exist is missing here.
    pub sysctls: BTreeMap<SysctlKey, SysctlValue>,
    /// The tables asked for; one that does not exist is missing here.
    pub tables: ObservedTables,
    /// Generation number of nf_tables in this network namespace; it grows by one with every change anyone makes.
    pub nft_generation: u32,
}

impl Observed {
    /// The NIC with this address: its permanent one if a driver tells it, else its present one. VLANs never match.
    pub fn nic(&self, mac: MacAddr) -> Option<(&IfName, &ObservedLink)> {
        let nics = || self.links.iter().filter(|(_, link)| link.kind == super::LinkKind::Nic);
        nics()
            .find(|(_, link)| link.permanent_mac == Some(mac))
            .or_else(|| nics().find(|(_, link)| link.mac == Some(mac)))
    }

    /// The name of the interface with this index.
    pub fn name_of(&self, index: u32) -> Option<&IfName> {
        self.links.iter().find(|(_, link)| link.index == index).map(|(name, _)| name)
    }
}
