//! Routes of the main table.

use std::collections::BTreeSet;

use sluice_api::RouterConfig;
use sluice_api::config::Route;
use sluice_sys::model::{MAIN_TABLE, RouteEntry};

/// What the kernel makes of an IPv6 route without a metric (IP6_RT_PRIO_USER).
const IPV6_METRIC: u32 = 1024;

pub(super) fn routes(config: &RouterConfig) -> BTreeSet<RouteEntry> {
    config.routes.iter().map(entry).collect()
}

fn entry(route: &Route) -> RouteEntry {
    let metric = match route.metric {
        0 if !route.destination.is_ipv4() => IPV6_METRIC,
        metric => metric,
    };
    RouteEntry {
        table: MAIN_TABLE,
        destination: route.destination,
        metric,
        link: route.link.clone(),
        via: route.via,
        source: None,
    }
}
