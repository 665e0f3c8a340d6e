//! Links: names, MACs, VLANs and addresses are each used once, and a VLAN's trunk can carry it.

use std::net::IpAddr;

use super::Scope;
use crate::config::{Attachment, Link, LinkRole};
use crate::types::{Cidr, LinkName, VlanId};

pub(super) fn check(scope: &mut Scope<'_>) {
    let links = scope.all_links;
    let path = |index: usize, field: &str| format!("links[{index}].{field}");
    scope.unique(
        "link",
        "duplicate-link",
        links.iter().enumerate().map(|(i, l)| (&l.name, path(i, "name"))),
    );
    scope.unique(
        "MAC address",
        "duplicate-mac",
        links.iter().enumerate().filter_map(|(i, l)| match &l.attach {
            Attachment::Nic { mac } => Some((*mac, path(i, "attach.nic.mac"))),
            Attachment::Vlan { .. } => None,
        }),
    );
    scope.unique(
        "tag:",
        "duplicate-vlan",
        links
            .iter()
            .enumerate()
            .filter_map(|(i, l)| tag(l).map(|tag| (tag, path(i, "attach.vlan.id")))),
    );
    for (index, link) in links.iter().enumerate() {
        attachment(scope, index, link);
        trunk_is_bare(scope, index, link);
        leaves_metadata_alone(scope, index, link);
    }
    addresses(scope);
}

/// A tag on a trunk, as a key that prints.
#[derive(PartialEq, Eq, Hash)]
struct Tag<'a>(&'a LinkName, VlanId);

impl std::fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VLAN {} of trunk {}", self.1, self.0)
    }
}

fn tag(link: &Link) -> Option<Tag<'_>> {
    match &link.attach {
        Attachment::Vlan { trunk, id, .. } => Some(Tag(trunk, *id)),
        Attachment::Nic { .. } => None,
    }
}

fn attachment(scope: &mut Scope<'_>, index: usize, link: &Link) {
    let Attachment::Vlan { trunk, .. } = &link.attach else { return };
    let path = format!("links[{index}].attach.vlan.trunk");
    if link.role == LinkRole::Trunk {
        scope.error(
            format!("links[{index}].role"),
            "link-role",
            "a trunk must be a NIC, not a VLAN",
        );
    }
    let Some(carrier) = scope.link(trunk, &path) else { return };
    if carrier.role != LinkRole::Trunk {
        scope.error(path, "link-role", format!("link {trunk} is not a trunk"));
    } else if link.mtu > carrier.mtu {
        let reason = format!("MTU {} is larger than {} of trunk {trunk}", link.mtu, carrier.mtu);
        scope.error(format!("links[{index}].mtu"), "mtu", reason);
    }
}

/// Where guests ask for their metadata: the router answers there on every guest link.
const METADATA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254));

fn leaves_metadata_alone(scope: &mut Scope<'_>, index: usize, link: &Link) {
    for (position, address) in link.addresses.iter().enumerate() {
        if address.ip() == METADATA {
            let path = format!("links[{index}].addresses[{position}]");
            let reason = format!("{METADATA} is where guests find their metadata on every link");
            scope.error(path, "reserved-address", reason);
        }
    }
}

fn trunk_is_bare(scope: &mut Scope<'_>, index: usize, link: &Link) {
    if link.role == LinkRole::Trunk && !link.addresses.is_empty() {
        let path = format!("links[{index}].addresses");
        scope.error(
            path,
            "trunk-address",
            "a trunk carries VLANs only and has no address of its own",
        );
    }
}

/// Every address with its path; two links may not share a network, or replies would leave by the wrong one.
fn addresses(scope: &mut Scope<'_>) {
    let links = scope.all_links;
    let mut all: Vec<(&LinkName, Cidr, String)> = Vec::new();
    let mut hosts = Vec::new();
    for (index, link) in links.iter().enumerate() {
        for (position, address) in link.addresses.iter().enumerate() {
            let path = format!("links[{index}].addresses[{position}]");
            hosts.push((address.ip(), path.clone()));
            all.push((&link.name, address.network(), path));
        }
    }
    scope.unique("address", "duplicate-address", hosts);
    for (network, path, other) in overlapping(&all) {
        let reason = format!("network {network} overlaps a network of link {other}");
        scope.error(path, "overlap", reason);
    }
}

/// Pairs of different links with overlapping networks, found in sorted order: a network can only overlap
/// one that starts before it and has not ended.
fn overlapping<'a>(all: &[(&'a LinkName, Cidr, String)]) -> Vec<(Cidr, String, &'a LinkName)> {
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_by_key(|(_, network, _)| (network.network(), network.prefix()));
    let mut found = Vec::new();
    let mut open: Option<&(&'a LinkName, Cidr, String)> = None;
    for entry in sorted {
        match open {
            Some(wider) if wider.1.contains(entry.1.network()) => {
                if wider.0 != entry.0 {
                    found.push((entry.1, entry.2.clone(), wider.0));
                }
            }
            _ => open = Some(entry),
        }
    }
    found
}
