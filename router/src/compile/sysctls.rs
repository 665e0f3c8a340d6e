//! Kernel settings of a router.

use std::collections::BTreeMap;

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::LinkRole;
use sluice_sys::model::SysctlKey;

use super::skeleton::Slot;

pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    Fragment { sysctls: sysctls(config), ..Fragment::new("settings") }
}

fn sysctls(config: &RouterDocument) -> BTreeMap<SysctlKey, String> {
    let mut all = sluice_agent::boot::settings();
    let ipv6 = config.links.iter().any(|link| {
        link.role == LinkRole::Guest && link.addresses.iter().any(|address| address.ip().is_ipv6())
    });
    all.insert(SysctlKey::fixed("net.ipv4.ip_forward"), "1".to_owned());
    all.insert(SysctlKey::fixed("net.ipv6.conf.all.forwarding"), u32::from(ipv6).to_string());
    for link in &config.links {
        // a guest may send only what would be routed back to it
        let strict = link.role == LinkRole::Guest;
        all.extend(sluice_agent::boot::link_settings(&link.name, strict));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_changes_its_role_has_nothing_left_of_the_old_one() {
        let text = std::fs::read("../examples/router.json").unwrap();
        let mut config = RouterDocument::decode(&text).unwrap().0;
        let of = |config: &RouterDocument| {
            sysctls(config).get(&SysctlKey::fixed("net.ipv4.conf.guest0.rp_filter")).cloned()
        };
        assert_eq!(of(&config).as_deref(), Some("1"));
        for link in &mut config.links {
            link.role = LinkRole::Public;
        }
        assert_eq!(of(&config).as_deref(), Some("0"));
    }
}
