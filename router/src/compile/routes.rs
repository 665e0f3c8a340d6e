//! Routes of the main table.

use std::collections::BTreeSet;

use sluice_api::RouterConfig;
use sluice_api::config::Route;
use sluice_sys::model::{MAIN_TABLE, RouteEntry};

pub(super) fn routes(config: &RouterConfig) -> BTreeSet<RouteEntry> {
    config.routes.iter().map(entry).collect()
}

fn entry(route: &Route) -> RouteEntry {
    RouteEntry {
        table: MAIN_TABLE,
        destination: route.destination,
        metric: route.kernel_metric(),
        link: route.link.clone(),
        via: route.via,
        source: None,
    }
}
