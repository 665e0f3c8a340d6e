//! Links and their addresses.

use std::collections::{BTreeMap, BTreeSet};

use sluice_api::RouterDocument;
use sluice_api::types::{InterfaceAddress, LinkName};
use sluice_sys::model::DesiredLink;

use crate::metadata::SERVICE_ADDRESS;

pub(super) fn links(config: &RouterDocument) -> BTreeMap<LinkName, DesiredLink> {
    config
        .links
        .iter()
        .map(|link| {
            let wanted = DesiredLink { attach: link.attach.clone(), mtu: link.mtu };
            (link.name.clone(), wanted)
        })
        .collect()
}

pub(super) fn addresses(config: &RouterDocument) -> BTreeSet<(LinkName, InterfaceAddress)> {
    let own = config
        .links
        .iter()
        .flat_map(|link| link.addresses.iter().map(|address| (link.name.clone(), *address)));
    // the metadata service, on each guest link: a guest may take the address for one on its own segment
    let metadata = InterfaceAddress::new(SERVICE_ADDRESS.into(), 32).ok();
    let networks = config.role.networks.iter();
    let metadata = networks.filter_map(|network| Some((network.link.clone(), metadata?)));
    own.chain(metadata).collect()
}
