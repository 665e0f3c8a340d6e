//! The state before the first configuration: the control NIC answers, everything else is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_api::boot::BootDocument;
use sluice_api::config::Attachment;
use sluice_api::types::{Cidr, LinkName, Mtu};
use sluice_sys::model::{Desired, DesiredLink, MAIN_TABLE, RouteEntry};
use sluice_sys::nft::early;

/// Name of the control link until a configuration gives it another.
///
/// # Panics
/// Never: the name is valid.
#[allow(clippy::expect_used)]
pub fn control_link() -> LinkName {
    "ctl".parse().expect("`ctl` is a valid link name")
}

/// What the boot document asks of the kernel.
pub fn desired(boot: &BootDocument) -> Desired {
    let link = control_link();
    let wanted = DesiredLink {
        attach: Attachment::Nic { mac: boot.control.mac },
        mtu: boot.control.mtu.unwrap_or(Mtu::ETHERNET),
    };
    Desired {
        tables: BTreeMap::from([(early::table_id(), early::control_only(&link, &[]))]),
        addresses: BTreeSet::from([(link.clone(), boot.control.address)]),
        routes: boot.control.gateway.map(|via| default_route(&link, via)).into_iter().collect(),
        links: BTreeMap::from([(link, wanted)]),
        sysctls: BTreeMap::new(),
    }
}

fn default_route(link: &LinkName, via: IpAddr) -> RouteEntry {
    let destination = Cidr::everything(via);
    let metric = if via.is_ipv4() { 0 } else { 1024 };
    RouteEntry {
        table: MAIN_TABLE,
        destination,
        metric,
        link: link.clone(),
        via: Some(via),
        source: None,
    }
}
