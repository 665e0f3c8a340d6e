//! Golden folders and properties of the compiler.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::path::{Path, PathBuf};

use sluice_api::config::{GuestDhcp, GuestMetadata};

use super::*;

fn parse<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn carrier(purpose: NicPurpose, link: &str, mac: &str) -> Carrier {
    Carrier {
        physical_network: parse("pn-1"),
        purpose,
        link: parse(link),
        mac: parse(mac),
        mtu: Mtu::ETHERNET,
    }
}

fn ip(last: u8) -> PublicIpModel {
    PublicIpModel {
        id: parse(&format!("ip-{last}")),
        address: Ipv4Addr::new(198, 51, 100, last),
        prefix: 24,
        link: parse("pub0"),
        network: None,
        purpose: Purpose::SourceNat,
    }
}

fn uplink() -> UplinkModel {
    UplinkModel {
        link: parse("pub0"),
        physical_network: parse("pn-1"),
        vlan: None,
        gateway: Ipv4Addr::new(198, 51, 100, 1),
        ipv6: None,
        probe: None,
    }
}

fn guest(number: u8) -> Guest {
    Guest {
        id: parse(&format!("nic-{number}")),
        mac: MacAddr::from_bytes([2, 0, 0, 0, 1, number]).unwrap(),
        address: Ipv4Addr::new(10, 1, 1, number),
        secondary_addresses: Vec::new(),
        hostname: parse(&format!("vm{number}")),
        default_nic: true,
        dhcp: GuestDhcp::default(),
        metadata: GuestMetadata::default(),
    }
}

fn network(id: &str, vlan: &str, third: u8) -> NetworkModel {
    NetworkModel {
        id: parse(id),
        link: parse(&format!("guest{}", third - 1)),
        physical_network: parse("pn-1"),
        vlan: parse(vlan),
        cidr: parse(&format!("10.1.{third}.0/24")),
        gateway: Ipv4Addr::new(10, 1, third, 1),
        ranges: Vec::new(),
        ipv6: None,
        domain: parse("net.example"),
        egress: EgressPolicy::Allow,
        dhcp: DhcpConfig::default(),
        dns: NetworkDns::default(),
        mtu: None,
        source_nat: Some(Ipv4Addr::new(198, 51, 100, 10 + third)),
        acl: None,
        guests: Vec::new(),
    }
}

fn model(networks: Vec<NetworkModel>) -> ApplianceModel {
    ApplianceModel {
        appliance: parse("r-1"),
        zone: parse("z-1"),
        control_mac: parse("02:00:00:00:00:01"),
        control: parse("169.254.0.10/20"),
        control_gateway: None,
        control_gateway_ipv6: None,
        storage_address: None,
        managers: Vec::new(),
        resolvers: vec![parse("192.0.2.53"), parse("192.0.2.54")],
        dns: DnsConfig {
            upstreams: vec![parse("192.0.2.53"), parse("192.0.2.54")],
            ..DnsConfig::default()
        },
        carriers: vec![
            carrier(NicPurpose::Public, "pub0", "02:00:00:00:00:02"),
            carrier(NicPurpose::Trunk, "trunk0", "02:00:00:00:00:03"),
        ],
        uplinks: vec![uplink()],
        ips: vec![ip(11)],
        networks,
        private: Vec::new(),
        certificate: None,
        console: ConsoleModel::default(),
        imports: ImportsModel::default(),
    }
}

fn with_guests() -> ApplianceModel {
    let mut first = network("n-1", "100", 1);
    first.guests = vec![guest(30), guest(20)];
    model(vec![first])
}

fn tagged_public() -> ApplianceModel {
    let mut first = network("n-1", "100", 1);
    first.mtu = Some(parse("1400"));
    let mut model = model(vec![first]);
    model.carriers.remove(0);
    model.uplinks[0].vlan = Some(parse("20"));
    model
}

fn far_managers() -> ApplianceModel {
    let mut model = with_guests();
    model.control_gateway = Some(parse("169.254.0.1"));
    model.managers = vec![parse("192.0.2.0/24"), parse("169.254.0.0/20")];
    model
}

fn with_ipv6() -> ApplianceModel {
    let mut model = with_guests();
    model.networks[0].ipv6 = Some(parse("2001:db8:1::/64"));
    model.uplinks[0].ipv6 = Some((parse("2001:db8:ffff::5/64"), parse("2001:db8:ffff::1")));
    model
}

fn watched_uplinks() -> ApplianceModel {
    let mut model = with_guests();
    let probe = serde_json::json!({ "targets": ["192.0.2.1"] });
    model.uplinks[0].probe = Some(serde_json::from_value(probe).unwrap());
    model.uplinks.push(UplinkModel {
        link: parse("pub1"),
        vlan: Some(parse("20")),
        gateway: Ipv4Addr::new(203, 0, 113, 1),
        ..uplink()
    });
    let other = |last, purpose| PublicIpModel {
        id: parse(&format!("ip-{last}")),
        address: Ipv4Addr::new(203, 0, 113, last),
        link: parse("pub1"),
        purpose,
        ..ip(last)
    };
    model.ips.extend([other(12, Purpose::StaticNat), other(13, Purpose::Forwards)]);
    model
}

fn retired() -> ApplianceModel {
    let mut model = model(Vec::new());
    model.carriers.clear();
    model.uplinks.clear();
    model.ips.clear();
    model
}

fn two_networks() -> ApplianceModel {
    let mut model = model(vec![network("n-2", "101", 2), network("n-1", "100", 1)]);
    model.ips = vec![ip(11), ip(12)];
    model
}

fn cases() -> Vec<(&'static str, ApplianceModel)> {
    vec![
        ("first-network", with_guests()),
        ("retired", retired()),
        ("tagged-public", tagged_public()),
        ("far-managers", far_managers()),
        ("two-networks", two_networks()),
        ("with-ipv6", with_ipv6()),
        ("watched-uplinks", watched_uplinks()),
    ]
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/compile").join(name)
}

fn compare(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == expected,
        "{} differs; rewrite with `cargo xtask bless`:\n{text}",
        path.display()
    );
}

#[test]
fn compiled_configurations_are_the_golden_ones_and_sound() {
    for (name, model) in cases() {
        let config = router(&model).unwrap();
        assert_eq!(config.check(), [], "{name}");
        let text = serde_json::to_string_pretty(&config).unwrap() + "\n";
        compare(&golden(name).join("config.json"), &text);
    }
}

#[test]
fn the_order_of_the_store_leaves_no_trace() {
    let mut turned = with_guests();
    for network in &mut turned.networks {
        network.guests.reverse();
    }
    assert_eq!(router(&turned), router(&with_guests()));
}

#[test]
fn a_network_without_a_carrier_is_named() {
    let mut model = with_guests();
    model.carriers.clear();
    let error = router(&model).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no NIC of r-1 carries untagged public traffic of physical network pn-1"
    );
}
