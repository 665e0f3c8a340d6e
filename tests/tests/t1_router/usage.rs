//! What was counted, on real packets: numbers that only rise, and rules that end by themselves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use sluice_api::report::{UsageReport, Used, Volume};
use sluice_api::types::UtcTime;
use sluice_lab::Wait;

use crate::SOON;
use crate::policy::{asked, changed, guests_with_addresses, seen, web};
use crate::world::World;

fn usage(world: &World) -> UsageReport {
    world.call(|client| async move { client.usage().await }).unwrap()
}

fn of<'a>(list: &'a [Used], name: &str) -> &'a Used {
    list.iter().find(|used| used.name == name).unwrap_or_else(|| panic!("no {name} in {list:#?}"))
}

fn judged(report: &UsageReport, rule: &str) -> Volume {
    let found = report.rules.iter().find(|one| one.rule == rule);
    found.unwrap_or_else(|| panic!("no {rule} in {:#?}", report.rules)).judged
}

/// One forward with its firewall rule, and a second rule that changes.
fn counted(generation: u64, other: &str) -> sluice_api::RouterDocument {
    changed(generation, |document| {
        let router = &mut document["role"]["router"];
        router["port_forwards"] = json!([
            { "id": "pf-1", "public": "198.51.100.11", "protocol": "tcp", "ports": "8081",
              "network": "net-1", "guest": "10.1.1.23", "guest_port": 8080 },
            { "id": "pf-2", "public": "198.51.100.11", "protocol": "tcp", "ports": "8090-8099",
              "network": "net-1", "guest": "10.1.1.23" },
        ]);
        router["firewall"] = json!([
            { "id": "fw-1", "public": "198.51.100.11", "traffic": { "tcp": { "ports": "8081" } } },
            { "id": "fw-2", "public": "198.51.100.11", "traffic": { "tcp": { "ports": other } } },
        ]);
    })
}

/// The same among three thousand other rules; the first one lets in these ports.
fn among_many(generation: u64, ports: &str) -> sluice_api::RouterDocument {
    let mut document = json!(counted(generation, "8090"));
    let firewall = &mut document["role"]["router"]["firewall"];
    firewall[0]["traffic"]["tcp"]["ports"] = json!(ports);
    let others = (0..3_000).map(|number| {
        json!({ "id": format!("more-{number}"), "public": "198.51.100.12",
                "traffic": { "tcp": { "ports": (20_000 + number).to_string() } } })
    });
    firewall.as_array_mut().unwrap().extend(others);
    sluice_api::RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
}

/// The agent looks every half minute; here nothing looks between the connections and the change.
#[test]
fn what_counted_just_before_it_is_replaced_or_goes_is_kept() {
    let mut world = World::new();
    world.push_and_confirm(&among_many(10, "8081"));
    guests_with_addresses(&world);
    let server = web(&world, world.guest("vm1"));
    let visit = |world: &World| {
        assert_eq!(asked(&world.inet, "", "198.51.100.11:8081"), seen("198.51.100.1"));
    };
    for _ in 0..5 {
        visit(&world);
    }
    // the rule is replaced
    world.push_and_confirm(&among_many(11, "8081-8082"));
    visit(&world);
    // the forward goes and comes back
    let mut without = json!(among_many(12, "8081-8082"));
    without["role"]["router"]["port_forwards"].as_array_mut().unwrap().remove(0);
    let without = sluice_api::RouterDocument::decode(without.to_string().as_bytes()).unwrap().0;
    world.push_and_confirm(&without);
    world.push_and_confirm(&among_many(13, "8081-8082"));
    visit(&world);
    // what was reported an agent that is killed at once knows as well
    let before = usage(&world);
    world.restart_agent();
    for report in [before, usage(&world)] {
        assert_eq!(judged(&report, "firewall/fw-1").packets, 7);
        // opening, request and end of seven connections
        let forward = of(&report.forwards, "pf-1");
        assert!(forward.received.packets >= 7 * 4, "{forward:?}");
    }
    drop(server);
}

#[test]
#[allow(clippy::too_many_lines)] // one story: the numbers of each part are compared with those before
fn what_was_counted_outlives_rules_configurations_and_the_agent() {
    let mut world = World::new();
    world.outside_has_web_and_names();
    world.push_and_confirm(&counted(10, "8090"));
    guests_with_addresses(&world);
    let server = web(&world, world.guest("vm1"));
    let visit = |world: &World| {
        let page = asked(&world.inet, "", "198.51.100.11:8081");
        assert_eq!(page, seen("198.51.100.1"));
        let page = asked(world.guest("vm2"), "", "192.0.2.80:8080");
        assert_eq!(page, seen("198.51.100.10"));
    };
    visit(&world);
    let first = usage(&world);
    let forward = of(&first.forwards, "pf-1");
    // opening, request and end one way, and the page the other way
    assert!(forward.received.packets >= 4 && forward.sent.packets >= 4, "{forward:?}");
    assert!(forward.sent.bytes > 100, "{forward:?}");
    let address = of(&first.addresses, "198.51.100.11");
    assert_eq!((address.received, address.sent), (forward.received, forward.sent));
    assert!(of(&first.addresses, "198.51.100.10").sent.packets >= 4, "source NAT is counted");
    let network = of(&first.networks, "net-1");
    assert!(network.sent.bytes > forward.sent.bytes, "{network:?}");
    assert_eq!(judged(&first, "firewall/fw-1").packets, 1, "the first packet of a connection");
    assert_eq!(of(&first.forwards, "pf-2").received, Volume::default());
    assert!(first.tracking.is_some_and(|it| it.limit > 0 && it.insert_failed == 0));
    let pools = &first.source_ports;
    assert!(pools.iter().any(|pool| pool.port == 8080 && pool.used == 1), "{pools:?}");

    // the same again under other rules, and by another agent
    world.push_and_confirm(&counted(11, "8091"));
    visit(&world);
    let second = usage(&world);
    world.restart_agent();
    let third = usage(&world);
    visit(&world);
    let last = usage(&world);
    let all = [&first, &second, &third, &last];
    let numbers = |report: &UsageReport| {
        [
            of(&report.forwards, "pf-1").received.bytes,
            of(&report.addresses, "198.51.100.11").sent.bytes,
            of(&report.networks, "net-1").received.bytes,
            judged(report, "firewall/fw-1").packets,
            judged(report, "nat/source").packets,
        ]
    };
    for pair in all.windows(2) {
        let (before, after) = (numbers(pair[0]), numbers(pair[1]));
        let falls = before.iter().zip(after).any(|(before, after)| after < *before);
        assert!(!falls, "{before:?} then {after:?}");
    }
    assert_eq!(judged(&last, "firewall/fw-1").packets, 3);
    let (one, three) = (numbers(&first)[0], numbers(&last)[0]);
    assert!(three >= 3 * one - 200, "three visits are three times as much: {one}, {three}");

    let metrics = world.call(|client| async move { client.metrics().await }).unwrap();
    for series in [
        "sluice_address_bytes_total{address=\"198.51.100.11\",direction=\"received\"}",
        "sluice_network_packets_total{network=\"net-1\",direction=\"sent\"}",
        "sluice_forward_bytes_total{forward=\"pf-1\",direction=\"sent\"}",
        "sluice_rule_packets_total{rule=\"firewall/fw-1\"} 3",
        "sluice_tracking_losses_total{reason=\"insert-failed\"} 0",
        "sluice_source_ports{address=\"198.51.100.10\",protocol=\"6\"",
    ] {
        assert!(metrics.contains(series), "no {series} in\n{metrics}");
    }
    drop(server);
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_rule_ends_by_itself_and_so_does_what_it_allowed() {
    let mut world = World::new();
    let with_end = |generation: u64, end: Option<u64>| {
        let mut config = json!(counted(generation, "8090"));
        config["role"]["router"]["firewall"][0]["until"] = json!(end.map(UtcTime::from_unix));
        sluice_api::RouterDocument::decode(config.to_string().as_bytes()).unwrap().0
    };
    world.push_and_confirm(&with_end(10, None));
    guests_with_addresses(&world);
    // listens, and says what comes for as long as it comes
    let vm1 = world.guest("vm1");
    let heard = world.dir.path().join("heard");
    let line = format!("nc -l -p 8080 > {0} || nc -l 8080 > {0}", heard.display());
    let _listener = vm1.spawn(["sh", "-c", &line]).unwrap();
    let serves = || vm1.sh("ss -Hltn sport = 8080 | grep -q .").run().unwrap().ok();
    Wait::until(SOON, "the listener", serves).unwrap();
    let talk = "while echo more; do sleep 0.1; done | nc 198.51.100.11 8081";
    let _talker = world.inet.spawn(["sh", "-c", talk]).unwrap();
    let length = || std::fs::metadata(&heard).map_or(0, |is| is.len());
    Wait::until(SOON, "the connection to carry", || length() > 10).unwrap();
    let end = now() + 5;
    world.push_and_confirm(&with_end(11, Some(end)));
    let rule = "nft list chain inet sluice fw-198-51-100-11 | grep -q firewall/fw-1";
    let gone = || !world.router.sh(rule).run().unwrap().ok();
    let early = || gone() && now() < end;
    assert!(!early(), "it ended before its time");
    Wait::until(Duration::from_secs(60), "the rule to end", gone).unwrap();
    assert!(now() >= end, "it ended before its time");
    let still = || {
        let before = length();
        std::thread::park_timeout(Duration::from_millis(500));
        length() == before
    };
    Wait::until(SOON, "the connection to end with its rule", still).unwrap();
    let status = world.status();
    assert_eq!((status.alarms.len(), status.repairs.len()), (0, 0), "{status:#?}");

    // nothing of it comes back with another agent
    world.restart_agent();
    assert!(!world.router.sh(rule).run().unwrap().ok());
}
