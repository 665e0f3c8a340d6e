//! What is found and what is refused, without a store.

use super::*;
use crate::model::{Nic, PhysicalNetwork, PublicRange};

fn id(text: &str) -> ObjectId {
    text.parse().unwrap()
}

/// Zone z1 with everything once.
fn existing() -> Existing {
    let zone = toml::from_str::<ZoneSpec>("name = 'z1'\nresolvers = ['192.0.2.1']").unwrap();
    Existing {
        zones: vec![Zone {
            id: id("z-1"),
            name: zone.name,
            resolvers: zone.resolvers,
            guest_cidr: zone.guest_cidr,
            control_cidr: zone.control_cidr,
            control_gateway: None,
            managers: Vec::new(),
        }],
        physical: vec![PhysicalNetwork {
            id: id("pn-1"),
            zone: id("z-1"),
            name: id("phys1"),
            vlans: Vec::new(),
            mtu: sluice_api::types::Mtu::ETHERNET,
        }],
        ranges: vec![PublicRange {
            id: id("pr-1"),
            zone: id("z-1"),
            physical_network: id("pn-1"),
            name: id("pub1"),
            vlan: None,
            cidr: "198.51.100.0/24".parse().unwrap(),
            gateway: "198.51.100.1".parse().unwrap(),
            start: "198.51.100.10".parse().unwrap(),
            end: "198.51.100.20".parse().unwrap(),
        }],
        networks: vec![Network {
            id: id("n-1"),
            zone: id("z-1"),
            physical_network: id("pn-1"),
            public_range: id("pr-1"),
            name: id("net1"),
            domain: "example".parse().unwrap(),
            cidr: "10.1.1.0/24".parse().unwrap(),
            gateway: "10.1.1.1".parse().unwrap(),
            egress: sluice_api::config::EgressPolicy::Allow,
            vlan: 100_u64.try_into().unwrap(),
            source_nat: "198.51.100.10".parse().unwrap(),
            lease_seconds: sluice_api::types::LeaseSeconds::DAY,
            mtu: None,
            router: "r-1".parse().unwrap(),
        }],
        guests: vec![Guest {
            id: id("g-1"),
            zone: id("z-1"),
            name: "vm1".parse().unwrap(),
            nics: vec![Nic {
                id: id("nic-1"),
                network: id("n-1"),
                mac: "02:00:00:00:00:01".parse().unwrap(),
                address: "10.1.1.2".parse().unwrap(),
            }],
        }],
    }
}

fn steps(text: &str) -> Result<Vec<String>, Error> {
    let cloud: CloudSpec = toml::from_str(text).unwrap();
    let steps = differences(&existing(), &cloud, true)?;
    Ok(steps.into_iter().map(|(line, _)| line.to_string()).collect())
}

const RANGE: &str = "public_ranges = [{ zone = 'z1', name = 'pub1', gateway = '198.51.100.1', \
    start = '198.51.100.10', end = '198.51.100.20', OTHER }]";
const NETWORK: &str =
    "networks = [{ zone = 'z1', name = 'net1', domain = 'example', egress = 'allow', OTHER }]";

fn field(template: &str, other: &str) -> Option<&'static str> {
    match steps(&template.replace("OTHER", other)) {
        Ok(steps) if steps.is_empty() => None,
        Err(Error::Invalid { field, .. }) => Some(field),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_of_a_zone_to_be_is_not_one_that_there_is() {
    let found = steps("guests = [{ zone = 'z2', network = 'net1', name = 'vm1' }]").unwrap();
    assert_eq!(found, ["+ guest vm1 in net1"]);
    for zone in ["", "zone = 'z1',", "zone = 'z-1',"] {
        let found = steps(&format!("guests = [{{ {zone} network = 'net1', name = 'vm1' }}]"));
        assert_eq!(found.unwrap(), [""; 0], "{zone}");
    }
}

#[test]
fn a_guest_whose_network_could_be_two_is_refused() {
    let text = "networks = [{ zone = 'z2', name = 'net1', domain = 'd', egress = 'deny' }]
        guests = [{ network = 'net1', name = 'vm1' }]";
    assert!(matches!(steps(text), Err(Error::Ambiguous { kind: "network", .. })));
}

#[test]
fn what_a_range_cannot_change_is_refused() {
    for same in ["prefix = 24", "netmask = '255.255.255.0'", "physical_network = 'pn-1'"] {
        assert_eq!(field(RANGE, same), None, "{same}");
    }
    assert_eq!(field(RANGE, "netmask = '255.255.0.0'"), Some("prefix"));
    assert_eq!(field(RANGE, "netmask = '255.0.255.0'"), Some("netmask"));
    assert_eq!(field(RANGE, "physical_network = 'phys2'"), Some("physical_network"));
    assert_eq!(field(RANGE, "vlan = 7"), Some("vlan"));
}

#[test]
fn what_a_network_cannot_change_is_refused() {
    for same in ["physical_network = 'phys1'", "public_range = 'pub1'", "public_range = 'pr-1'"] {
        assert_eq!(field(NETWORK, same), None, "{same}");
    }
    assert_eq!(field(NETWORK, "physical_network = 'phys2'"), Some("physical_network"));
    assert_eq!(field(NETWORK, "public_range = 'pub2'"), Some("public_range"));
    assert_eq!(field(NETWORK, "mtu = 1400"), Some("mtu"));
}
