//! Who reaches whom, as the guide has it: a table written by hand from its chapters 11.13 to 11.19, on real packets.
//!
//! Each row is a connection from one place to another, directly or by a public address of either uplink, once with lists that
//! allow it and once with lists that deny it. What is looked at: whether it arrives, as whom, and which rule counted it.

mod rows;

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_api::report::UsageReport;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use crate::SOON;
use crate::policy::{changed, guests_with_addresses};
use crate::world::World;
use rows::Sender::{self, Branch, Inet, Inet2, Vm1, Vm2, Vm3, Vm3Own};
use rows::{HIDDEN, Row, TABLE, translating};

/// Lists whose every rule does `action`; tier A's has no egress rule, so everything may leave it.
fn lists(action: &str) -> Value {
    let rule = |id: &str, number: u16, direction: &str, networks: &[&str]| {
        json!({ "id": id, "number": number, "direction": direction, "action": action,
                "networks": networks, "traffic": { "all": {} } })
    };
    let (v4, v6) = (["0.0.0.0/0"], ["2001:db8::/32"]);
    json!([
        { "id": "acl-a", "rules": [rule("in", 10, "ingress", &v4), rule("in-v6", 20, "ingress", &v6)] },
        { "id": "acl-b", "rules": [
            rule("in", 10, "ingress", &v4), rule("in-v6", 20, "ingress", &v6),
            rule("out", 10_010, "egress", &v4), rule("out-v6", 10_020, "egress", &v6),
        ] },
        { "id": "acl-p", "rules": [rule("in", 10, "ingress", &v4), rule("out", 20, "egress", &v4)] },
    ])
}

/// With source NAT of the private gateway, if `hidden`.
pub(crate) fn config(generation: u64, action: &str, hidden: bool) -> RouterDocument {
    changed(generation, |document| {
        let links = document["links"].as_array_mut().unwrap();
        let guest0 = links.iter_mut().find(|link| link["name"] == "guest0").unwrap();
        guest0["addresses"].as_array_mut().unwrap().push(json!("2001:db8:1::1/64"));
        let nic = |mac: &str| json!({ "nic": { "mac": mac } });
        links.extend([
            json!({ "name": "pub1", "role": "public", "attach": nic("02:00:cb:00:71:0a"),
                "addresses": ["203.0.113.10/24", "203.0.113.11/24", "203.0.113.12/24",
                    "2001:db8:fffe::2/64"] }),
            json!({ "name": "guest1", "role": "guest", "attach": nic("02:00:0a:01:02:01"),
                "addresses": ["10.1.2.1/24", "2001:db8:2::1/64"] }),
            json!({ "name": "priv0", "role": "private", "attach": nic("02:00:ac:10:00:02"),
                "addresses": ["172.16.0.2/24"] }),
        ]);
        let pub0 = links.iter_mut().find(|link| link["name"] == "pub0").unwrap();
        pub0["addresses"].as_array_mut().unwrap().push(json!("2001:db8:ffff::2/64"));
        let routes = document["routes"].as_array_mut().unwrap();
        routes.push(json!({ "destination": "::/0", "link": "pub0", "via": "2001:db8:ffff::1" }));
        routes
            .push(json!({ "destination": "172.20.0.0/16", "link": "priv0", "via": "172.16.0.1" }));
        let router = &mut document["role"]["router"];
        let ipv6 = |of: u8| json!({ "cidr": format!("2001:db8:{of}::/64"), "gateway": format!("2001:db8:{of}::1") });
        router["networks"][0]["acl"] = json!("acl-a");
        router["networks"][0]["ipv6"] = ipv6(1);
        router["networks"].as_array_mut().unwrap().push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow", "acl": "acl-b", "ipv6": ipv6(2),
            "source_nat": { "link": "pub1", "address": "203.0.113.10" },
        }));
        router["vpc"] = json!({ "id": "vpc-1", "cidr": "10.1.0.0/16", "acls": lists(action),
            "private_gateways": [{ "id": "pg-1", "link": "priv0", "acl": "acl-p",
                "source_nat": hidden.then_some("172.16.0.2") }] });
        router["uplinks"] = json!([
            { "link": "pub0", "gateway": "198.51.100.1", "gateway_ipv6": "2001:db8:ffff::1" },
            { "link": "pub1", "gateway": "203.0.113.1", "gateway_ipv6": "2001:db8:fffe::1" },
        ]);
        let public = |id: &str, address: &str, link: &str| json!({ "id": id, "address": address, "link": link });
        router["public_addresses"] = json!([
            public("ip-1", "198.51.100.11", "pub0"),
            public("ip-2", "198.51.100.12", "pub0"),
            public("ip-3", "203.0.113.11", "pub1"),
            public("ip-4", "203.0.113.12", "pub1"),
        ]);
        let forward = |id: &str, public: &str, protocol: &str, network: &str, guest: &str| {
            json!({ "id": id, "public": public, "protocol": protocol, "ports": "81",
                    "network": network, "guest": guest, "guest_port": 8080 })
        };
        router["port_forwards"] = json!([
            forward("pf-1", "198.51.100.11", "tcp", "net-1", "10.1.1.23"),
            forward("pf-2", "203.0.113.11", "tcp", "net-2", "10.1.2.23"),
            forward("pf-3", "198.51.100.11", "udp", "net-1", "10.1.1.23"),
        ]);
        router["static_nat"] = json!([
            { "id": "sn-1", "public": "198.51.100.12", "network": "net-1", "guest": "10.1.1.24" },
            { "id": "sn-2", "public": "203.0.113.12", "network": "net-2", "guest": "10.1.2.24" },
        ]);
    })
}

/// Says who asked, over both versions of IP.
const WEB: &str = r#"
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"seen from {self.client_address[0].removeprefix('::ffff:')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", 8080), Handler).serve_forever()
"#;

/// Sends a datagram to a closed port, and says whether an ICMP error about it came back: the kernel tells a socket only of an
/// error that quotes what the socket itself sent.
const CLOSED: &str = "\
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b'x')
try:
    s.recv(9)
except ConnectionRefusedError:
    print('refused')
except TimeoutError:
    print('nothing')
";

struct Places<'a> {
    world: &'a World,
    _servers: Vec<Process>,
}

impl<'a> Places<'a> {
    fn new(world: &'a World) -> Self {
        let set = |ns: &Namespace, line: &str| drop(ns.sh(line).check().unwrap());
        set(
            world.guest("vm1"),
            "ip addr add 2001:db8:1::23/64 dev eth0 nodad; \
            ip -6 route add default via 2001:db8:1::1 metric 1",
        );
        set(
            &world.tier,
            "ip addr add 10.1.2.24/24 dev eth0; ip addr add 2001:db8:2::23/64 dev eth0 nodad; \
            ip -6 route add default via 2001:db8:2::1 metric 1",
        );
        set(&world.inet, "ip route add 172.20.0.0/16 via 198.51.100.10");
        set(
            &world.inet2,
            "ip route add 172.20.0.0/16 via 203.0.113.10; ip route add 10.1.2.0/24 via 203.0.113.10",
        );
        // whoever has no tier's prefix routed to him is not the provider of it
        set(
            &world.inet,
            "ip addr add 2001:db8:ffff::1/64 dev eth0 nodad; ip addr add 2001:db8:80::80/128 dev lo nodad; \
            ip -6 route add 2001:db8::/32 via 2001:db8:ffff::2",
        );
        set(
            &world.inet2,
            "ip addr add 2001:db8:fffe::1/64 dev eth0 nodad; ip addr add 2001:db8:90::90/128 dev lo nodad; \
            ip -6 route add 2001:db8::/32 via 2001:db8:fffe::2",
        );
        let settled = || world.router.sh("! ip addr | grep -q tentative").run().unwrap().ok();
        Wait::until(SOON, "the router's addresses to be settled", settled).unwrap();
        let script = world.dir.path().join("both.py");
        std::fs::write(&script, WEB).unwrap();
        std::fs::write(world.dir.path().join("closed.py"), CLOSED).unwrap();
        let hosts = [
            world.guest("vm1"),
            world.guest("vm2"),
            &world.tier,
            &world.inet,
            &world.inet2,
            &world.office,
        ];
        let start = |ns: &&Namespace| {
            let process = ns.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
            let ready = || ns.sh("curl -s --max-time 1 http://127.0.0.1:8080/").run().unwrap().ok();
            Wait::until(SOON, "a web server", ready).unwrap();
            process
        };
        let servers = hosts.iter().map(start).collect();
        Self { world, _servers: servers }
    }

    /// The machine, and the address that it takes there.
    fn of(&self, from: Sender) -> (&'a Namespace, &'static str) {
        let world = self.world;
        match from {
            Vm1 => (world.guest("vm1"), "10.1.1.23"),
            Vm2 => (world.guest("vm2"), "10.1.1.24"),
            Vm3 => (&world.tier, "10.1.2.23"),
            Vm3Own => (&world.tier, "10.1.2.24"),
            Branch => (&world.office, "172.20.0.1"),
            Inet => (&world.inet, "192.0.2.80"),
            Inet2 => (&world.inet2, "192.0.2.90"),
        }
    }

    /// As whom a server saw it; none when nothing came back.
    fn ask(&self, from: Sender, to: &str) -> Option<String> {
        let (ns, address) = self.of(from);
        let address = match from {
            _ if !to.starts_with('[') => address,
            Inet => "2001:db8:80::80",
            Inet2 => "2001:db8:90::90",
            Vm1 => "2001:db8:1::23",
            _ => "2001:db8:2::23",
        };
        let own = format!("--interface {address}");
        let output = ns.sh(&format!("curl -s -g --max-time 1 {own} 'http://{to}/'")).run().unwrap();
        output.stdout.trim().strip_prefix("seen from ").map(str::to_owned).filter(|_| output.ok())
    }

    fn closed(&self, from: Sender, to: &str, port: u16) -> String {
        let script = self.world.dir.path().join("closed.py");
        let words = ["python3".into(), script.display().to_string(), to.into(), port.to_string()];
        let process = self.of(from).0.spawn(words).unwrap();
        let said = || process.output().trim().to_owned();
        Wait::until(SOON, "the datagram's fate", || !said().is_empty()).unwrap();
        said()
    }

    /// What each of these rules has counted.
    fn judged(&self, rules: &[&str]) -> Vec<u64> {
        if rules.is_empty() {
            return Vec::new();
        }
        let report: UsageReport =
            self.world.call(|client| async move { client.usage().await }).unwrap();
        let count = |rule: &&str| {
            let found = report.rules.iter().find(|one| one.rule == **rule);
            found.map_or(0, |one| one.judged.packets)
        };
        rules.iter().map(count).collect()
    }
}

#[test]
fn every_pair_of_places_is_as_the_guide_says() {
    let world = World::new();
    world.push_and_confirm(&config(10, "allow", false));
    guests_with_addresses(&world);
    let places = Places::new(&world);
    let mut wrong = Vec::new();
    let mut look = |table: &[Row], allowed: bool| {
        for (what, from, to, seen, allows, denies) in table {
            let rule = if allowed { allows } else { denies };
            // what no list is asked about passes whatever they say
            let wanted = seen.filter(|_| allowed || rule.is_none());
            let mut rules = wanted.map_or_else(Vec::new, |seen| translating(to, seen));
            rules.extend(*rule);
            let before = places.judged(&rules);
            let got = places.ask(*from, to);
            if got.as_deref() != wanted {
                wrong.push(format!("{what} (allowed: {allowed}): {got:?}, not {wanted:?}"));
            }
            let after = places.judged(&rules);
            for (rule, (before, after)) in rules.iter().zip(before.iter().zip(after)) {
                if after == *before {
                    wrong.push(format!("{what} (allowed: {allowed}): {rule} counted nothing"));
                }
            }
        }
    };
    look(TABLE, true);
    // errors come back to whoever sent, about what he sent, whatever was translated on the way
    assert_eq!(places.closed(Inet, "198.51.100.11", 81), "refused", "by a forward");
    assert_eq!(places.closed(Inet2, "203.0.113.12", 82), "refused", "by static NAT");
    assert_eq!(places.closed(Inet, "198.51.100.12", 82), "refused", "by static NAT, first");
    assert_eq!(places.closed(Vm1, "198.51.100.11", 81), "refused", "by a forward, turned round");
    assert_eq!(places.closed(Vm1, "10.1.2.23", 82), "refused", "between tiers");
    assert_eq!(places.closed(Vm1, "172.20.0.1", 82), "refused", "from the private network");
    assert_eq!(places.closed(Branch, "203.0.113.12", 82), "refused", "to the private network");
    assert_eq!(places.closed(Vm1, "192.0.2.80", 82), "refused", "by source NAT");
    assert_eq!(places.closed(Vm3, "192.0.2.90", 82), "refused", "by the second uplink");
    assert_eq!(places.closed(Vm1, "2001:db8:80::80", 82), "refused", "over IPv6");
    assert_eq!(places.closed(Inet2, "2001:db8:2::23", 82), "refused", "over IPv6 inwards");
    world.push_and_confirm(&config(11, "deny", false));
    look(TABLE, false);
    assert_eq!(places.closed(Inet, "198.51.100.11", 81), "nothing", "what is dropped is silent");
    world.push_and_confirm(&config(12, "allow", true));
    look(HIDDEN, true);
    assert_eq!(places.closed(Vm1, "172.20.0.1", 82), "refused", "from the private network, hidden");
    world.push_and_confirm(&config(13, "deny", true));
    look(HIDDEN, false);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), {
        world.router.sh("ip rule; ip route show table all; nft list ruleset").check().unwrap()
    });
}
