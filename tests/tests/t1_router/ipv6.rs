//! IPv6 in a tier: the router is advertised, guests give themselves addresses, and lists judge both versions of IP alike; and
//! of an isolated network, to the Internet and from it.

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_api::report::UsageReport;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use crate::SOON;
use crate::policy::changed;
use crate::world::World;

fn with_ipv6(generation: u64, second: bool) -> RouterDocument {
    changed(generation, |document| {
        let links = document["links"].as_array_mut().unwrap();
        let guest0 = links.iter_mut().find(|link| link["name"] == "guest0").unwrap();
        guest0["addresses"].as_array_mut().unwrap().push(json!("2001:db8:1::1/64"));
        links.push(json!({
            "name": "guest1", "role": "guest", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
            "addresses": ["10.1.2.1/24", "2001:db8:2::1/64"],
        }));
        let router = &mut document["role"]["router"];
        router["networks"][0]["ipv6"] =
            json!({ "cidr": "2001:db8:1::/64", "gateway": "2001:db8:1::1" });
        let ipv6 = json!({ "cidr": "2001:db8:2::/64", "gateway": "2001:db8:2::1" });
        router["networks"].as_array_mut().unwrap().push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow", "acl": "acl-2",
            "ipv6": if second { ipv6 } else { json!(null) },
        }));
        router["vpc"] = json!({ "id": "vpc-1", "cidr": "10.1.0.0/16", "acls": [
            { "id": "acl-2", "rules": [
                { "id": "a-1", "number": 1, "direction": "ingress", "action": "allow",
                  "networks": ["192.0.2.0/24", "2001:db8:1::/64"], "traffic": { "icmp": {} } },
            ] },
        ] });
    })
}

/// What the kernel of a guest made of advertisements.
fn slaac(ns: &Namespace) -> Option<String> {
    let addresses = ns.sh("ip -6 -o addr show dev eth0 scope global dynamic").check().unwrap();
    let address = addresses.split_whitespace().skip_while(|word| *word != "inet6").nth(1)?;
    let route = ns.sh("ip -6 route show default proto ra").check().unwrap();
    route.contains("fe80::").then(|| address.split('/').next().unwrap().to_owned())
}

#[test]
fn guests_give_themselves_addresses_and_lists_judge_them() {
    let world = World::new();
    world.push_and_confirm(&with_ipv6(10, true));
    let (vm1, vm3) = (world.guest("vm1"), &world.tier);
    // the reader asks from a link-local address, which the kernel tries out first
    let has_address = "ip -6 addr show dev eth0 scope link -tentative | grep -q fe80";
    Wait::until(SOON, "a link-local address", || vm1.sh(has_address).run().unwrap().ok()).unwrap();
    // an independent reader of what is advertised
    let told = vm1.sh("rdisc6 -1 -w 5000 eth0").check().unwrap();
    for words in [
        "Router lifetime           :         1800",
        "Prefix                   : 2001:db8:1::/64",
        "Autonomous address conf.:          Yes",
        "On-link                 :          Yes",
        "MTU                      :         1500",
        "from fe80::aff:fe01:101",
    ] {
        assert!(told.contains(words), "no {words:?} in\n{told}");
    }
    for ns in [vm1, vm3] {
        // a link that comes up asks
        ns.sh(
            "sysctl -qw net.ipv6.conf.eth0.accept_ra=1; ip link set eth0 down; ip link set eth0 up",
        )
        .check()
        .unwrap();
        Wait::until(SOON, "an address by SLAAC", || slaac(ns).is_some()).unwrap();
    }
    let (one, three) = (slaac(vm1).unwrap(), slaac(vm3).unwrap());
    assert!(one.starts_with("2001:db8:1:") && three.starts_with("2001:db8:2:"), "{one} {three}");
    let pings = |ns: &Namespace, to: &str| ns.sh(&format!("ping -c1 -W2 {to}")).run().unwrap().ok();
    Wait::until(SOON, "the router to answer", || pings(vm1, "2001:db8:1::1")).unwrap();
    Wait::until(SOON, "the other tier to answer", || pings(vm1, &three)).unwrap();
    assert!(!pings(vm3, &one), "a tier without a list lets nothing in, over IPv6 neither");
    assert!(world.status().services.iter().any(|service| service.name == "ra"));

    // a prefix that is taken away is a router that is none any more
    world.push_and_confirm(&with_ipv6(11, false));
    let gone = || {
        let route = vm3.sh("ip -6 route show default proto ra").check().unwrap();
        route.trim().is_empty()
    };
    Wait::until(SOON, "the guest to forget the router", gone).unwrap();
    assert!(slaac(vm1).is_some(), "the other network goes on");
}

/// An isolated network with a way out over IPv6.
fn to_the_internet(generation: u64, egress: &str, rules: &Value) -> RouterDocument {
    by(generation, egress, rules, PROVIDER)
}

/// The same by another next hop.
fn by(generation: u64, egress: &str, rules: &Value, hop: &str) -> RouterDocument {
    changed(generation, |document| {
        for (name, address) in [("pub0", "2001:db8:ffff::2/64"), ("guest0", "2001:db8:1::1/64")] {
            let links = document["links"].as_array_mut().unwrap();
            let link = links.iter_mut().find(|link| link["name"] == name).unwrap();
            link["addresses"].as_array_mut().unwrap().push(json!(address));
        }
        let way = json!({ "destination": "::/0", "link": "pub0", "via": hop });
        document["routes"].as_array_mut().unwrap().push(way);
        let router = &mut document["role"]["router"];
        router["uplinks"] =
            json!([{ "link": "pub0", "gateway": "198.51.100.1", "gateway_ipv6": hop }]);
        router["networks"][0]["ipv6"] =
            json!({ "cidr": "2001:db8:1::/64", "gateway": "2001:db8:1::1" });
        router["networks"][0]["egress"] = json!(egress);
        router["ipv6_firewall"] = rules.clone();
        router["egress_rules"] = json!([
            { "id": "e-1", "network": "net-1", "destinations": ["2001:db8:80::/48"],
              "traffic": { "tcp": { "ports": "8080" } } },
        ]);
    })
}

/// Says who asked, over IPv6.
const WEB: &str = r#"
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"seen from {self.client_address[0]}\n".encode()
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

fn web(world: &World, ns: &Namespace) -> Process {
    let script = world.dir.path().join("six.py");
    std::fs::write(&script, WEB).unwrap();
    let process = ns.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
    let ready = || asked(ns, "::1", "::1").is_some();
    Wait::until(SOON, "a web server", ready).unwrap();
    process
}

/// As whom a server sees who asks it with the address `from`.
fn asked(ns: &Namespace, from: &str, to: &str) -> Option<String> {
    let line = format!("curl -s -g --max-time 2 --interface {from} 'http://[{to}]:8080/'");
    let output = ns.sh(&line).run().unwrap();
    output.stdout.trim().strip_prefix("seen from ").map(str::to_owned)
}

const VM1: &str = "2001:db8:1::23";
const VM2: &str = "2001:db8:1::24";
const PROVIDER: &str = "2001:db8:ffff::1";
const FAR: &str = "2001:db8:80::80";

fn addressed(world: &World) {
    let set = |ns: &Namespace, line: &str| drop(ns.sh(line).check().unwrap());
    for (name, address) in [("vm1", VM1), ("vm2", VM2)] {
        let line = format!(
            "ip addr add {address}/64 dev eth0 nodad; ip -6 route add default via 2001:db8:1::1 metric 1"
        );
        set(world.guest(name), &line);
    }
    let line = format!(
        "ip addr add {PROVIDER}/64 dev eth0 nodad; ip addr add {FAR}/128 dev lo nodad; \
        ip -6 route add 2001:db8:1::/64 via 2001:db8:ffff::2; \
        ip -6 route add 2001:db8:9::/64 via 2001:db8:ffff::2"
    );
    set(&world.inet, &line);
    let settled = || world.router.sh("! ip addr | grep -q tentative").run().unwrap().ok();
    Wait::until(SOON, "the router's addresses to be settled", settled).unwrap();
}

fn usage(world: &World) -> UsageReport {
    world.call(|client| async move { client.usage().await }).unwrap()
}

fn judged(world: &World, rule: &str) -> u64 {
    let report = usage(world);
    let found = report.rules.iter().find(|one| one.rule == rule);
    found.map_or(0, |one| one.judged.packets)
}

#[test]
fn an_isolated_network_reaches_the_internet_and_lets_in_what_a_rule_names() {
    let world = World::new();
    world.push_and_confirm(&to_the_internet(10, "allow", &json!([])));
    addressed(&world);
    let (vm1, vm2, inet) = (world.guest("vm1"), world.guest("vm2"), &world.inet);
    let _servers = [web(&world, vm1), web(&world, vm2), web(&world, inet)];
    let state = || {
        let all = "nft list table inet sluice; ip -6 route show table all; ip -6 neigh";
        world.router.sh(all).check().unwrap()
    };
    let ping = |ns: &Namespace, to: &str| ns.sh(&format!("ping -c1 -W2 {to}")).run().unwrap().ok();
    // what the policy allows leaves as it is; the exceptions to it do not, nor does what comes of somebody else's address
    let sent = |world: &World| {
        let report = usage(world);
        report.networks.iter().find(|one| one.name == "net-1").map_or(0, |one| one.sent.bytes)
    };
    let before = sent(&world);
    assert_eq!(asked(vm1, VM1, PROVIDER).as_deref(), Some(VM1), "{}", state());
    assert!(sent(&world) > before, "usage of the network");
    assert_eq!(asked(vm1, VM1, FAR), None, "an exception\n{}", state());
    assert!(judged(&world, "egress/e-1") > 0);
    assert!(ping(vm1, FAR));
    vm1.sh("ip addr add 2001:db8:9::9/128 dev lo nodad").check().unwrap();
    assert_eq!(asked(vm1, "2001:db8:9::9", PROVIDER), None, "not an address of the network");
    assert!(judged(&world, "ipv6/foreign-source") > 0, "{}", state());
    // nobody comes in, and nobody is told
    assert_eq!(asked(inet, FAR, VM1), None);
    assert!(!ping(inet, VM1));
    assert!(judged(&world, "forward/not-let-in-v6") > 0, "{}", state());
    assert!(!ping(inet, "2001:db8:ffff::2"), "nor to the router itself");
    let report = usage(&world);
    let own = report.addresses.iter().find(|one| one.name == "2001:db8:ffff::2");
    assert!(own.is_some_and(|own| own.received.packets > 0), "what came to it is counted: {own:?}");

    let rules = json!([
        { "id": "f-1", "network": "net-1", "sources": ["2001:db8:80::/48"],
          "destinations": [format!("{VM1}/128")], "traffic": { "tcp": { "ports": "8080" } } },
        { "id": "f-2", "network": "net-1", "traffic": { "icmp": { "type": 128 } } },
    ]);
    world.push_and_confirm(&to_the_internet(11, "deny", &rules));
    assert_eq!(asked(inet, FAR, VM1).as_deref(), Some(FAR), "{}", state());
    assert_eq!(asked(inet, PROVIDER, VM1), None, "another source");
    assert_eq!(asked(inet, FAR, VM2), None, "another guest");
    assert!(ping(inet, VM2), "{}", state());
    assert!(judged(&world, "firewall-v6/f-1") > 0 && judged(&world, "firewall-v6/f-2") > 0);
    // now the policy denies, and the rule is an exception to that
    assert_eq!(asked(vm1, VM1, PROVIDER), None);
    assert_eq!(asked(vm1, VM1, FAR).as_deref(), Some(VM1), "{}", state());

    // one uplink needs no list of them; a network that spends no address on source NAT has its guests' own ones all the same
    let mut without = json!(to_the_internet(12, "allow", &rules));
    for (generation, part, field) in
        [(12, "/role/router", "uplinks"), (13, "/role/router/networks/0", "source_nat")]
    {
        without["generation"] = json!(generation);
        without.pointer_mut(part).unwrap().as_object_mut().unwrap().remove(field);
        world.push_and_confirm(&RouterDocument::decode(without.to_string().as_bytes()).unwrap().0);
        let seen = asked(vm1, VM1, PROVIDER);
        assert_eq!(seen.as_deref(), Some(VM1), "without {field}\n{}", state());
    }
}

#[test]
fn a_packet_that_is_too_big_is_told_so_and_comes_smaller() {
    let world = World::new();
    world.push_and_confirm(&to_the_internet(10, "allow", &json!([])));
    addressed(&world);
    let vm1 = world.guest("vm1");
    // the way beyond the provider is narrower; the answer to what is too big is an error that belongs to the connection
    let narrow = "ip link add narrow mtu 1400 type veth peer name far1; ip link set narrow up; \
        ip link set far1 up; sysctl -qw net.ipv6.conf.all.forwarding=1; \
        ip -6 route add 2001:db8:70::/64 dev narrow";
    world.inet.sh(narrow).check().unwrap();
    let line = "ping -c1 -W2 -M do -s 1420 2001:db8:70::1 2>&1; ip -6 route get 2001:db8:70::1";
    let told = || vm1.sh(line).run().unwrap().stdout;
    Wait::until(SOON, "the size of the way", || told().contains("mtu 1400")).unwrap();
}

#[test]
fn a_provider_that_has_a_link_local_address_is_a_way_out() {
    let rules = json!([
        { "id": "f-1", "network": "net-1", "sources": ["2001:db8:80::/48"],
          "destinations": [format!("{VM1}/128")], "traffic": { "tcp": { "ports": "8080" } } },
    ]);
    let world = World::new();
    world.push_and_confirm(&by(10, "allow", &rules, "fe80::1"));
    addressed(&world);
    // the other address of it is on the same link, and leads nowhere
    world.inet.sh("ip addr add fe80::1/64 dev eth0 nodad").check().unwrap();
    let (vm1, inet) = (world.guest("vm1"), &world.inet);
    let _server = web(&world, vm1);
    let routes = world.router.sh("ip -6 route show table all default").check().unwrap();
    let ways = routes.lines().filter(|line| line.contains("via fe80::1 dev pub0"));
    assert_eq!(ways.count(), 2, "the main table's and the uplink's\n{routes}");
    let out = vm1.sh(&format!("ping -c1 -W2 {FAR}")).run().unwrap().ok();
    assert!(out, "{routes}");
    assert_eq!(asked(inet, FAR, VM1).as_deref(), Some(FAR), "the answer goes back by it");
}

#[test]
fn guests_of_a_prefix_that_changes_make_new_addresses_and_use_them() {
    let world = World::new();
    world.push_and_confirm(&with_ipv6(10, true));
    let vm1 = world.guest("vm1");
    let asks =
        "sysctl -qw net.ipv6.conf.eth0.accept_ra=1; ip link set eth0 down; ip link set eth0 up";
    vm1.sh(asks).check().unwrap();
    let has = |prefix: &str, more: &str| {
        let line = "ip -6 -o addr show dev eth0 scope global dynamic";
        let addresses = vm1.sh(line).check().unwrap();
        addresses.lines().any(|line| line.contains(prefix) && line.contains(more))
    };
    Wait::until(SOON, "an address by SLAAC", || has("2001:db8:1:", "")).unwrap();
    let renumbered = with_ipv6(11, true);
    let text = json!(renumbered).to_string().replace("2001:db8:1:", "2001:db8:5:");
    world.push_and_confirm(&RouterDocument::decode(text.as_bytes()).unwrap().0);
    Wait::until(SOON, "an address of the new prefix", || has("2001:db8:5:", "")).unwrap();
    Wait::until(SOON, "the old one to be for nothing new", || has("2001:db8:1:", "deprecated"))
        .unwrap();
    // once the kernel has tried it out
    let chosen = || vm1.sh("ip -6 route get 2001:db8:99::1").check().unwrap();
    Wait::until(SOON, "the new one to be used", || chosen().contains("src 2001:db8:5:")).unwrap();
}
