//! Links and their addresses.

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_sys::model::DesiredLink;

use super::skeleton::Slot;

pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("links");
    for link in &config.links {
        let wanted = DesiredLink { attach: link.attach.clone(), mtu: link.mtu };
        fragment.links.insert(link.name.clone(), wanted);
        let addresses = link.addresses.iter().map(|address| (link.name.clone(), *address));
        fragment.addresses.extend(addresses);
    }
    fragment
}
