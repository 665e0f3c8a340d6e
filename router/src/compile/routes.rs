//! Routes of the main table.

use std::collections::BTreeSet;

use sluice_api::RouterConfig;
use sluice_sys::model::RouteEntry;

pub(super) fn routes(config: &RouterConfig) -> BTreeSet<RouteEntry> {
    let entry = |route: &sluice_api::config::Route| {
        RouteEntry::new(route.destination, route.link.clone(), route.via, route.metric)
    };
    config.routes.iter().map(entry).collect()
}
