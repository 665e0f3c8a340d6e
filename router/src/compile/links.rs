//! Links and their addresses.

use std::collections::{BTreeMap, BTreeSet};

use sluice_api::RouterConfig;
use sluice_api::types::{InterfaceAddress, LinkName};
use sluice_sys::model::DesiredLink;

pub(super) fn links(config: &RouterConfig) -> BTreeMap<LinkName, DesiredLink> {
    config
        .links
        .iter()
        .map(|link| {
            let wanted = DesiredLink { attach: link.attach.clone(), mtu: link.mtu };
            (link.name.clone(), wanted)
        })
        .collect()
}

pub(super) fn addresses(config: &RouterConfig) -> BTreeSet<(LinkName, InterfaceAddress)> {
    config
        .links
        .iter()
        .flat_map(|link| link.addresses.iter().map(|address| (link.name.clone(), *address)))
        .collect()
}
