//! The wanted state of the kernel.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sluice_api::config::Attachment;
use sluice_api::types::{InterfaceAddress, LinkName, Mtu};

use super::{Keys, RouteEntry, SysctlKey, SysctlValue};
use crate::nft::{Table, TableId};

/// Everything of ours that the kernel is to hold; what of ours is not in here is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Interfaces by the name they get.
    pub links: BTreeMap<LinkName, DesiredLink>,
    /// Addresses, each with the link that holds it.
    pub addresses: BTreeSet<(LinkName, InterfaceAddress)>,
    /// Routes with protocol 201.
    pub routes: BTreeSet<RouteEntry>,
    /// Kernel settings; those not named are left as they are.
    pub sysctls: BTreeMap<SysctlKey, SysctlValue>,
    /// Packet tables of ours, whole.
    pub tables: BTreeMap<TableId, Table>,
}

/// A wanted interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredLink {
    /// Which NIC or VLAN it is.
    pub attach: Attachment,
    /// Largest packet, in bytes.
    pub mtu: Mtu,
    /// Whether it carries traffic.
    pub up: bool,
}

impl Desired {
    /// What has to be looked at to compare the kernel with this: its settings and tables besides `tables`,
    /// which the caller owned before and which may have to go.
    pub fn keys(&self, tables: impl IntoIterator<Item = TableId>) -> Keys {
        let tables = self.tables.keys().cloned().chain(tables).collect();
        Keys { tables, sysctls: self.sysctls.keys().cloned().collect() }
    }
}
