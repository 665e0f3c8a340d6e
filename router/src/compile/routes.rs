//! Routes of the main table.

use std::collections::BTreeSet;

use sluice_api::RouterDocument;
use sluice_api::config::Route;
use sluice_sys::model::{MAIN_TABLE, RouteEntry};

pub(super) fn routes(config: &RouterDocument) -> BTreeSet<RouteEntry> {
    config.routes.iter().map(entry).collect()
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
