//! Random configurations out of a small world, so that rules often meet: isolated networks or a VPC, one or two uplinks.

use serde_json::{Value, json};
use sluice_api::RouterDocument;

use crate::agree::random::Random;
use crate::agree::wires::ours;

/// Who opens connections, and to whom they are opened.
pub(super) const HOSTS: &[&str] = &[
    "10.1.1.23",
    "10.1.1.24",
    "10.1.2.23",
    "10.1.2.24",
    "192.0.2.4",
    "198.51.100.77",
    "198.18.0.9",
    "203.0.113.77",
    "172.16.0.9",
    "172.20.0.1",
    "2001:db8:1::23",
    "2001:db8:2::23",
    "2001:db8:9::1",
];

/// The router's own addresses.
pub(super) const OWN: &[&str] = &[
    "10.1.1.1",
    "198.51.100.10",
    "198.51.100.11",
    "198.51.100.12",
    "203.0.113.11",
    "203.0.113.12",
    "198.51.100.11",
    "203.0.113.11",
    "2001:db8:ffff::2",
];

pub(super) const PORTS: [u16; 6] = [22, 53, 80, 443, 8005, 8080];
/// A protocol that is none of those with ports.
pub(super) const OTHER: u8 = 47;

const SOURCES: [&str; 6] =
    ["192.0.2.0/24", "192.0.2.4/32", "198.0.0.0/8", "10.1.1.0/24", "10.1.0.0/16", "0.0.0.0/0"];
const V6: [&str; 4] = ["2001:db8:9::/64", "2001:db8:1::/64", "2001:db8::/32", "::/0"];

/// The first configuration from here on that has nothing wrong with it.
pub(super) fn sound(random: &mut Random) -> Value {
    for _ in 0..50 {
        let document = document(random);
        if RouterDocument::decode(document.to_string().as_bytes()).is_ok() {
            return document;
        }
    }
    let bad = document(random);
    panic!("nothing is sound: {:#?}", RouterDocument::decode(bad.to_string().as_bytes()));
}

fn some<T>(
    random: &mut Random,
    most: usize,
    mut one: impl FnMut(&mut Random, usize) -> T,
) -> Vec<T> {
    (0..random.below(most + 1)).map(|number| one(random, number)).collect()
}

fn networks(random: &mut Random, all: &[&'static str]) -> Vec<&'static str> {
    let mut networks = some(random, 2, |random, _| random.pick(all));
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn traffic(random: &mut Random) -> Value {
    let ports = ["22", "53-80", "443", "8000-8100", "1-65535"];
    let ranged = |random: &mut Random| match random.below(5) {
        0 => json!({}),
        _ => json!({ "ports": random.pick(&ports) }),
    };
    match random.below(8) {
        0 | 1 => json!({ "all": {} }),
        2..=4 => json!({ "tcp": ranged(random) }),
        5 => json!({ "udp": ranged(random) }),
        6 => random.pick(&[
            json!({ "icmp": {} }),
            json!({ "icmp": { "type": 8 } }),
            json!({ "icmp": { "type": 128 } }),
        ]),
        _ => json!({ "protocol": { "number": OTHER } }),
    }
}

/// What is drawn first, since all else hangs on it.
struct Shape {
    vpc: bool,
    two: bool,
    six: bool,
}

fn document(random: &mut Random) -> Value {
    let shape = Shape { vpc: random.chance(50), two: random.chance(50), six: random.chance(50) };
    let mut routes =
        vec![json!({ "destination": "0.0.0.0/0", "link": "pub0", "via": "198.51.100.1" })];
    if shape.six {
        routes.push(json!({ "destination": "::/0", "link": "pub0", "via": "2001:db8:ffff::1" }));
    }
    if shape.vpc {
        routes
            .push(json!({ "destination": "172.20.0.0/16", "link": "priv0", "via": "172.16.0.1" }));
    }
    json!({
        "version": 2, "generation": 1, "appliance": "r-1",
        "control": { "link": "ctl", "managers": ["169.254.0.0/16"] },
        "links": links(&shape), "routes": routes, "role": { "router": router(random, &shape) },
    })
}

fn links(shape: &Shape) -> Vec<Value> {
    let link = |name: &str, role: &str, number: usize, v4: &[&str], v6: &str| {
        let mut addresses = v4.to_vec();
        addresses.extend(Some(v6).filter(|v6| shape.six && !v6.is_empty()));
        json!({ "name": name, "role": role, "addresses": addresses,
                "attach": { "nic": { "mac": ours(number).to_string() } } })
    };
    let first = ["198.51.100.10/24", "198.51.100.11/24", "198.51.100.12/24"];
    let second = ["203.0.113.10/24", "203.0.113.11/24", "203.0.113.12/24"];
    let mut links = vec![
        link("ctl", "control", 0, &["169.254.0.10/16"], ""),
        link("guest0", "guest", 1, &["10.1.1.1/24"], "2001:db8:1::1/64"),
        link("guest1", "guest", 2, &["10.1.2.1/24"], "2001:db8:2::1/64"),
        link("pub0", "public", 3, &first, "2001:db8:ffff::2/64"),
    ];
    if shape.two {
        links.push(link("pub1", "public", 4, &second, "2001:db8:fffe::2/64"));
    }
    if shape.vpc {
        links.push(link("priv0", "private", 5, &["172.16.0.2/24"], ""));
    }
    links
}

fn network(random: &mut Random, shape: &Shape, number: usize) -> Value {
    let mut network = json!({
        "id": format!("net-{number}"), "link": format!("guest{}", number - 1),
        "cidr": format!("10.1.{number}.0/24"), "gateway": format!("10.1.{number}.1"),
        "domain": format!("n{number}.internal"),
        "egress": if shape.vpc || random.chance(50) { "allow" } else { "deny" },
    });
    let second = shape.two && random.chance(50);
    let nat = if second { ("pub1", "203.0.113.10") } else { ("pub0", "198.51.100.10") };
    if random.chance(80) {
        network["source_nat"] = json!({ "link": nat.0, "address": nat.1 });
    }
    if shape.six {
        network["ipv6"] = json!({ "cidr": format!("2001:db8:{number}::/64"),
            "gateway": format!("2001:db8:{number}::1") });
    }
    if shape.vpc && random.chance(80) {
        network["acl"] = json!(format!("acl-{number}"));
    }
    network
}

fn router(random: &mut Random, shape: &Shape) -> Value {
    let mut publics = vec![("198.51.100.11", "pub0"), ("198.51.100.12", "pub0")];
    if shape.two {
        publics.extend([("203.0.113.11", "pub1"), ("203.0.113.12", "pub1")]);
    }
    if random.chance(30) {
        publics.push(("198.51.100.10", "pub0"));
    }
    let addresses: Vec<Value> = publics
        .iter()
        .map(|(address, link)| json!({ "id": format!("ip-{}", address.replace('.', "-")), "address": address, "link": link }))
        .collect();
    // the first of them may stand for a guest, the others have forwards
    let maps = random.chance(60);
    let of = usize::from(maps);
    let (mapped, shared) = publics.split_at(of);
    let guest = |random: &mut Random| {
        let network = random.pick(&[1_u8, 2]);
        (format!("net-{network}"), format!("10.1.{network}.{}", random.pick(&[23_u8, 24])))
    };
    let static_nat: Vec<Value> = mapped
        .iter()
        .map(|(public, _)| {
            let (network, guest) = guest(random);
            json!({ "id": "sn-1", "public": public, "network": network, "guest": guest })
        })
        .collect();
    let ports = ["22", "80", "443", "8000-8010"];
    let mut forwards: Vec<Value> = Vec::new();
    for number in 0..random.below(5) {
        let (public, protocol) = (random.pick(shared).0, random.pick(&["tcp", "tcp", "udp"]));
        let at = random.pick(&ports);
        let same = |other: &Value| {
            other["public"] == public && other["protocol"] == protocol && other["ports"] == at
        };
        if forwards.iter().any(same) {
            continue;
        }
        let (network, guest) = guest(random);
        let mut forward = json!({ "id": format!("pf-{number}"), "public": public,
            "protocol": protocol, "ports": at, "network": network, "guest": guest,
            "sources": networks(random, &SOURCES) });
        if random.chance(50) {
            forward["guest_port"] = json!(8080);
        }
        forwards.push(forward);
    }
    let mut router = json!({
        "hostname": "r-1", "dns": { "upstreams": ["192.0.2.53"] },
        "networks": [network(random, shape, 1), network(random, shape, 2)],
        "public_addresses": addresses, "static_nat": static_nat, "port_forwards": forwards,
    });
    if shape.two {
        let up = |link: &str, gateway: &str, six: &str| {
            let mut up = json!({ "link": link, "gateway": gateway });
            if shape.six {
                up["gateway_ipv6"] = json!(six);
            }
            up
        };
        router["uplinks"] = json!([
            up("pub0", "198.51.100.1", "2001:db8:ffff::1"),
            up("pub1", "203.0.113.1", "2001:db8:fffe::1"),
        ]);
    }
    if shape.vpc {
        router["vpc"] = vpc(random);
    } else {
        rules(random, shape, &publics, &mut router);
    }
    router
}

fn rules(random: &mut Random, shape: &Shape, publics: &[(&str, &str)], router: &mut Value) {
    router["firewall"] = json!(some(random, 6, |random, number| json!({
        "id": format!("fw-{number}"), "public": random.pick(publics).0,
        "sources": networks(random, &SOURCES), "traffic": traffic(random),
    })));
    let all: Vec<&str> =
        SOURCES.iter().chain(if shape.six { &V6[..] } else { &[] }).copied().collect();
    router["egress_rules"] = json!(some(random, 4, |random, number| {
        let network = random.pick(&[1_u8, 2]);
        let own: Vec<String> = match random.below(3) {
            0 => vec![format!("10.1.{network}.23/32")],
            _ => Vec::new(),
        };
        json!({ "id": format!("e-{number}"), "network": format!("net-{network}"), "sources": own,
                "destinations": networks(random, &all), "traffic": traffic(random) })
    }));
    if shape.six {
        router["ipv6_firewall"] = json!(some(random, 4, |random, number| json!({
            "id": format!("six-{number}"), "network": format!("net-{}", random.pick(&[1_u8, 2])),
            "sources": networks(random, &V6), "traffic": traffic(random),
        })));
    }
}

fn vpc(random: &mut Random) -> Value {
    let all: Vec<&str> = SOURCES.iter().chain(&V6).chain(&["172.16.0.0/12"]).copied().collect();
    let mut acl = |number: usize| {
        let rules = some(random, 7, |random, place| {
            let number = 1 + place * 10;
            json!({ "id": format!("a-{number}"), "number": number,
                "direction": random.pick(&["ingress", "ingress", "egress"]),
                "action": random.pick(&["allow", "allow", "deny"]),
                "networks": networks(random, &all), "traffic": traffic(random) })
        });
        json!({ "id": format!("acl-{number}"), "rules": rules })
    };
    let acls: Vec<Value> = (1..=3).map(&mut acl).collect();
    let mut gateway = json!({ "id": "pg-1", "link": "priv0" });
    if random.chance(80) {
        gateway["acl"] = json!("acl-3");
    }
    if random.chance(30) {
        gateway["source_nat"] = json!("172.16.0.2");
    }
    json!({ "id": "vpc-1", "cidr": "10.1.0.0/16", "acls": acls, "private_gateways": [gateway] })
}
