//! Two uplinks: answers leave by the one that the connection came in by, guests by the one whose address they have.

use serde_json::json;
use sluice_api::RouterDocument;

use crate::policy::{asked, changed, guests_with_addresses, seen, web};
use crate::world::World;

/// Everything goes to the first uplink by default; net-2 has its source NAT address on the second, and vm2 its own address.
fn two_uplinks(generation: u64) -> RouterDocument {
    changed(generation, |document| {
        let links = document["links"].as_array_mut().unwrap();
        links.push(json!({
            "name": "pub1", "role": "public", "attach": { "nic": { "mac": "02:00:cb:00:71:0a" } },
            "addresses": ["203.0.113.10/24", "203.0.113.11/24", "203.0.113.12/24"],
        }));
        links.push(json!({
            "name": "guest1", "role": "guest", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
            "addresses": ["10.1.2.1/24"],
        }));
        let router = &mut document["role"]["router"];
        router["networks"].as_array_mut().unwrap().push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow",
            "source_nat": { "link": "pub1", "address": "203.0.113.10" },
        }));
        router["uplinks"] = json!([
            { "link": "pub0", "gateway": "198.51.100.1" },
            { "link": "pub1", "gateway": "203.0.113.1" },
        ]);
        router["public_addresses"] = json!([
            { "id": "ip-1", "address": "198.51.100.11", "link": "pub0" },
            { "id": "ip-2", "address": "203.0.113.11", "link": "pub1" },
            { "id": "ip-3", "address": "203.0.113.12", "link": "pub1" },
        ]);
        let forward = |id: &str, public: &str| {
            json!({ "id": id, "public": public, "protocol": "tcp", "ports": "80",
                    "network": "net-1", "guest": "10.1.1.23", "guest_port": 8080 })
        };
        router["port_forwards"] =
            json!([forward("pf-1", "198.51.100.11"), forward("pf-2", "203.0.113.11")]);
        router["static_nat"] = json!([
            { "id": "sn-1", "public": "203.0.113.12", "network": "net-1", "guest": "10.1.1.24" },
        ]);
        let open = |id: &str, public: &str| json!({ "id": id, "public": public, "traffic": { "all": {} } });
        router["firewall"] = json!([
            open("fw-1", "198.51.100.11"),
            open("fw-2", "203.0.113.11"),
            open("fw-3", "203.0.113.12"),
        ]);
    })
}

#[test]
fn each_connection_keeps_to_its_uplink() {
    let world = World::new();
    world.outside_has_web_and_names();
    world.push_and_confirm(&two_uplinks(10));
    guests_with_addresses(&world);
    let (vm1, vm2, vm3) = (world.guest("vm1"), world.guest("vm2"), &world.tier);
    let (one, two) = (&world.inet, &world.inet2);
    let _servers = [web(&world, vm1), web(&world, vm2), web(&world, two)];
    // a host that both providers lead to asks by each of them: only the right way back is an answer to it
    let far = "--interface 192.0.2.90";
    let table = [
        ("a forward on the first", one, "", "198.51.100.11", seen("198.51.100.1")),
        ("a forward on the second", two, "", "203.0.113.11", seen("203.0.113.1")),
        ("the same from beyond the provider", two, far, "203.0.113.11", seen("192.0.2.90")),
        ("static NAT on the second", two, far, "203.0.113.12:8080", seen("192.0.2.90")),
        ("source NAT of the first", vm1, "", "192.0.2.80:8080", seen("198.51.100.10")),
        ("source NAT of the second", vm3, "", "192.0.2.90:8080", seen("203.0.113.10")),
        ("static NAT outwards", vm2, "", "192.0.2.90:8080", seen("203.0.113.12")),
        ("what the first does not lead to", vm1, "", "192.0.2.90:8080", None),
        ("from within, to an address of the second", vm2, "", "203.0.113.11", seen("10.1.1.1")),
        ("from a network of the second", vm3, "", "198.51.100.11", seen("10.1.2.23")),
    ];
    for (what, from, options, server, wanted) in table {
        let got = asked(from, options, server);
        let state = || {
            let all = "ip rule; ip route show table all; nft list table inet sluice";
            world.router.sh(all).check().unwrap()
        };
        assert!(got == wanted, "{what}: {got:?}, not {wanted:?}\n{}", state());
    }
    // the router's own answers too
    let ping =
        |options: &str, to: &str| two.sh(&format!("ping -c1 -W2 {options} {to}")).run().unwrap();
    assert!(ping("-I 192.0.2.90", "203.0.113.11").ok(), "ICMP that the firewall lets in");

    // one uplink less is one list less: nothing of it is left
    world.push_and_confirm(&changed(11, |_| {}));
    let rules = world.router.sh("ip rule; ip route show table all").check().unwrap();
    assert!(!rules.contains("fwmark") && !rules.contains("table 193"), "{rules}");
    assert_eq!(asked(vm1, "", "192.0.2.80:8080"), seen("198.51.100.10"));
}
