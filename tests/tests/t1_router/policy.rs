//! What policy does to real packets: firewall, forwards, static NAT, hairpins, egress rules, and a VPC's access control lists.

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_api::report::{ExplainQuestion, Outcome};
use sluice_api::types::AskedProtocol;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};

use crate::SOON;
use crate::world::{World, config};

/// The configuration with `change` made to its document, under number `generation`.
pub(crate) fn changed(generation: u64, change: impl FnOnce(&mut Value)) -> RouterDocument {
    let mut document = json!(config());
    document["generation"] = json!(generation);
    let pub0 = document["links"].as_array_mut().unwrap();
    let pub0 = pub0.iter_mut().find(|link| link["name"] == "pub0").unwrap();
    for host in [11, 12] {
        let address = json!(format!("198.51.100.{host}/24"));
        pub0["addresses"].as_array_mut().unwrap().push(address);
    }
    document["role"]["router"]["public_addresses"] = json!([
        { "id": "ip-1", "address": "198.51.100.11", "link": "pub0" },
        { "id": "ip-2", "address": "198.51.100.12", "link": "pub0" },
    ]);
    change(&mut document);
    RouterDocument::decode(document.to_string().as_bytes())
        .unwrap_or_else(|bad| panic!("{bad:#?}"))
        .0
}

/// Who a web server says it was asked by; `None` when nothing came back.
pub(crate) fn asked(from: &Namespace, options: &str, server: &str) -> Option<String> {
    let line = format!("curl -s --max-time 2 {options} http://{server}/");
    let output = from.sh(&line).run().unwrap();
    let page = output.stdout.trim().strip_prefix("seen from ").map(str::to_owned);
    page.filter(|_| output.ok())
}

pub(crate) fn seen(address: &str) -> Option<String> {
    Some(address.to_owned())
}

pub(crate) fn web(world: &World, ns: &Namespace) -> Process {
    let script = world.web_script();
    let process = ns.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
    let ready = || asked(ns, "", "127.0.0.1:8080").is_some();
    Wait::until(SOON, "the guest's web server", ready).unwrap();
    process
}

pub(crate) fn guests_with_addresses(world: &World) {
    world.lease("vm1", "10.1.1.23");
    world.lease("vm2", "10.1.1.24");
}

/// What is worked out from the configuration is what happens to packets.
fn explained(config: &RouterDocument, what: &str, from: &str, server: &str, wanted: Option<&str>) {
    let (to, port) = server.rsplit_once(':').unwrap_or((server, "80"));
    let question = ExplainQuestion {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        protocol: AskedProtocol::TCP,
        port: Some(port.parse().unwrap()),
        from_port: ExplainQuestion::FROM_PORT,
        link: None,
    };
    let told = sluice_router::explain::explain(config, &question).unwrap();
    assert_eq!(told.verdict == Outcome::Passes, wanted.is_some(), "{what}:\n{told}");
    if let Some(wanted) = wanted {
        assert_eq!(told.egress_address.unwrap().to_string(), wanted, "{what}:\n{told}");
    }
}

fn isolated(generation: u64, egress: &Value) -> RouterDocument {
    changed(generation, |document| {
        let router = &mut document["role"]["router"];
        router["port_forwards"] = json!([
            { "id": "pf-1", "public": "198.51.100.11", "protocol": "tcp", "ports": "8081",
              "network": "net-1", "guest": "10.1.1.23", "guest_port": 8080 },
            { "id": "pf-2", "public": "198.51.100.11", "protocol": "tcp", "ports": "8082",
              "network": "net-1", "guest": "10.1.1.24", "guest_port": 8080 },
            { "id": "pf-3", "public": "198.51.100.11", "protocol": "tcp", "ports": "8070-8080",
              "network": "net-1", "guest": "10.1.1.23", "sources": ["192.0.2.80/32"] },
        ]);
        router["static_nat"] = json!([
            { "id": "sn-1", "public": "198.51.100.12", "network": "net-1", "guest": "10.1.1.24" },
        ]);
        router["firewall"] = json!([
            { "id": "fw-1", "public": "198.51.100.11", "traffic": { "tcp": { "ports": "8081" } } },
            { "id": "fw-2", "public": "198.51.100.11", "traffic": { "tcp": { "ports": "8080" } } },
            { "id": "fw-3", "public": "198.51.100.12", "sources": ["198.51.100.0/24"],
              "traffic": { "tcp": {} } },
            { "id": "fw-4", "public": "198.51.100.12", "traffic": { "icmp": { "type": 8 } } },
        ]);
        router["egress_rules"] = egress.clone();
    })
}

#[test]
#[allow(clippy::too_many_lines)] // a table, and what changes of the rules make of it
fn an_isolated_network_lets_in_and_out_what_its_rules_say() {
    let world = World::new();
    world.outside_has_web_and_names();
    world.push_and_confirm(&isolated(10, &json!([])));
    guests_with_addresses(&world);
    let (vm1, vm2, inet) = (world.guest("vm1"), world.guest("vm2"), &world.inet);
    let _servers = [web(&world, vm1), web(&world, vm2)];
    let far = "--interface 192.0.2.80";
    // (what, from, options, server, as whom the server sees it)
    let table = [
        (
            "a forward that the firewall lets in",
            inet,
            "",
            "198.51.100.11:8081",
            seen("198.51.100.1"),
        ),
        ("the same from further away", inet, far, "198.51.100.11:8081", seen("192.0.2.80")),
        ("a forward that no firewall rule names", inet, "", "198.51.100.11:8082", None),
        ("a forward's own sources", inet, far, "198.51.100.11:8080", seen("192.0.2.80")),
        ("who is none of them", inet, "", "198.51.100.11:8080", None),
        ("static NAT from a source that may", inet, "", "198.51.100.12:8080", seen("198.51.100.1")),
        ("static NAT from one that may not", inet, far, "198.51.100.12:8080", None),
        ("source NAT", vm1, "", "192.0.2.80:8080", seen("198.51.100.10")),
        ("static NAT outwards", vm2, "", "192.0.2.80:8080", seen("198.51.100.12")),
        ("a forward from within", vm2, "", "198.51.100.11:8081", seen("10.1.1.1")),
        ("static NAT from within, not let in", vm1, "", "198.51.100.12:8080", None),
        ("a guest's own address from outside", inet, "", "10.1.1.23:8080", None),
    ];
    for (what, from, options, server, wanted) in table {
        let got = asked(from, options, server);
        let rules = || world.router.sh("nft list table inet sluice").check().unwrap();
        assert!(got == wanted, "{what}: {got:?}, not {wanted:?}\n{}", rules());
        let sender = match from.full_name() {
            name if name == vm1.full_name() => "10.1.1.23",
            name if name == vm2.full_name() => "10.1.1.24",
            _ if options == far => "192.0.2.80",
            _ => "198.51.100.1",
        };
        explained(&isolated(10, &json!([])), what, sender, server, wanted.as_deref());
    }
    assert!(
        inet.sh("ping -c1 -W2 198.51.100.12").run().unwrap().ok(),
        "ICMP that the firewall lets in"
    );
    assert!(!inet.sh("ping -c1 -W1 198.51.100.11").run().unwrap().ok(), "ICMP that no rule names");
    let counted = world
        .router
        .sh("nft list chain inet sluice fw-198-51-100-11 | grep firewall/fw-1")
        .check()
        .unwrap();
    assert!(!counted.contains("packets 0 "), "the rule's counter stood still: {counted}");

    let deny = json!([{ "id": "eg-1", "network": "net-1", "destinations": ["192.0.2.80/32"],
                        "traffic": { "tcp": { "ports": "8080" } } }]);
    world.push_and_confirm(&isolated(11, &deny));
    assert_eq!(asked(vm1, "", "192.0.2.80:8080"), None, "an egress rule against an open policy");
    assert!(vm1.sh("ping -c1 -W2 192.0.2.80").run().unwrap().ok(), "what the rule is not about");
    assert_eq!(
        asked(inet, "", "198.51.100.11:8081"),
        seen("198.51.100.1"),
        "replies are no egress"
    );

    world.push_and_confirm(&changed(12, |_| {}));
    assert_eq!(asked(inet, "", "198.51.100.11:8081"), None, "a forward that is gone");
    assert_eq!(asked(vm2, "", "192.0.2.80:8080"), seen("198.51.100.10"), "static NAT that is gone");
}

/// Sends on and on to whoever connects.
const STREAM: &str = "\
import socket, threading, time
def feed(to):
    while True:
        to.sendall(b'more\\n')
        time.sleep(0.02)
def serve(port):
    server = socket.create_server(('192.0.2.80', port))
    while True:
        threading.Thread(target=feed, args=(server.accept()[0],)).start()
for port in (8090, 8091):
    threading.Thread(target=serve, args=(port,)).start()
";

#[test]
fn an_open_transfer_ends_with_what_allowed_it_and_another_goes_on() {
    let world = World::new();
    world.push_and_confirm(&isolated(10, &json!([])));
    guests_with_addresses(&world);
    let vm1 = world.guest("vm1");
    let script = world.dir.path().join("stream.py");
    std::fs::write(&script, STREAM).unwrap();
    let _server = world.inet.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
    let take = |port: u16| {
        let file = world.dir.path().join(format!("taken-{port}"));
        let serves = format!("ss -Hltn sport = {port} | grep -q .");
        Wait::until(SOON, "the server", || world.inet.sh(&serves).run().unwrap().ok()).unwrap();
        let url = format!("http://192.0.2.80:{port}/");
        let words = ["curl", "-sN", "--http0.9", "-o", file.to_str().unwrap(), &url];
        let process = vm1.spawn(words).unwrap();
        (process, file)
    };
    let ((_one, ends), (_other, goes_on)) = (take(8090), take(8091));
    let length = |file: &std::path::Path| std::fs::metadata(file).map_or(0, |is| is.len());
    // half a second's worth
    let more = |file: &std::path::Path| {
        let before = length(file);
        Wait::until(SOON, "more to come", || length(file) > before + 125).unwrap();
    };
    more(&ends);
    more(&goes_on);

    let deny = json!([{ "id": "eg-1", "network": "net-1", "destinations": ["192.0.2.80/32"],
                        "traffic": { "tcp": { "ports": "8090" } } }]);
    world.push_and_confirm(&isolated(11, &deny));
    let still = || {
        let before = length(&ends);
        more(&goes_on);
        length(&ends) == before
    };
    Wait::until(SOON, "the transfer to end that is forbidden now", still).unwrap();
    assert!(still(), "it goes on after a pause");

    world.push_and_confirm(&isolated(12, &deny));
    more(&goes_on);
}

/// Tier 1 has vm1 and vm2 and no list; tier 2 has vm3.
fn vpc(generation: u64, rules: &Value) -> RouterDocument {
    changed(generation, |document| {
        document["links"].as_array_mut().unwrap().push(json!({
            "name": "guest1", "role": "guest", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
            "addresses": ["10.1.2.1/24"],
        }));
        let router = &mut document["role"]["router"];
        router["vpc"] = json!({ "id": "vpc-1", "cidr": "10.1.0.0/16", "acls": [
            { "id": "acl-2", "rules": rules },
        ] });
        router["networks"].as_array_mut().unwrap().push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow", "acl": "acl-2",
            "source_nat": { "link": "pub0", "address": "198.51.100.10" },
        }));
        router["port_forwards"] = json!([
            { "id": "pf-1", "public": "198.51.100.11", "protocol": "tcp", "ports": "80",
              "network": "net-2", "guest": "10.1.2.23", "guest_port": 8080 },
            { "id": "pf-2", "public": "198.51.100.11", "protocol": "tcp", "ports": "81",
              "network": "net-2", "guest": "10.1.2.23", "guest_port": 8080, "sources": ["192.0.2.80/32"] },
        ]);
    })
}

#[test]
fn a_vpc_judges_by_the_lists_of_its_tiers_on_inside_addresses() {
    let world = World::new();
    world.outside_has_web_and_names();
    let rule = |id: &str,
                number: u16,
                direction: &str,
                action: &str,
                networks: &[&str],
                traffic: Value| {
        json!({ "id": id, "number": number, "direction": direction, "action": action,
                "networks": networks, "traffic": traffic })
    };
    let web_port = || json!({ "tcp": { "ports": "8080" } });
    let mut rules = vec![
        // out of order on purpose: the numbers decide
        rule("a-2", 20, "ingress", "allow", &["10.1.1.0/24"], web_port()),
        rule(
            "a-1",
            10,
            "ingress",
            "deny",
            &["10.1.1.24/32", "2001:db8::/32"],
            json!({ "all": {} }),
        ),
    ];
    world.push_and_confirm(&vpc(10, &json!(rules)));
    guests_with_addresses(&world);
    let (vm1, vm2, vm3, inet) = (world.guest("vm1"), world.guest("vm2"), &world.tier, &world.inet);
    let _servers = [web(&world, vm1), web(&world, vm3)];
    assert_eq!(asked(vm1, "", "10.1.2.23:8080"), seen("10.1.1.23"), "an ingress rule of tier 2");
    assert_eq!(asked(vm2, "", "10.1.2.23:8080"), None, "the rule with the smaller number");
    assert_eq!(asked(vm3, "", "10.1.1.23:8080"), None, "a tier without a list lets nothing in");
    assert_eq!(
        asked(vm3, "", "192.0.2.80:8080"),
        seen("198.51.100.10"),
        "no egress rule: all may leave"
    );
    assert_eq!(asked(vm2, "", "10.1.1.23:8080"), seen("10.1.1.24"), "within a tier");
    assert_eq!(asked(inet, "", "198.51.100.11"), None, "a forward obeys the list too");

    let outside = ["198.51.100.0/24", "192.0.2.0/24"];
    rules.push(rule("a-3", 30, "ingress", "allow", &outside, web_port()));
    rules.push(rule("a-4", 1, "egress", "allow", &[], json!({ "icmp": {} })));
    world.push_and_confirm(&vpc(11, &json!(rules)));
    assert_eq!(
        asked(inet, "", "198.51.100.11"),
        seen("198.51.100.1"),
        "a forward that the list lets in"
    );
    let far = "--interface 192.0.2.80";
    assert_eq!(asked(inet, far, "198.51.100.11:81"), seen("192.0.2.80"), "a forward's own sources");
    assert_eq!(asked(inet, "", "198.51.100.11:81"), None, "who is none of them, list or no list");
    assert_eq!(asked(vm3, "", "192.0.2.80:8080"), None, "one egress rule: only what is listed");
    assert!(vm3.sh("ping -c1 -W2 192.0.2.80").run().unwrap().ok(), "what the egress rule lists");
    assert_eq!(asked(vm1, "", "10.1.2.23:8080"), seen("10.1.1.23"), "what did not change");

    world.push_and_confirm(&vpc(12, &json!([])));
    assert_eq!(asked(vm1, "", "10.1.2.23:8080"), None, "an empty list lets nothing in");
    assert_eq!(asked(vm3, "", "192.0.2.80:8080"), seen("198.51.100.10"), "and everything out");
}
