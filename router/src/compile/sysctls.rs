//! Kernel settings of a router.

use std::collections::BTreeMap;

use sluice_api::RouterConfig;
use sluice_api::config::LinkRole;
use sluice_sys::model::SysctlKey;

/// Settings that every router has, with the reason for each.
const ALWAYS: [(&str, u32); 8] = [
    ("net.ipv4.ip_forward", 1),
    // an address belongs to its link: never answer ARP for another link's, nor ask with it
    ("net.ipv4.conf.all.arp_ignore", 1),
    ("net.ipv4.conf.all.arp_announce", 2),
    // routes come from the configuration, not from packets
    ("net.ipv4.conf.all.accept_redirects", 0),
    ("net.ipv4.conf.all.send_redirects", 0),
    ("net.ipv4.conf.all.accept_source_route", 0),
    ("net.ipv6.conf.all.accept_redirects", 0),
    ("net.ipv6.conf.all.accept_ra", 0),
];

pub(super) fn sysctls(config: &RouterConfig) -> BTreeMap<SysctlKey, String> {
    let mut all: BTreeMap<SysctlKey, String> =
        ALWAYS.iter().map(|(key, value)| (SysctlKey::fixed(key), value.to_string())).collect();
    let ipv6 = config.links.iter().any(|link| {
        link.role == LinkRole::Guest && link.addresses.iter().any(|address| address.ip().is_ipv6())
    });
    all.insert(SysctlKey::fixed("net.ipv6.conf.all.forwarding"), u32::from(ipv6).to_string());
    for link in config.links.iter().filter(|link| link.role == LinkRole::Guest) {
        // a guest may send only what would be routed back to it (RFC 3704, strict)
        all.insert(SysctlKey::of_link("net.ipv4.conf", &link.name, "rp_filter"), "1".to_owned());
    }
    all
}
