//! Two uplinks: answers leave by the one that the connection came in by, guests by the one whose address they have; and while
//! one is down, new connections take the other.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use crate::SOON;
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
    // who has an address of one provider's network is reached by the other one as everybody else is
    one.ip(["addr", "add", "203.0.113.77/32", "dev", "lo"]).unwrap();
    let neighbour = "--interface 203.0.113.77";
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
        (
            "the second's neighbour, by the first",
            one,
            neighbour,
            "198.51.100.11",
            seen("203.0.113.77"),
        ),
        ("to that neighbour", vm1, "", "203.0.113.77:8080", seen("198.51.100.10")),
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

/// How long an uplink may take to be found down or up, on a busy machine.
const PATIENT: Duration = Duration::from_mins(1);

/// The same with both watched: the first by a host far behind it, the second by its gateway.
fn watched(generation: u64) -> RouterDocument {
    let mut document = json!(two_uplinks(generation));
    let probe = |targets: &[&str]| json!({ "targets": targets, "interval_seconds": 2, "down_after": 2, "up_after": 2 });
    let uplinks = &mut document["role"]["router"]["uplinks"];
    uplinks[0]["probe"] = probe(&["198.18.0.2"]);
    uplinks[1]["probe"] = probe(&[]);
    uplinks[0]["source_nat"] = json!("198.51.100.10");
    uplinks[1]["source_nat"] = json!("203.0.113.10");
    RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
}

/// Sends back what it is sent.
const ECHO: &str = "\
import socket, threading
s = socket.create_server(('192.0.2.80', 7000))
def serve(c):
    while d := c.recv(99):
        c.send(d)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],)).start()
";

/// Keeps one connection, and says each second-long round whether it was answered.
const TALK: &str = "\
import socket, sys, time
c = socket.create_connection(('192.0.2.80', 7000), timeout=5)
print('open', c.getsockname(), flush=True)
n = 0
while True:
    n += 1
    c.settimeout(None)
    c.send(b'.')
    c.recv(9)
    print('answer', n, flush=True)
    time.sleep(0.2)
";

/// Sends datagrams that nobody answers, from one port, without a pause in which they would be forgotten.
const SEND: &str = "\
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    s.sendto(b'.', ('192.0.2.80', 9999))
    time.sleep(0.2)
";

fn send(world: &World, from: &Namespace) -> Process {
    let script = world.dir.path().join("send.py");
    std::fs::write(&script, SEND).unwrap();
    let sender = from.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
    Wait::until(SOON, "a datagram", || counted(&world.inet, "datagrams") > 0).unwrap();
    sender
}

fn talk(world: &World, from: &Namespace) -> (Process, Process) {
    let script = |name: &str, text: &str| {
        let path = world.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let python =
        |ns: &Namespace, path: &std::path::Path| ns.spawn(["python3".as_ref(), path.as_os_str()]);
    let server = python(&world.inet, &script("echo.py", ECHO)).unwrap();
    let listens = || world.inet.sh("ss -ltn | grep -q :7000").run().unwrap().ok();
    Wait::until(SOON, "the echo server", listens).unwrap();
    let client = python(from, &script("talk.py", TALK)).unwrap();
    Wait::until(SOON, "an answer", || answers(&client) > 0).unwrap();
    (server, client)
}

fn answers(client: &Process) -> usize {
    client.output().matches("answer").count()
}

/// Counts echo requests that came to a provider, by whom they are for, and datagrams.
fn count_probes(provider: &Namespace) {
    let rules = "nft 'add table ip watch; add chain ip watch c { type filter hook prerouting priority -400; }; \
        add rule ip watch c icmp type echo-request ip daddr 198.18.0.2 counter comment \"first\"; \
        add rule ip watch c icmp type echo-request ip daddr 203.0.113.1 counter comment \"second\"; \
        add rule ip watch c udp dport 9999 counter comment \"datagrams\"'";
    provider.sh(rules).check().unwrap();
}

fn counted(provider: &Namespace, target: &str) -> u64 {
    let listed = provider.sh("nft list ruleset").check().unwrap();
    let line = listed.lines().find(|line| line.contains(target)).unwrap();
    let packets = line.split("packets ").nth(1).unwrap();
    packets.split(' ').next().unwrap().parse().unwrap()
}

fn report(world: &World) -> Value {
    let services = world.status().services;
    let service = services.into_iter().find(|service| service.name == "uplinks");
    service.and_then(|service| service.report).unwrap_or_default()
}

fn state(world: &World, link: &str) -> Value {
    let report = report(world);
    let uplinks = report["uplinks"].as_array().cloned().unwrap_or_default();
    let up = uplinks.iter().find(|up| up["link"] == link);
    up.map_or(Value::Null, |up| up["up"].clone())
}

fn becomes(world: &World, link: &str, up: bool) {
    let what = format!("{link} to be {}", if up { "up" } else { "down" });
    let told = Wait::until(PATIENT, &what, || state(world, link) == up);
    assert!(told.is_ok(), "{what}\n{:#}\n{}", report(world), world.log());
}

/// Takes the provider's address away, which is as if its router were, or gives it back.
fn cut(provider: &Namespace, gone: bool) {
    let line = if gone {
        "ip addr del 198.51.100.1/24 dev eth0"
    } else {
        "ip addr add 198.51.100.1/24 dev eth0; ip route replace 10.1.1.0/24 via 198.51.100.10"
    };
    provider.sh(line).check().unwrap();
}

#[test]
fn while_an_uplink_is_down_new_connections_take_another() {
    let world = World::new();
    world.outside_has_web_and_names();
    let (vm1, inet, inet2) = (world.guest("vm1"), &world.inet, &world.inet2);
    // what is far away is reached by both providers
    inet2.ip(["addr", "add", "192.0.2.80/32", "dev", "lo"]).unwrap();
    for provider in [inet, inet2] {
        count_probes(provider);
    }
    world.push_and_confirm(&watched(10));
    guests_with_addresses(&world);
    let _server = web(&world, inet2);
    let kernel = || {
        let all = "ip rule; ip route show table all; nft list table inet sluice; conntrack -L";
        world.router.sh(all).run().unwrap().stdout
    };
    becomes(&world, "pub0", true);
    becomes(&world, "pub1", true);
    let server = "192.0.2.80:8080";
    assert_eq!(asked(vm1, "", server), seen("198.51.100.10"), "{}", kernel());
    let (_echo, client) = talk(&world, vm1);
    let _sender = send(&world, vm1);

    cut(inet, true);
    becomes(&world, "pub0", false);
    let by_the_other = || asked(vm1, "", server) == seen("203.0.113.10");
    let moved = Wait::until(PATIENT, "the other uplink", by_the_other);
    assert!(moved.is_ok(), "{}\n{}", kernel(), world.log());
    explained_as_it_is(&world, &watched(10));
    // who has an address of his own there stays there, and so does what was open
    assert_eq!(asked(world.guest("vm2"), "", server), seen("203.0.113.12"), "static NAT");
    shown_as_down(&world);
    let before = answers(&client);

    let datagrams = counted(inet, "datagrams");
    cut(inet, false);
    becomes(&world, "pub0", true);
    let back = || asked(vm1, "", server) == seen("198.51.100.10");
    let moved = Wait::until(PATIENT, "the first uplink again", back);
    assert!(moved.is_ok(), "{}\n{}", kernel(), world.log());
    let goes_on = Wait::until(PATIENT, "the open connection", || answers(&client) > before + 3);
    assert!(goes_on.is_ok(), "{}\n{}", client.output(), kernel());
    let arrive = Wait::until(PATIENT, "datagrams", || counted(inet, "datagrams") > datagrams);
    assert!(arrive.is_ok(), "{}", kernel());
    assert_eq!(counted(inet2, "datagrams"), 0, "what nobody answers stays as well\n{}", kernel());
    Wait::until(SOON, "the end of the alarm", || world.status().alarms.is_empty()).unwrap();
    told_once(&world);
    // no probe ever left by the other uplink, whatever the routes said
    assert!(counted(inet, "first") > 0 && counted(inet2, "second") > 0);
    assert_eq!((counted(inet, "second"), counted(inet2, "first")), (0, 0));
    with_both_down(&world);
}

/// What is explained of the router as it is, with an uplink down, is what packets did.
fn explained_as_it_is(world: &World, config: &RouterDocument) {
    use sluice_router::uplinks::seen;
    let down = seen::down(&world.status().services).unwrap();
    let told = |config: &RouterDocument| {
        let question = sluice_api::report::ExplainQuestion {
            from: "10.1.1.23".parse().unwrap(),
            to: "192.0.2.80".parse().unwrap(),
            protocol: sluice_api::types::AskedProtocol::TCP,
            port: Some("8080".parse().unwrap()),
            from_port: sluice_api::report::ExplainQuestion::FROM_PORT,
            link: None,
        };
        let told = sluice_router::explain::explain(config, &question).unwrap();
        (told.leaves_by.unwrap().to_string(), told.egress_address.unwrap().to_string())
    };
    let by = |link: &str, address: &str| (link.to_owned(), address.to_owned());
    assert_eq!(told(config), by("pub0", "198.51.100.10"), "with all of them up");
    let left = seen::without(config, &down).unwrap();
    assert_eq!(told(&left), by("pub1", "203.0.113.10"));
}

fn shown_as_down(world: &World) {
    let alarm = "uplink pub0 is down: 198.18.0.2 does not answer";
    Wait::until(SOON, "the alarm", || world.status().alarms == [alarm]).unwrap();
    let metrics = world.call(|client| async move { client.metrics().await }).unwrap();
    for line in ["sluice_uplink_up{link=\"pub0\"} 0", "sluice_uplink_up{link=\"pub1\"} 1"] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
}

/// Each change of the first uplink has one line in the log.
fn told_once(world: &World) {
    let told = |words: &str| {
        let log = world.log();
        log.lines().filter(|line| line.contains(words) && line.contains("pub0")).count()
    };
    let changes = report(world)["uplinks"][0]["changes"].as_u64().unwrap();
    let lines = told("uplink is down") + told("uplink is up again");
    let once = changes >= 2 && u64::try_from(lines) == Ok(changes);
    assert!(once, "{changes} changes\n{}", world.log());
}

/// Nothing changes then: there is no better one.
fn with_both_down(world: &World) {
    cut(&world.inet, true);
    world.inet2.sh("ip addr del 203.0.113.1/24 dev eth0").check().unwrap();
    becomes(world, "pub0", false);
    becomes(world, "pub1", false);
    let settled = || world.router.sh("ip route show default").check().unwrap().contains("pub0");
    Wait::until(PATIENT, "the default route as it is configured", settled).unwrap();
}

/// The second is watched by a host that both providers lead to over IPv6, the default route of which is by the first.
fn watched_by_ipv6(generation: u64) -> RouterDocument {
    let mut document = json!(watched(generation));
    for (name, address) in [("pub0", "2001:db8:ffff::2/64"), ("pub1", "2001:db8:fffe::2/64")] {
        let links = document["links"].as_array_mut().unwrap();
        let link = links.iter_mut().find(|link| link["name"] == name).unwrap();
        link["addresses"].as_array_mut().unwrap().push(json!(address));
    }
    let way = json!({ "destination": "::/0", "link": "pub0", "via": "2001:db8:ffff::1" });
    document["routes"].as_array_mut().unwrap().push(way);
    let uplinks = &mut document["role"]["router"]["uplinks"];
    uplinks[0]["gateway_ipv6"] = json!("2001:db8:ffff::1");
    uplinks[1]["gateway_ipv6"] = json!("2001:db8:fffe::1");
    uplinks[1]["probe"]["targets"] = json!(["2001:db8:80::80"]);
    RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
}

#[test]
fn a_probe_by_ipv6_leaves_by_its_own_uplink_too() {
    let world = World::new();
    let rules = "nft 'add table ip6 watch; add chain ip6 watch c { type filter hook prerouting priority -400; }; \
        add rule ip6 watch c icmpv6 type echo-request ip6 daddr 2001:db8:80::80 counter comment \"six\"'";
    for (provider, own) in [(&world.inet, "ffff"), (&world.inet2, "fffe")] {
        let addresses = format!(
            "ip addr add 2001:db8:{own}::1/64 dev eth0 nodad; ip addr add 2001:db8:80::80/128 dev lo nodad"
        );
        provider.sh(&addresses).check().unwrap();
        provider.sh(rules).check().unwrap();
    }
    world.push_and_confirm(&watched_by_ipv6(10));
    becomes(&world, "pub1", true);
    world.inet2.sh("ip addr del 2001:db8:80::80/128 dev lo").check().unwrap();
    becomes(&world, "pub1", false);
    world.inet2.sh("ip addr add 2001:db8:80::80/128 dev lo nodad").check().unwrap();
    becomes(&world, "pub1", true);
    assert!(counted(&world.inet2, "six") > 0);
    assert_eq!(counted(&world.inet, "six"), 0, "none fell back to the default route");
}
