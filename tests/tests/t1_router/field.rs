//! Cases from the field (N1, N3, N4, N6, N7, V5 and V10 of the reference): what went wrong on other routers, with the right result.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use crate::SOON;
use crate::policy::{asked, changed, guests_with_addresses, seen, web};
use crate::world::World;

fn python(world: &World, ns: &Namespace, name: &str, text: &str, words: &[&str]) -> Process {
    let script = world.dir.path().join(name);
    std::fs::write(&script, text).unwrap();
    ns.spawn([&["python3", script.to_str().unwrap()], words].concat()).unwrap()
}

/// One socket sends on and on; the other end says how many came.
const SENDER: &str = "\
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('198.51.100.1', 4000))
while True:
    s.sendto(b'x', ('198.51.100.11', 5000))
    time.sleep(0.05)
";
const RECEIVER: &str = "\
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 5000))
with open(sys.argv[1], 'ab', 0) as out:
    while True:
        out.write(s.recv(9))
";

fn udp_forward(generation: u64, guest: Option<&str>) -> RouterDocument {
    changed(generation, |document| {
        let router = &mut document["role"]["router"];
        router["firewall"] =
            json!([{ "id": "fw-1", "public": "198.51.100.11", "traffic": { "udp": {} } }]);
        let forward = guest.map(|guest| {
            json!({ "id": "pf-1", "public": "198.51.100.11", "protocol": "udp", "ports": "5000",
                    "network": "net-1", "guest": guest })
        });
        router["port_forwards"] = json!(Vec::from_iter(forward));
    })
}

/// N1: its own packets refresh what the sender's connection became, so it would never end by itself.
#[test]
fn a_sender_that_never_pauses_follows_the_rules() {
    let world = World::new();
    world.push_and_confirm(&udp_forward(10, None));
    guests_with_addresses(&world);
    let files = ["vm1", "vm2"].map(|name| world.dir.path().join(format!("came-{name}")));
    let _receivers = [("vm1", &files[0]), ("vm2", &files[1])].map(|(name, file)| {
        let ns = world.guest(name);
        let process = python(&world, ns, "receive.py", RECEIVER, &[file.to_str().unwrap()]);
        Wait::until(SOON, "the receiver", || file.exists()).unwrap();
        process
    });
    let _sender = python(&world, &world.inet, "send.py", SENDER, &[]);
    let came = |at: usize| std::fs::metadata(&files[at]).map_or(0, |is| is.len());
    let more = |at: usize, what: &str| {
        let before = came(at);
        Wait::until(SOON, what, || came(at) > before + 3).unwrap();
    };
    let dropped =
        "nft list chain inet sluice filter-input | grep input/drop | grep -v 'packets [0-9] '";
    let sends = || world.router.sh(dropped).run().unwrap().ok();
    Wait::until(SOON, "the sender to send before there is a rule", sends).unwrap();
    assert_eq!((came(0), came(1)), (0, 0));
    world.push_and_confirm(&udp_forward(11, Some("10.1.1.23")));
    more(0, "what is sent to come to the guest of the new rule");
    world.push_and_confirm(&udp_forward(12, Some("10.1.1.24")));
    more(1, "what is sent to come to the other guest");
    let before = came(0);
    more(1, "more");
    assert_eq!(came(0), before, "the first guest gets it still");
    world.push_and_confirm(&udp_forward(13, None));
    let still = || {
        let before = came(1);
        std::thread::park_timeout(std::time::Duration::from_millis(500));
        came(1) == before
    };
    Wait::until(SOON, "nothing to come without a rule", still).unwrap();
}

/// A web server with a file of a mebibyte.
fn files(world: &World, ns: &Namespace) -> Process {
    let folder = world.dir.path().join("files");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("file"), vec![b'x'; 1 << 20]).unwrap();
    let words = ["python3", "-m", "http.server", "8081", "-d", folder.to_str().unwrap()];
    let process = ns.spawn(words).unwrap();
    let serves = || ns.sh("ss -Hltn sport = 8081 | grep -q .").run().unwrap().ok();
    Wait::until(SOON, "the server of files", serves).unwrap();
    process
}

fn downloads(from: &Namespace, server: &str) -> bool {
    let line =
        format!("curl -s -o /dev/null -w '%{{size_download}}' --max-time 30 http://{server}/file");
    from.sh(&line).timeout(SOON * 4).run().unwrap().stdout.trim() == "1048576"
}

/// A guest with a forward to its files, and one with static NAT.
fn services(generation: u64, change: impl FnOnce(&mut Value)) -> RouterDocument {
    changed(generation, |document| {
        let router = &mut document["role"]["router"];
        router["port_forwards"] = json!([
            { "id": "pf-1", "public": "198.51.100.11", "protocol": "tcp", "ports": "81",
              "network": "net-1", "guest": "10.1.1.23", "guest_port": 8081 },
        ]);
        router["static_nat"] = json!([
            { "id": "sn-1", "public": "198.51.100.12", "network": "net-1", "guest": "10.1.1.24" },
        ]);
        router["firewall"] = json!([
            { "id": "fw-1", "public": "198.51.100.11", "traffic": { "tcp": {} } },
        ]);
        change(document);
    })
}

/// N3: an error comes to whom it is about, with what that one sent inside; a ping's sender is told of no other.
#[test]
fn a_narrow_path_is_told_to_the_guest_that_sent_too_much() {
    let world = World::new();
    world.push_and_confirm(&services(10, |_| {}));
    guests_with_addresses(&world);
    world.inet.sh("ip link set far0 mtu 1280").check().unwrap();
    for guest in ["vm1", "vm2"] {
        let line = "ping -M do -s 1472 -c 2 -W 2 198.18.0.2; ip route get 198.18.0.2";
        let told = world.guest(guest).sh(line).run().unwrap().stdout;
        assert!(told.contains("mtu = 1280") || told.contains("mtu=1280"), "{guest}: {told}");
        assert!(told.contains("mtu 1280"), "{guest} remembers it: {told}");
    }
    // large answers of a service: the error comes to the public address
    let _files = files(&world, world.guest("vm1"));
    world.guest("vm1").sh("ip route flush cache").check().unwrap();
    assert!(downloads(&world.far, "198.51.100.11:81"), "a file of a forwarded service");
    let told = world.guest("vm1").sh("ip route get 198.18.0.2").check().unwrap();
    assert!(told.contains("mtu 1280"), "{told}");
}

/// N4: nobody tells of packets that are too large, so they must not be made.
#[test]
fn where_errors_are_filtered_connections_are_told_a_size_that_fits() {
    let world = World::new();
    world.push_and_confirm(&services(10, |document| {
        let links = document["links"].as_array_mut().unwrap();
        links.iter_mut().find(|link| link["name"] == "pub0").unwrap()["mtu"] = json!(1400);
    }));
    guests_with_addresses(&world);
    let (vm1, inet) = (world.guest("vm1"), &world.inet);
    // the wire loses what is too large for its other end, without a word; as single packets, since it carries joined ones whole
    inet.sh("ip link set eth0 gso_max_segs 1").check().unwrap();
    let _files = [files(&world, vm1), files(&world, inet)];
    let capture = "tcpdump -lnni eth0 'tcp[13] & 2 != 0 and dst host 192.0.2.80'";
    let mut capture = inet.spawn(["sh", "-c", capture]).unwrap();
    capture.says("listening on", SOON).unwrap();
    assert!(downloads(vm1, "192.0.2.80:8081"), "from outside to a guest");
    assert!(downloads(inet, "198.51.100.11:81"), "from a guest to the outside");
    capture.says("mss 1360", SOON).unwrap();
    // what is smaller already stays
    vm1.sh("ip route change default via 10.1.1.1 advmss 1000").check().unwrap();
    assert!(downloads(vm1, "192.0.2.80:8081"), "in smaller packets");
    capture.says("mss 1000", SOON).unwrap();
}

/// N6: no address is spent on source NAT, and who has none of its own is not seen outside.
#[test]
fn without_source_nat_those_leave_that_have_an_address_of_their_own() {
    let world = World::new();
    world.outside_has_web_and_names();
    let config = services(10, |document| {
        let router = &mut document["role"]["router"];
        router["networks"][0].as_object_mut().unwrap().remove("source_nat");
    });
    world.push_and_confirm(&config);
    guests_with_addresses(&world);
    assert_eq!(asked(world.guest("vm2"), "", "192.0.2.80:8080"), seen("198.51.100.12"));
    // the test's Internet has a way back to the guests, so an answer would come
    assert_eq!(asked(world.guest("vm1"), "", "192.0.2.80:8080"), None);
    let question = |config: &RouterDocument, from: &str| {
        let question = json!({ "from": from, "to": "192.0.2.80", "protocol": "tcp", "port": 8080 });
        let question = serde_json::from_value(question).unwrap();
        sluice_router::explain::explain(config, &question).unwrap().to_string()
    };
    let told = question(&config, "10.1.1.23");
    assert!(told.contains("one without source NAT"), "{told}");
    let told = question(&config, "10.1.1.24");
    assert!(told.contains("198.51.100.12"), "{told}");

    // where the policy is to deny, an exception to it gives nobody an address
    let mut config = json!(config);
    config["generation"] = json!(11);
    let router = &mut config["role"]["router"];
    router["networks"][0]["egress"] = json!("deny");
    router["egress_rules"] =
        json!([{ "id": "e-1", "network": "net-1", "traffic": { "tcp": { "ports": "8080" } } }]);
    let config = RouterDocument::decode(config.to_string().as_bytes()).unwrap().0;
    world.push_and_confirm(&config);
    assert_eq!(asked(world.guest("vm2"), "", "192.0.2.80:8080"), seen("198.51.100.12"));
    assert_eq!(asked(world.guest("vm1"), "", "192.0.2.80:8080"), None);
    let told = question(&config, "10.1.1.23");
    assert!(told.contains("forward/no-address") && told.contains("no address outside"), "{told}");
    let told = question(&config, "10.1.1.24");
    assert!(told.contains("egress/e-1") && told.contains("198.51.100.12"), "{told}");
}

/// From 200 addresses and one port each asks the same server at once, over UDP and over TCP.
const CROWD: &str = "\
import select, socket, sys
hosts = ['10.1.1.%d' % (30 + n) for n in range(200)]
udp, tcp = [], []
for host in hosts:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((host, 5353))
    udp.append(s)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, 5353))
    s.setblocking(False)
    tcp.append(s)
for s in tcp:
    s.connect_ex(('192.0.2.80', 4430))
# two questions from one socket at once
for s in udp:
    s.sendto(b'a', ('192.0.2.80', 5300))
    s.sendto(b'aaaa', ('192.0.2.80', 5300))
got = 0
for s in udp:
    s.settimeout(10)
    for _ in range(2):
        s.recv(9)
        got += 1
for s in tcp:
    s.settimeout(10)
    s.recv(9)
    got += 1
print('got', got, flush=True)
sys.stdin.read()
";
const CROWDED: &str = "\
import socket, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
udp.bind(('192.0.2.80', 5300))
tcp = socket.create_server(('192.0.2.80', 4430), backlog=300)
held, seen = [], {'udp': set(), 'tcp': set()}
def said():
    print('seen', len(seen['udp']), len(seen['tcp']), flush=True)
def streams():
    while True:
        one, who = tcp.accept()
        one.sendall(b'x')
        held.append(one)
        seen['tcp'].add(who)
        said()
threading.Thread(target=streams, daemon=True).start()
print('serving', flush=True)
while True:
    asked, who = udp.recvfrom(9)
    seen['udp'].add(who)
    said()
    udp.sendto(asked, who)
";

/// Two senders at once.
const CLASH: &str = "\
import socket
for host in ('10.1.1.30', '10.1.1.31'):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((host, 6000))
    s.sendto(b'x', ('192.0.2.80', 9998))
";

/// N7: each gets a port of its own, and none is lost for want of one.
#[test]
fn two_hundred_guests_with_one_port_get_two_hundred() {
    let world = World::new();
    world.push_and_confirm(&changed(10, |_| {}));
    world.lease("vm1", "10.1.1.23");
    let vm1 = world.guest("vm1");
    vm1.sh("for n in $(seq 30 229); do ip addr add 10.1.1.$n/24 dev eth0; done").check().unwrap();
    let mut server = python(&world, &world.inet, "crowded.py", CROWDED, &[]);
    server.says("serving", SOON).unwrap();
    let script = world.dir.path().join("crowd.py");
    std::fs::write(&script, CROWD).unwrap();
    let line = format!("python3 {} < /dev/null", script.display());
    let told = vm1.sh(&line).timeout(SOON * 4).run().unwrap();
    assert!(told.stdout.contains("got 600"), "{told:?}\n{}", server.output());
    server.says("seen 200 200", SOON).unwrap();
    let usage = world.call(|client| async move { client.usage().await }).unwrap();
    let tracking = usage.tracking.unwrap();
    assert_eq!((tracking.insert_failed, tracking.dropped), (0, 0), "{tracking:?}");
    let used: BTreeSet<_> =
        usage.source_ports.iter().filter(|pool| pool.used >= 200).map(|pool| pool.port).collect();
    assert_eq!(used, BTreeSet::from([4430, 5300]), "{:?}", usage.source_ports);
    // two that may have but one port between them: what is lost is counted
    let one_port = "nft 'add table ip clash; \
        add chain ip clash c { type nat hook postrouting priority 90; }; \
        add rule ip clash c udp dport 9998 snat to 198.51.100.10:7777'";
    world.router.sh(one_port).check().unwrap();
    let script = world.dir.path().join("clash.py");
    std::fs::write(&script, CLASH).unwrap();
    vm1.sh(&format!("python3 {}", script.display())).check().unwrap();
    let usage = world.call(|client| async move { client.usage().await }).unwrap();
    assert!(usage.tracking.is_some_and(|it| it.insert_failed > 0), "{:?}", usage.tracking);
}

/// V5: of three routers on one gateway VLAN another one leads to a network: both guests and hosts of the VLAN come by us to it.
#[test]
fn a_route_by_another_router_of_the_private_network_is_for_all() {
    let world = World::new();
    world.push_and_confirm(&changed(10, |document| {
        document["links"].as_array_mut().unwrap().push(json!({
            "name": "priv0", "role": "private", "attach": { "nic": { "mac": "02:00:ac:10:00:02" } },
            "mtu": 1400, "addresses": ["172.16.0.2/24"],
        }));
        document["routes"].as_array_mut().unwrap().extend([
            json!({ "destination": "172.20.0.0/16", "link": "priv0", "via": "172.16.0.1" }),
            json!({ "destination": "10.252.0.0/16", "link": "priv0", "via": "172.16.0.9" }),
        ]);
        let router = &mut document["role"]["router"];
        router["uplinks"] = json!([{ "link": "pub0", "gateway": "198.51.100.1" }]);
        let rule = |id: &str, number: u16, direction: &str| {
            json!({ "id": id, "number": number, "direction": direction, "action": "allow",
                    "traffic": { "icmp": {} } })
        };
        router["vpc"] = json!({ "id": "vpc-1", "cidr": "10.1.0.0/16",
            "acls": [{ "id": "acl-p", "rules": [rule("in", 10, "ingress"), rule("out", 20, "egress")] }],
            "private_gateways": [{ "id": "pg-1", "link": "priv0", "acl": "acl-p" }] });
        // a guest with a public address has it there alone (V6)
        router["static_nat"] = json!([
            { "id": "sn-1", "public": "198.51.100.12", "network": "net-1", "guest": "10.1.1.24" },
        ]);
    }));
    guests_with_addresses(&world);
    let office = &world.office;
    // the other router, and what is behind it
    office
        .sh("ip addr add 172.16.0.9/24 dev eth0; ip addr add 10.252.0.1/32 dev lo")
        .check()
        .unwrap();
    let mut capture = office.spawn(["tcpdump", "-lnni", "eth0", "icmp"]).unwrap();
    capture.says("listening on", SOON).unwrap();
    for guest in ["vm1", "vm2"] {
        let told = world.guest(guest).sh("ping -c1 -W2 10.252.0.1").run().unwrap();
        assert!(told.ok(), "{guest}: {told:?}");
    }
    capture.says("10.1.1.24 > 10.252.0.1", SOON).unwrap();
    // N3 on a private link that is narrower than the tier
    let told =
        world.guest("vm1").sh("ping -M do -s 1472 -c 2 -W 2 10.252.0.1").run().unwrap().stdout;
    assert!(told.contains("mtu = 1400") || told.contains("mtu=1400"), "{told}");
    // a host of the VLAN that knows us alone: it asks by us although the answer is at hand
    office
        .sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 \
             net.ipv4.conf.eth0.accept_local=1 net.ipv4.conf.all.accept_local=1; \
             ip route add default via 172.16.0.2 table 77; ip rule add pref 100 lookup local; \
             ip rule add pref 50 iif lo from 172.20.0.1 to 10.252.0.1 lookup 77; ip rule del pref 0")
        .check()
        .unwrap();
    let told = office.sh("ping -c1 -W2 -I 172.20.0.1 10.252.0.1").run().unwrap();
    assert!(told.ok(), "{told:?}\n{}", capture.output());
    let counted = "nft list table inet sluice | grep acl/acl-p | grep -v v6";
    let counted = world.router.sh(counted).check().unwrap();
    assert!(!counted.contains("packets 0 "), "both ways of the list are asked: {counted}");
}

/// V10: source NAT, forwards to two tiers and a balancer, all by one address.
#[test]
fn one_address_serves_everything_behind_it() {
    let world = World::new();
    world.outside_has_web_and_names();
    world.push_and_confirm(&changed(10, |document| {
        document["links"].as_array_mut().unwrap().push(json!({
            "name": "guest1", "role": "guest", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
            "addresses": ["10.1.2.1/24"],
        }));
        let router = &mut document["role"]["router"];
        let own = json!({ "id": "ip-9", "address": "198.51.100.10", "link": "pub0" });
        router["public_addresses"].as_array_mut().unwrap().push(own);
        let all = json!([{ "id": "in", "number": 1, "direction": "ingress", "action": "allow",
                           "traffic": { "all": {} } }]);
        router["vpc"] =
            json!({ "id": "vpc-1", "cidr": "10.1.0.0/16", "acls": [{ "id": "acl", "rules": all }] });
        router["networks"][0]["acl"] = json!("acl");
        router["networks"].as_array_mut().unwrap().push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow", "acl": "acl",
            "source_nat": { "link": "pub0", "address": "198.51.100.10" },
        }));
        let forward = |id: &str, ports: &str, network: &str, guest: &str| {
            json!({ "id": id, "public": "198.51.100.10", "protocol": "tcp", "ports": ports,
                    "network": network, "guest": guest, "guest_port": 8080 })
        };
        router["port_forwards"] = json!([
            forward("pf-1", "22", "net-1", "10.1.1.23"),
            forward("pf-2", "80", "net-2", "10.1.2.23"),
        ]);
        router["balancers"] = json!([{ "id": "lb-1", "address": "198.51.100.10", "port": 443,
            "members": [{ "id": "m-1", "address": "10.1.1.23", "port": 8080 }] }]);
    }));
    world.lease("vm1", "10.1.1.23");
    let (vm1, vm3) = (world.guest("vm1"), &world.tier);
    let _servers = [web(&world, vm1), web(&world, vm3)];
    assert_eq!(asked(&world.inet, "", "198.51.100.10:22"), seen("198.51.100.1"));
    assert_eq!(asked(&world.inet, "", "198.51.100.10:80"), seen("198.51.100.1"));
    let balanced = || asked(&world.inet, "", "198.51.100.10:443").is_some();
    Wait::until(SOON, "the balancer", balanced).unwrap();
    assert_eq!(asked(vm1, "", "192.0.2.80:8080"), seen("198.51.100.10"));
    assert_eq!(asked(vm3, "", "192.0.2.80:8080"), seen("198.51.100.10"));
}
