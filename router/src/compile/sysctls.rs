//! Kernel settings of a router.

use std::collections::BTreeMap;

use sluice_api::RouterConfig;
use sluice_api::config::LinkRole;
use sluice_sys::model::SysctlKey;

pub(super) fn sysctls(config: &RouterConfig) -> BTreeMap<SysctlKey, String> {
    let mut all = sluice_agent::boot::settings();
    let ipv6 = config.links.iter().any(|link| {
        link.role == LinkRole::Guest && link.addresses.iter().any(|address| address.ip().is_ipv6())
    });
    all.insert(SysctlKey::fixed("net.ipv4.ip_forward"), "1".to_owned());
    all.insert(SysctlKey::fixed("net.ipv6.conf.all.forwarding"), u32::from(ipv6).to_string());
    for link in config.links.iter().filter(|link| link.role == LinkRole::Guest) {
        // a guest may send only what would be routed back to it (RFC 3704, strict)
        all.insert(SysctlKey::of_link("net.ipv4.conf", &link.name, "rp_filter"), "1".to_owned());
    }
    all
}
