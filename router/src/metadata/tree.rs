//! The names that exist and what they say: pure.
//!
//! Two trees. CloudStack's is flat: `KEY` under `latest` and under `latest/meta-data`, and a listing never names what
//! cannot be fetched, because cloud-init fetches all that is listed and gives up at the first that is missing. EC2's is
//! deep, and is what a dated version in place of `latest` means. Where one path means two things, `latest` with no final
//! slash is CloudStack's.

use bytes::Bytes;
use sluice_api::types::{MetadataKey, PublicKey};

use super::guest::Guest;
use super::path::Path;

/// Versions of EC2's tree that clients in the field ask for.
const VERSIONS: [&str; 8] = [
    "1.0",
    "2009-04-04",
    "2011-01-01",
    "2012-01-12",
    "2014-02-25",
    "2016-09-02",
    "2018-09-24",
    "2021-03-23",
];

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A value or a listing.
    Text(String),
    /// The user data.
    UserData(Bytes),
}

fn text(value: impl ToString) -> Found {
    Found::Text(value.to_string())
}

/// What `path` is for `guest`.
pub(super) fn find(guest: &Guest, path: &Path) -> Option<Found> {
    match path.parts().as_slice() {
        [] => Some(text(versions())),
        ["latest", rest @ ..] => latest(guest, rest, path.listing),
        // as CloudStack's management server wrote them, for the guest of that address alone
        ["userdata", address, "user-data"] if is_own(guest, address) => {
            guest.user_data.clone().map(Found::UserData)
        }
        ["metadata", address, key] if is_own(guest, address) => value(guest, key),
        [dated, rest @ ..] if VERSIONS.contains(dated) => version(guest, rest),
        _ => None,
    }
}

fn is_own(guest: &Guest, address: &str) -> bool {
    address.parse().is_ok_and(|address| guest.addresses.contains(&address))
}

fn versions() -> String {
    let mut all = VERSIONS.to_vec();
    all.push("latest");
    all.join("\n")
}

fn latest(guest: &Guest, parts: &[&str], listing: bool) -> Option<Found> {
    match parts {
        ["meta-data"] => Some(text(keys(guest).join("\n"))),
        ["meta-data", key] | [key] if !(listing && *key == "public-keys") => {
            value(guest, key).or_else(|| version(guest, parts))
        }
        _ => version(guest, parts),
    }
}

/// Names of CloudStack's tree that `guest` has a value for.
fn keys(guest: &Guest) -> Vec<&str> {
    const FIXED: [&str; 10] = [
        "service-offering",
        "availability-zone",
        "local-ipv4",
        "local-hostname",
        "public-ipv4",
        "public-hostname",
        "instance-id",
        "vm-id",
        "public-keys",
        "cloud-identifier",
    ];
    let fixed = FIXED.into_iter().filter(|key| value(guest, key).is_some());
    let extra = guest.extra.keys().map(MetadataKey::as_str).filter(|key| !FIXED.contains(key));
    fixed.chain(extra).collect()
}

/// The value of `key` in CloudStack's tree.
fn value(guest: &Guest, key: &str) -> Option<Found> {
    match key {
        "service-offering" => guest.service_offering.as_ref().map(text),
        "availability-zone" => Some(text(&guest.availability_zone)),
        "local-ipv4" => guest.address().map(text),
        "local-hostname" => Some(text(&guest.hostname)),
        "public-ipv4" | "public-hostname" => guest.public_address.map(text),
        "instance-id" => Some(text(&guest.instance_id)),
        "vm-id" => Some(text(guest.vm_id.as_ref().unwrap_or(&guest.instance_id))),
        "public-keys" => guest.key_lines().map(Found::Text),
        "cloud-identifier" => guest.cloud_identifier.as_ref().map(text),
        _ => {
            let key: MetadataKey = key.parse().ok()?;
            guest.extra.get(&key).map(text)
        }
    }
}

/// EC2's tree below its version.
fn version(guest: &Guest, parts: &[&str]) -> Option<Found> {
    match parts {
        [] if guest.user_data.is_some() => Some(text("meta-data/\nuser-data")),
        [] => Some(text("meta-data/")),
        ["user-data"] => guest.user_data.clone().map(Found::UserData),
        ["meta-data", rest @ ..] => meta_data(guest, rest),
        _ => None,
    }
}

fn meta_data(guest: &Guest, parts: &[&str]) -> Option<Found> {
    match parts {
        [] => Some(text(listing(guest).join("\n"))),
        ["hostname" | "local-hostname"] => Some(text(guest.full_name())),
        ["instance-id"] => Some(text(&guest.instance_id)),
        ["instance-type"] => guest.service_offering.as_ref().map(text),
        ["local-ipv4"] => guest.address().map(text),
        ["mac"] => Some(text(guest.mac)),
        ["public-hostname" | "public-ipv4"] => guest.public_address.map(text),
        ["placement"] => Some(text("availability-zone")),
        ["placement", "availability-zone"] => Some(text(&guest.availability_zone)),
        ["public-keys", rest @ ..] => public_keys(guest, rest),
        ["network"] => Some(text("interfaces/")),
        ["network", "interfaces"] => Some(text("macs/")),
        ["network", "interfaces", "macs"] => Some(text(format!("{}/", guest.mac))),
        ["network", "interfaces", "macs", mac, rest @ ..] if *mac == guest.mac.to_string() => {
            interface(guest, rest)
        }
        _ => None,
    }
}

fn listing(guest: &Guest) -> Vec<&'static str> {
    let public = guest.public_address.is_some();
    [
        ("hostname", true),
        ("instance-id", true),
        ("instance-type", guest.service_offering.is_some()),
        ("local-hostname", true),
        ("local-ipv4", guest.address().is_some()),
        ("mac", true),
        ("network/", true),
        ("placement/", true),
        ("public-hostname", public),
        ("public-ipv4", public),
        ("public-keys/", !guest.keys.is_empty()),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect()
}

/// `NUMBER=NAME` a line, and below each number the key.
fn public_keys(guest: &Guest, parts: &[&str]) -> Option<Found> {
    match parts {
        [] if guest.keys.is_empty() => None,
        [] => {
            let lines: Vec<_> = (0..guest.keys.len())
                .map(|number| format!("{number}={}", key_name(guest, number)))
                .collect();
            Some(text(lines.join("\n")))
        }
        [number] => key(guest, number).map(|_| text("openssh-key")),
        [number, "openssh-key"] => key(guest, number),
        _ => None,
    }
}

/// A name of its own for each key: clients keep them by name.
fn key_name(guest: &Guest, number: usize) -> String {
    let (before, from) = guest.keys.split_at_checked(number).unwrap_or_default();
    let comment = from.first().map_or("", PublicKey::comment);
    match comment {
        "" => format!("key-{number}"),
        taken if before.iter().any(|key| key.comment() == taken) => format!("{taken}-{number}"),
        free => free.to_owned(),
    }
}

fn key(guest: &Guest, number: &str) -> Option<Found> {
    let number: usize = number.parse().ok()?;
    guest.keys.get(number).map(text)
}

fn interface(guest: &Guest, parts: &[&str]) -> Option<Found> {
    match parts {
        [] => {
            let names = ["device-number", "local-hostname", "local-ipv4s", "mac"];
            let public = guest.public_address.map(|_| "public-ipv4s");
            let all: Vec<_> =
                names.into_iter().chain(public).chain(["subnet-ipv4-cidr-block"]).collect();
            Some(text(all.join("\n")))
        }
        ["device-number"] => Some(text(0)),
        ["local-hostname"] => Some(text(guest.full_name())),
        ["local-ipv4s"] => {
            let all: Vec<_> = guest.addresses.iter().map(ToString::to_string).collect();
            Some(text(all.join("\n")))
        }
        ["mac"] => Some(text(guest.mac)),
        ["public-ipv4s"] => guest.public_address.map(text),
        ["subnet-ipv4-cidr-block"] => Some(text(guest.network.cidr)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metadata::guest::Network;

    fn guest() -> Guest {
        let network = Network {
            cidr: "10.1.1.0/24".parse().unwrap(),
            domain: "cs1.internal".parse().unwrap(),
        };
        let key = |name| format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8 {name}").parse().unwrap();
        Guest {
            network: Arc::new(network),
            mac: "02:00:0a:01:01:17".parse().unwrap(),
            addresses: vec![[10, 1, 1, 23].into(), [10, 1, 1, 200].into()],
            hostname: "vm1".parse().unwrap(),
            instance_id: "i-2-7-VM".parse().unwrap(),
            vm_id: None,
            availability_zone: "zone 1".parse().unwrap(),
            service_offering: None,
            cloud_identifier: None,
            public_address: Some([198, 51, 100, 10].into()),
            keys: vec![key("ann"), key("")],
            extra: [("cloud-domain".parse().unwrap(), "ROOT".parse().unwrap())].into(),
            user_data: Some(Bytes::from_static(b"#cloud-config\n")),
            needs_token: false,
        }
    }

    fn said(path: &str) -> Option<String> {
        match find(&guest(), &Path::read(path)?)? {
            Found::Text(text) => Some(text),
            Found::UserData(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        }
    }

    #[test]
    fn every_listed_name_can_be_fetched() {
        fn walk(path: &str, depth: usize) -> usize {
            assert!(depth < 9, "{path}");
            let listing = said(path).unwrap_or_else(|| panic!("{path} is listed and not there"));
            if !path.ends_with('/') {
                return 1;
            }
            let below = |line: &str| match line.split_once('=') {
                Some((number, _)) => format!("{path}{number}/"),
                None => format!("{path}{line}"),
            };
            listing.lines().map(|line| walk(&below(line), depth + 1)).sum()
        }
        assert!(walk("/2009-04-04/", 0) > 12);
        let flat = said("/latest/meta-data/").unwrap();
        for key in flat.lines() {
            assert!(said(&format!("/latest/meta-data/{key}")).is_some(), "{key}");
            assert!(said(&format!("/latest/{key}")).is_some(), "{key}");
        }
        assert!(!flat.contains("service-offering"), "has no value: {flat}");
    }

    #[test]
    fn both_trees_say_what_their_clients_expect() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8";
        let both = format!("{key} ann\n{key}");
        for (path, value) in [
            ("/latest/local-hostname", "vm1"),
            ("/latest/meta-data/local-hostname", "vm1"),
            ("/2009-04-04/meta-data/local-hostname", "vm1.cs1.internal"),
            ("/latest/meta-data/local-ipv4", "10.1.1.23"),
            ("/latest/vm-id", "i-2-7-VM"),
            ("/latest/cloud-domain", "ROOT"),
            ("/latest/public-keys", both.as_str()),
            ("/latest/meta-data/public-keys", both.as_str()),
            ("/latest/meta-data/public-keys/", "0=ann\n1=key-1"),
            ("/latest/meta-data/public-keys/0/openssh-key", &format!("{key} ann")),
            ("/latest/meta-data/placement/availability-zone", "zone 1"),
            ("/latest/meta-data/mac", "02:00:0a:01:01:17"),
            ("/latest/user-data", "#cloud-config\n"),
            ("/latest/user-data/", "#cloud-config\n"),
            ("/userdata/10.1.1.23/user-data", "#cloud-config\n"),
            ("/metadata/10.1.1.200/instance-id", "i-2-7-VM"),
            (
                "/latest/meta-data/network/interfaces/macs/02:00:0A:01:01:17/local-ipv4s",
                "10.1.1.23\n10.1.1.200",
            ),
        ] {
            assert_eq!(said(path).as_deref(), Some(value), "{path}");
        }
    }

    #[test]
    fn nothing_else_is_there() {
        for path in [
            "/latest/../../etc/passwd",
            "/etc/passwd",
            "/latest/meta-data/%2e%2e/user-data",
            "/userdata/10.1.1.24/user-data",
            "/metadata/10.1.1.24/instance-id",
            "/latest/meta-data/public-keys/2/openssh-key",
            "/latest/meta-data/public-keys/-1/openssh-key",
            "/latest/user-data/x",
            "/latest/service-offering",
            "/2099-01-01/meta-data/",
            "/latest/meta-data/network/interfaces/macs/02:00:0a:01:01:18/mac",
        ] {
            assert_eq!(said(path), None, "{path}");
        }
    }
}
