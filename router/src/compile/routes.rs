//! Routes of the main table.

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::Route;
use sluice_sys::model::{MAIN_TABLE, RouteEntry};

use super::skeleton::Slot;

pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("routes");
    fragment.routes.extend(config.routes.iter().map(entry));
    fragment
}

fn entry(route: &Route) -> RouteEntry {
    RouteEntry {
        table: route.table.map_or(MAIN_TABLE, sluice_api::types::RouteTable::get),
        destination: route.destination,
        metric: route.kernel_metric(),
        link: route.link.clone(),
        via: route.via,
        source: None,
    }
}
