//! Load balancing through the whole router: who may reach a balanced address, who serves, what a dead member changes.

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use crate::SOON;
use crate::policy::{changed, guests_with_addresses};
use crate::world::World;

/// Answers over HTTP and UDP with its name, and with the client that the balancer tells of.
const SERVER: &str = r#"
import http.server, socketserver, sys, threading
name = sys.argv[1]
class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{name} for {self.headers.get('X-Forwarded-For')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Datagrams(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(name.encode(), self.client_address)
udp = socketserver.ThreadingUDPServer(("0.0.0.0", 5300), Datagrams)
threading.Thread(target=udp.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Web).serve_forever()
"#;

/// Sends one datagram, from an address of its own if one is given, and prints what comes back.
const DATAGRAM: &str = "import socket,sys;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(2);\
    [s.bind((own,0)) for own in sys.argv[3:]];s.connect((sys.argv[1],int(sys.argv[2])));\
    s.send(b'?');print(s.recv(99).decode())";

fn server(world: &World, ns: &Namespace, name: &str) -> Process {
    let script = world.dir.path().join("member.py");
    std::fs::write(&script, SERVER).unwrap();
    let script = script.into_os_string();
    let process = ns.spawn(["python3".into(), script, name.into()]).unwrap();
    let ready = || ns.sh("curl -s --max-time 1 http://127.0.0.1:8080/").run().unwrap().ok();
    Wait::until(SOON, "a member's server", ready).unwrap();
    process
}

/// What a page says; `None` when nothing came back.
fn page(from: &Namespace, options: &str, at: &str) -> Option<String> {
    let line = format!("curl -s --max-time 2 {options} http://{at}/");
    let output = from.sh(&line).run().unwrap();
    output.ok().then(|| output.stdout.trim().to_owned())
}

fn datagram(from: &Namespace, at: &str) -> Option<String> {
    answered(from, &format!("{at} 5300"))
}

/// What comes back from an address and port, and from an address of the sender's own.
fn answered(from: &Namespace, arguments: &str) -> Option<String> {
    let output = from.sh(&format!("python3 -c \"{DATAGRAM}\" {arguments} 2>&1")).run().unwrap();
    output.ok().then(|| output.stdout.trim().to_owned())
}

fn members(port: u16) -> Value {
    json!([
        { "id": "m1", "address": "10.1.1.23", "port": port },
        { "id": "m2", "address": "10.1.1.24", "port": port },
    ])
}

fn isolated(generation: u64, balancers: &Value) -> RouterDocument {
    changed(generation, |document| {
        let links = document["links"].as_array_mut().unwrap();
        let guest0 = links.iter_mut().find(|link| link["name"] == "guest0").unwrap();
        guest0["addresses"].as_array_mut().unwrap().push(json!("10.1.1.5/24"));
        let router = &mut document["role"]["router"];
        router["firewall"] = json!([
            { "id": "fw-1", "public": "198.51.100.11", "sources": ["198.51.100.0/24"],
              "traffic": { "tcp": { "ports": "80" } } },
            { "id": "fw-2", "public": "198.51.100.11", "traffic": { "udp": { "ports": "5300" } } },
            { "id": "fw-3", "public": "198.51.100.11", "traffic": { "tcp": { "ports": "5300" } } },
        ]);
        router["balancers"] = balancers.clone();
    })
}

fn health() -> Value {
    json!({ "check": { "http": {} }, "interval_milliseconds": 200, "fall": 1, "rise": 1 })
}

/// Members of the rule `web` that are well, as the status shows them.
fn healthy(world: &World) -> Option<u64> {
    let services = world.status().services;
    let lb = services.iter().find(|service| service.name == "lb")?;
    let report = json!(lb.report);
    let web = report["rules"].as_array()?.iter().find(|rule| rule["id"] == "web")?;
    web["members_healthy"].as_u64()
}

#[test]
fn an_isolated_networks_firewall_decides_who_is_balanced() {
    let world = World::new();
    let web = json!({ "id": "web", "address": "198.51.100.11", "port": 80, "mode": "http",
                      "members": members(8080), "health": health() });
    let inside = json!({ "id": "inside", "address": "10.1.1.5", "port": 81,
                         "members": members(8080), "health": health() });
    let datagrams = json!({ "id": "datagrams", "address": "198.51.100.11", "port": 5300,
                            "mode": "udp", "members": members(5300) });
    let hidden = json!({ "id": "hidden", "address": "198.51.100.11", "port": 5301,
                         "mode": "udp", "members": members(5300) });
    let streams = json!({ "id": "streams", "address": "198.51.100.11", "port": 5300,
                          "mode": "tcp", "members": members(8080) });
    world.push_and_confirm(&isolated(10, &json!([])));
    guests_with_addresses(&world);
    let (vm1, vm2, inet) = (world.guest("vm1"), world.guest("vm2"), &world.inet);
    let mut servers = vec![server(&world, vm1, "m1"), server(&world, vm2, "m2")];
    assert_eq!(page(inet, "", "198.51.100.11"), None, "nothing is balanced yet");

    world.push_and_confirm(&isolated(11, &json!([web, inside, datagrams, hidden, streams])));
    let seen = Wait::until(SOON, "both members to be well", || healthy(&world) == Some(2));
    assert!(seen.is_ok(), "{:#?}", world.status().services);
    let told = |name: &str| Some(format!("{name} for 198.51.100.1"));
    // the report is some seconds old
    let both = || {
        let pages = [(); 4].map(|()| page(inet, "", "198.51.100.11"));
        pages.contains(&told("m1")) && pages.contains(&told("m2"))
    };
    Wait::until(SOON, "both members to serve", both).unwrap();
    let told_in_metrics = || {
        let metrics = world.call(|client| async move { client.metrics().await }).unwrap();
        [
            "sluice_balancer_rule{rule=\"web\",what=\"healthy\"} 2",
            "sluice_balancer_rule_events_total{rule=\"web\",what=\"requests\"} ",
            "sluice_balancer_member{rule=\"web\",member=\"m2\",what=\"up\"} 1",
            "sluice_balancer_member_events_total{rule=\"web\",member=\"m1\",what=\"bytes_out\"} ",
        ]
        .iter()
        .all(|line| metrics.contains(line))
    };
    Wait::until(SOON, "metrics of rules and members", told_in_metrics).unwrap();
    let far = "--interface 192.0.2.80";
    inet.ip(["addr", "replace", "192.0.2.80/32", "dev", "lo"]).unwrap();
    assert_eq!(page(inet, far, "198.51.100.11"), None, "whom the firewall does not name");
    assert_eq!(page(vm1, "", "198.51.100.11"), None, "guests are outside to it as well");
    let pages = [(); 4].map(|()| page(vm2, "", "10.1.1.5:81").unwrap_or_default());
    assert!(pages.iter().any(|it| it.starts_with("m1")), "{pages:?}");
    assert!(pages.iter().any(|it| it.starts_with("m2")), "{pages:?}");
    let heard = [(); 4].map(|()| datagram(inet, "198.51.100.11").unwrap_or_default());
    assert!(heard.contains(&"m1".to_owned()) && heard.contains(&"m2".to_owned()), "{heard:?}");
    let far = answered(inet, "198.51.100.11 5300 192.0.2.80");
    assert!(far.is_some(), "the firewall lets everybody in there");
    assert_eq!(answered(inet, "198.51.100.11 5301"), None, "and nobody here");
    // TCP to the port of the datagrams; it tells members nothing of the client
    let pages = [(); 4].map(|()| page(inet, "", "198.51.100.11:5300").unwrap_or_default());
    assert!(pages.iter().any(|it| it.starts_with("m1")), "{pages:?}");
    assert!(pages.iter().any(|it| it.starts_with("m2")), "{pages:?}");

    servers.remove(0).kill();
    let seen = Wait::until(SOON, "the dead member to be seen", || healthy(&world) == Some(1));
    assert!(seen.is_ok(), "{:#?}", world.status().services);
    let pages = [(); 4].map(|()| page(inet, "", "198.51.100.11"));
    assert_eq!(pages, [(); 4].map(|()| told("m2")), "the living serve");

    world.push_and_confirm(&isolated(12, &json!([])));
    assert_eq!(page(inet, "", "198.51.100.11"), None, "the rule is gone");
}

/// A VPC with the tiers of `vm1` and of `m3`, each with a list of these rules, and one rule with these members.
fn vpc(generation: u64, lists: [&Value; 2], members: &Value) -> RouterDocument {
    changed(generation, |document| {
        document["links"].as_array_mut().unwrap().push(json!({
            "name": "guest1", "role": "guest",
            "attach": { "nic": { "mac": "02:00:0a:01:02:01" } }, "addresses": ["10.1.2.1/24"],
        }));
        let router = &mut document["role"]["router"];
        router["vpc"] = json!({ "id": "vpc-1", "cidr": "10.1.0.0/16", "acls": [
            { "id": "acl-1", "rules": lists[0] }, { "id": "acl-2", "rules": lists[1] },
        ] });
        router["networks"].as_array_mut().unwrap().push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow", "acl": "acl-2",
            "source_nat": { "link": "pub0", "address": "198.51.100.10" },
        }));
        router["networks"][0]["acl"] = json!("acl-1");
        router["balancers"] = json!([{
            "id": "web", "address": "198.51.100.11", "port": 80, "mode": "http", "members": members, "health": health(),
        }, {
            "id": "datagrams", "address": "198.51.100.11", "port": 5300, "mode": "udp",
            "members": [{ "id": "m3", "address": "10.1.2.23", "port": 5300 }],
        }]);
    })
}

/// A rule of a list that lets `network` in to `ports`.
fn allow(number: u16, network: &str, ports: &str) -> Value {
    json!({ "id": format!("a-{number}"), "number": number, "direction": "ingress",
            "action": "allow", "networks": [network], "traffic": { "tcp": { "ports": ports } } })
}

#[test]
fn a_vpcs_lists_decide_with_the_clients_address_and_the_members_port() {
    let world = World::new();
    let m3 = json!([{ "id": "m3", "address": "10.1.2.23", "port": 8080 }]);
    let vpc = |generation: u64, rules: &Value| vpc(generation, [&json!([]), rules], &m3);
    world.push_and_confirm(&vpc(
        10,
        &json!([allow(10, "10.1.1.23/32", "8080"), allow(20, "0.0.0.0/0", "80")]),
    ));
    guests_with_addresses(&world);
    let _server = server(&world, &world.tier, "m3");
    let (vm1, vm2, inet) = (world.guest("vm1"), world.guest("vm2"), &world.inet);
    // the report is some seconds old, and says what was before the server
    let served = || page(vm1, "", "198.51.100.11").as_deref() == Some("m3 for 10.1.1.23");
    Wait::until(SOON, "the member to serve", served).unwrap();
    assert_eq!(page(vm2, "", "198.51.100.11"), None, "a guest that the list does not name");
    assert_eq!(page(inet, "", "198.51.100.11"), None, "the public port is not what counts");
    world.push_and_confirm(&vpc(11, &json!([allow(10, "198.51.100.0/24", "8000-8080")])));
    assert_eq!(page(inet, "", "198.51.100.11").as_deref(), Some("m3 for 198.51.100.1"));
    assert_eq!(page(vm1, "", "198.51.100.11"), None, "whom the list no longer names");
}

#[test]
fn members_in_two_tiers_need_the_consent_of_both_lists() {
    let world = World::new();
    let both = json!([
        { "id": "m1", "address": "10.1.1.23", "port": 8080 },
        { "id": "m3", "address": "10.1.2.23", "port": 8080 },
    ]);
    let mut datagrams = allow(20, "198.51.100.0/24", "5300");
    datagrams["traffic"] = json!({ "udp": { "ports": "5300" } });
    let open = json!([allow(10, "198.51.100.0/24", "8080"), datagrams]);
    world.push_and_confirm(&vpc(10, [&open, &open], &both));
    guests_with_addresses(&world);
    let _servers = (server(&world, world.guest("vm1"), "m1"), server(&world, &world.tier, "m3"));
    let told = |name: &str| Some(format!("{name} for 198.51.100.1"));
    let shared = || {
        let pages = [(); 4].map(|()| page(&world.inet, "", "198.51.100.11"));
        pages.contains(&told("m1")) && pages.contains(&told("m3"))
    };
    Wait::until(SOON, "a member of each tier to serve", shared).unwrap();
    let heard = || datagram(&world.inet, "198.51.100.11").as_deref() == Some("m3");
    Wait::until(SOON, "datagrams to be answered", heard).unwrap();
    let shut = json!([]);
    for (generation, lists, heard) in [(11, [&shut, &open], Some("m3")), (12, [&open, &shut], None)]
    {
        world.push_and_confirm(&vpc(generation, lists, &both));
        assert_eq!(page(&world.inet, "", "198.51.100.11"), None, "generation {generation}");
        // its only member is in the second tier; one on its way meets connections that are being ended
        let judged = || datagram(&world.inet, "198.51.100.11").as_deref() == heard;
        Wait::until(SOON, "the second list alone to count", judged).unwrap();
    }
    world.push_and_confirm(&vpc(13, [&open, &open], &both));
    assert!(shared(), "both are well, and were all the time");
}

/// One socket that asks five times a second and notes who answered.
const SENDER: &str = r#"
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((sys.argv[1], 5300))
while True:
    try:
        s.send(b"?")
        print(s.recv(99).decode(), flush=True)
    except ConnectionRefusedError:
        print("refused", flush=True)
    except OSError:
        print("nobody", flush=True)
    time.sleep(0.2)
"#;

struct Sender(Process);

impl Sender {
    fn start(world: &World) -> Self {
        let script = world.dir.path().join("sender.py");
        std::fs::write(&script, SENDER).unwrap();
        let words = ["python3".into(), script.into_os_string(), "198.51.100.11".into()];
        let sender = Self(world.inet.spawn(words).unwrap());
        Wait::until(SOON, "a first answer", || sender.last().is_some()).unwrap();
        sender
    }

    fn heard(&self) -> Vec<String> {
        self.0.output().lines().map(str::to_owned).collect()
    }

    fn last(&self) -> Option<String> {
        self.heard().pop()
    }

    fn soon_hears(&self, who: &str) {
        let heard = || self.last().as_deref() == Some(who);
        let found = Wait::until(SOON * 2, "another answer", heard);
        assert!(found.is_ok(), "{who} is not heard: {:?}", self.heard());
    }
}

#[test]
fn a_sender_of_datagrams_is_not_left_with_a_dead_member() {
    let world = World::new();
    let health = json!({ "interval_milliseconds": 200, "fall": 1, "rise": 1 });
    let datagrams = json!({ "id": "datagrams", "address": "198.51.100.11", "port": 5300,
                            "mode": "udp", "members": members(5300), "health": health });
    world.push_and_confirm(&isolated(10, &json!([datagrams.clone()])));
    guests_with_addresses(&world);
    let (vm1, vm2) = (world.guest("vm1"), world.guest("vm2"));
    let (first, second) = (server(&world, vm1, "m1"), server(&world, vm2, "m2"));
    // what was found before the servers were there is some seconds old
    let both = || {
        let heard = [(); 4].map(|()| datagram(&world.inet, "198.51.100.11"));
        heard.contains(&Some("m1".to_owned())) && heard.contains(&Some("m2".to_owned()))
    };
    Wait::until(SOON, "both members to serve", both).unwrap();
    let mut senders = vec![Sender::start(&world)];
    let at = |senders: &[Sender], name: &str| {
        senders.iter().position(|sender| sender.last().as_deref() == Some(name))
    };
    while at(&senders, "m1").is_none() || at(&senders, "m2").is_none() {
        assert!(senders.len() < 10, "all of them have one member");
        senders.push(Sender::start(&world));
    }
    let bound_to_m1 = senders.swap_remove(at(&senders, "m1").unwrap());
    let bound_to_m2 = senders.swap_remove(at(&senders, "m2").unwrap());
    drop(first);
    bound_to_m1.soon_hears("m2");
    let other = bound_to_m2.heard();
    assert!(other.iter().all(|who| who == "m2"), "the other sender was disturbed: {other:?}");

    drop(second);
    bound_to_m2.soon_hears("refused");
    let _first = server(&world, vm1, "m1");
    bound_to_m2.soon_hears("m1");
    bound_to_m1.soon_hears("m1");

    // a member that is taken out of the configuration is left as soon
    let second = server(&world, vm2, "m2");
    let mut left = members(5300);
    left.as_array_mut().unwrap().remove(0);
    let mut datagrams = datagrams;
    datagrams["members"] = left;
    world.push_and_confirm(&isolated(11, &json!([datagrams])));
    bound_to_m1.soon_hears("m2");
    bound_to_m2.soon_hears("m2");
    drop(second);
    let repairs = world.status().repairs;
    assert!(repairs.is_empty(), "what services see is nobody's drift: {repairs:#?}");
}
