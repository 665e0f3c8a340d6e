//! The state before the first configuration: the control NIC answers, everything else is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_api::boot::BootDocument;
use sluice_api::config::Attachment;
use sluice_api::types::{Cidr, LinkName, Mtu};
use sluice_sys::model::{Desired, DesiredLink, MAIN_TABLE, RouteEntry, SysctlKey};
use sluice_sys::nft::early;

/// Name of the control link until a configuration gives it another.
///
/// # Panics
/// Never: the name is valid.
#[allow(clippy::expect_used)]
pub fn control_link() -> LinkName {
    "ctl".parse().expect("`ctl` is a valid link name")
}

/// Settings of every appliance, before and after its first configuration; forwarding is off until one turns it on.
const SETTINGS: [(&str, u32); 8] = [
    ("net.ipv4.ip_forward", 0),
    ("net.ipv6.conf.all.forwarding", 0),
    // an address belongs to its link: never answer ARP for another link's, nor ask with it
    ("net.ipv4.conf.all.arp_ignore", 1),
    ("net.ipv4.conf.all.arp_announce", 2),
    // with an address that goes, others of its network do not
    ("net.ipv4.conf.all.promote_secondaries", 1),
    // routes come from the configuration, not from packets
    ("net.ipv4.conf.all.accept_redirects", 0),
    ("net.ipv4.conf.all.send_redirects", 0),
    ("net.ipv4.conf.all.accept_source_route", 0),
];

/// Settings of every link. The kernel asks the link itself and no `all` for IPv6, and takes what either of the two
/// allows for IPv4 `send_redirects`, and for `accept_redirects` while it does not forward (ip-sysctl.rst).
const LINK_SETTINGS: [(&str, &str, &str); 6] = [
    ("net.ipv4.conf", "accept_redirects", "0"),
    ("net.ipv4.conf", "send_redirects", "0"),
    // neighbours are told whose the addresses are when the link comes up
    ("net.ipv4.conf", "arp_notify", "1"),
    ("net.ipv6.conf", "accept_ra", "0"),
    ("net.ipv6.conf", "accept_redirects", "0"),
    ("net.ipv6.conf", "ndisc_notify", "1"),
];

/// Kernel settings that every configuration starts from; without them a rollback would leave those of the
/// configuration that was given up.
pub fn settings() -> BTreeMap<SysctlKey, String> {
    SETTINGS.iter().map(|(key, value)| (SysctlKey::fixed(key), value.to_string())).collect()
}

/// Kernel settings of the link `name`; each is said for every link, because a name may have been another role's before.
/// With `strict`, it takes only packets whose answers would leave by it (RFC 3704 2.2).
pub fn link_settings(name: &LinkName, strict: bool) -> BTreeMap<SysctlKey, String> {
    let key = |folder: &str, setting: &str| SysctlKey::of_link(folder, name, setting);
    let mut settings: BTreeMap<_, _> = LINK_SETTINGS
        .map(|(folder, setting, value)| (key(folder, setting), value.to_owned()))
        .into();
    settings.insert(key("net.ipv4.conf", "rp_filter"), u8::from(strict).to_string());
    settings
}

/// What the boot document asks of the kernel.
pub fn desired(boot: &BootDocument) -> Desired {
    let link = control_link();
    let wanted = DesiredLink {
        attach: Attachment::Nic { mac: boot.control.mac },
        mtu: boot.control.mtu.unwrap_or(Mtu::ETHERNET),
    };
    let mut sysctls = settings();
    sysctls.extend(link_settings(&link, false));
    Desired {
        tables: BTreeMap::from([(early::table_id(), early::control_only(&link, &[]))]),
        addresses: BTreeSet::from([(link.clone(), boot.control.address)]),
        routes: boot.control.gateway.map(|via| default_route(&link, via)).into_iter().collect(),
        links: BTreeMap::from([(link, wanted)]),
        policy_rules: BTreeSet::new(),
        sysctls,
        owners: BTreeMap::new(),
    }
}

fn default_route(link: &LinkName, via: IpAddr) -> RouteEntry {
    let destination = Cidr::everything(via);
    let metric = if via.is_ipv4() { 0 } else { 1024 };
    RouteEntry {
        table: MAIN_TABLE,
        destination,
        metric,
        link: link.clone(),
        via: Some(via),
        source: None,
    }
}
