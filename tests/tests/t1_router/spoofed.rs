//! Who sends by an uplink or a private link as somebody inside: lists and firewall rules that name inside networks are not asked.

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_lab::Wait;
use sluice_lab::netns::Namespace;

use crate::policy::{changed, guests_with_addresses};
use crate::world::World;
use crate::{SOON, table};

/// Tier B lets in tier A alone, by whatever way; the private gateway lets everything pass.
fn believing() -> RouterDocument {
    let mut document = json!(table::config(10, "allow", false));
    let router = &mut document["role"]["router"];
    let rule = |id: &str, number: u16, direction: &str, network: &str| {
        json!({ "id": id, "number": number, "direction": direction, "action": "allow",
                "networks": [network], "traffic": { "all": {} } })
    };
    router["vpc"]["acls"][1]["rules"] = json!([
        rule("in", 10, "ingress", "10.1.1.0/24"),
        rule("in-v6", 20, "ingress", "2001:db8:1::/64"),
    ]);
    let private = router["vpc"]["acls"][2]["rules"].as_array_mut().unwrap();
    private.push(rule("out-v6", 30, "egress", "2001:db8::/32"));
    let forwards = router["port_forwards"].as_array_mut().unwrap();
    for (id, public) in [("pf-4", "198.51.100.11"), ("pf-5", "203.0.113.11")] {
        forwards.push(json!({ "id": id, "public": public, "protocol": "udp", "ports": "82",
                              "network": "net-2", "guest": "10.1.2.23", "guest_port": 9999 }));
    }
    decoded(&document)
}

fn decoded(document: &Value) -> RouterDocument {
    let decoded = RouterDocument::decode(document.to_string().as_bytes());
    decoded.unwrap_or_else(|bad| panic!("{bad:#?}")).0
}

/// Says what each datagram has in it.
const LISTEN: &str = "\
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(('::', 9999))
print('listening', flush=True)
while True:
    print(s.recv(99).decode(), flush=True)
";

/// Source, destination, port, and what is in it.
const SEND: &str = "\
import socket, sys
source, to, port, text = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ':' in to else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((source, 0))
s.sendto(text.encode(), (to, int(port)))
";

fn set(ns: &Namespace, line: &str) {
    ns.sh(line).check().unwrap();
}

fn counted(world: &World, rule: &str) -> u64 {
    let report = world.call(|client| async move { client.usage().await }).unwrap();
    let found = report.rules.iter().find(|one| one.rule == rule);
    found.map_or(0, |one| one.judged.packets)
}

/// Everybody has addresses of both versions of IP; those outside have one of tier A's too.
fn addressed(world: &World) {
    let liar = "ip addr add 10.1.1.99/32 dev lo; ip addr add 2001:db8:1::99/128 dev lo nodad; ";
    let outside = [
        (&world.inet, "2001:db8:ffff::1/64", "2001:db8:ffff::2"),
        (&world.inet2, "2001:db8:fffe::1/64", "2001:db8:fffe::2"),
        // by the router's link-local address, since the private link has no other
        (&world.office, "2001:db8:fffd::1/64", "fe80::acff:fe10:2"),
    ];
    for (ns, own, router) in outside {
        set(ns, liar);
        set(ns, &format!("ip addr add {own} dev eth0 nodad"));
        set(ns, &format!("ip -6 route add 2001:db8:2::/64 via {router} dev eth0"));
    }
    let inside = [
        (world.guest("vm1"), "2001:db8:1::23", "2001:db8:1::1"),
        (&world.tier, "2001:db8:2::23", "2001:db8:2::1"),
    ];
    for (ns, own, router) in inside {
        set(ns, &format!("ip addr add {own}/64 dev eth0 nodad"));
        set(ns, &format!("ip -6 route add default via {router} metric 1"));
    }
    let settled = || world.router.sh("! ip addr | grep -q tentative").run().unwrap().ok();
    Wait::until(SOON, "the router's addresses to be settled", settled).unwrap();
}

#[test]
fn nobody_outside_is_believed_to_be_inside() {
    let world = World::new();
    world.push_and_confirm(&believing());
    guests_with_addresses(&world);
    addressed(&world);
    let script = |name: &str, text: &str| {
        let path = world.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (listen, send) = (script("listen.py", LISTEN), script("send.py", SEND));
    let mut listener = world.tier.spawn(["python3", &listen]).unwrap();
    listener.says("listening", SOON).unwrap();
    let send = |ns: &Namespace, source: &str, to: &str, port: u16, text: &str| {
        set(ns, &format!("python3 {send} {source} {to} {port} {text}"));
    };
    let liars = [
        (&world.inet, "10.1.1.99", "198.51.100.11", 82, "lie-uplink-1"),
        (&world.inet2, "10.1.1.99", "203.0.113.11", 82, "lie-uplink-2"),
        (&world.office, "10.1.1.99", "10.1.2.23", 9999, "lie-private"),
        (&world.inet, "2001:db8:1::99", "2001:db8:2::23", 9999, "lie-uplink-1-v6"),
        (&world.inet2, "2001:db8:1::99", "2001:db8:2::23", 9999, "lie-uplink-2-v6"),
        (&world.office, "2001:db8:1::99", "2001:db8:2::23", 9999, "lie-private-v6"),
    ];
    for (sent, (ns, source, to, port, text)) in (1_u64..).zip(liars) {
        send(ns, source, to, port, text);
        // each is lost by the rule that is there for it, and by no other
        let lost = || counted(&world, "forward/spoofed") == sent;
        let waited = Wait::until(SOON, text, lost);
        let rules = || world.router.sh("nft list table inet sluice").check().unwrap();
        assert!(waited.is_ok(), "{text}: {}\n{}", listener.output(), rules());
    }
    let vm1 = world.guest("vm1");
    send(vm1, "10.1.1.23", "10.1.2.23", 9999, "honest-v4");
    send(vm1, "10.1.1.23", "198.51.100.11", 82, "honest-turned-round");
    send(vm1, "2001:db8:1::23", "2001:db8:2::23", 9999, "honest-v6");
    for text in ["honest-v4", "honest-turned-round", "honest-v6"] {
        listener.says(text, SOON).unwrap();
    }
    assert!(!listener.output().contains("lie"), "{}", listener.output());
    assert_eq!(counted(&world, "forward/spoofed"), 6, "who is inside is believed");

    // for the router itself, which a firewall rule of an isolated network lets pings in to
    world.push_and_confirm(&changed(11, |document| {
        document["role"]["router"]["firewall"] = json!([
            { "id": "fw-1", "public": "198.51.100.11", "sources": ["10.1.1.0/24", "198.51.100.0/24"],
              "traffic": { "icmp": { "type": 8 } } },
        ]);
    }));
    set(&world.inet, "ping -c1 -W5 198.51.100.11");
    let before = (counted(&world, "firewall/fw-1"), counted(&world, "input/spoofed"));
    assert_eq!(before, (1, 0));
    world.inet.sh("ping -c1 -W1 -I 10.1.1.99 198.51.100.11").run().unwrap();
    let lost = || counted(&world, "input/spoofed") == 1;
    Wait::until(SOON, "the ping to be lost", lost).unwrap();
    assert_eq!(counted(&world, "firewall/fw-1"), 1, "no rule was asked");
}
