//! Routes, and policy rules that say which table a packet is looked up in.

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::{PolicyRule, Route};
use sluice_sys::model::{MAIN_TABLE, PolicyEntry, RULE_PRIORITIES, RouteEntry};

use super::skeleton::Slot;

pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("routes");
    fragment.routes.extend(config.routes.iter().map(entry));
    fragment.policy_rules.extend(config.policy_rules.iter().flat_map(policy));
    fragment
}

/// A rule without addresses is one of each family.
fn policy(rule: &PolicyRule) -> impl Iterator<Item = PolicyEntry> {
    let address = rule.source.or(rule.destination);
    let fits = move |ipv4: &bool| address.is_none_or(|address| address.is_ipv4() == *ipv4);
    [true, false].into_iter().filter(fits).map(|ipv4| policy_entry(rule, ipv4))
}

fn policy_entry(rule: &PolicyRule, ipv4: bool) -> PolicyEntry {
    PolicyEntry {
        priority: RULE_PRIORITIES.start() + u32::from(rule.order),
        ipv4,
        source: rule.source,
        destination: rule.destination,
        link: rule.link.clone(),
        mark: rule.mark,
        table: rule.table.get(),
    }
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
