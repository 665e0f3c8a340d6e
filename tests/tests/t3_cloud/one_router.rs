//! Configurations that are pushed by hand to one router with two guest networks.

use std::time::Duration;

use serde_json::json;
use sluice_api::RouterDocument;
use sluice_api::report::Phase;
use sluice_api::types::VlanId;
use sluice_lab::LabBuilder;
use sluice_lab::spec::{MachineSpec, NicSpec};
use sluice_lab::wire::{CapturedFrame, Frame, PortId};
use sluice_tests::cloud::single::Single;
use sluice_tests::cloud::{Shell as _, TRUNK, guest};
use sluice_tests::faults;

use super::world::BOOT;

const SOON: Duration = Duration::from_secs(30);

fn vlan(id: u64) -> VlanId {
    id.try_into().unwrap()
}

fn host(lab: LabBuilder, name: &str, id: u64, mac: &str) -> LabBuilder {
    let nic = NicSpec::on(TRUNK.parse().unwrap()).vlan(vlan(id)).mac(mac.parse().unwrap());
    lab.machine(name, MachineSpec::host().nic(nic))
}

/// Tags that the router put on frames since the capture was drained last.
fn tags_of_router(single: &Single, frames: &[CapturedFrame]) -> Vec<VlanId> {
    let ports = single.lab.wire(TRUNK).unwrap().status().ports;
    let router: PortId = ports.iter().find(|port| port.station == "r-1.1").unwrap().port;
    let sent = frames.iter().filter(|frame| frame.from == router);
    let mut tags: Vec<_> =
        sent.filter_map(|frame| Frame::parse(&frame.bytes).and_then(|f| f.vlan())).collect();
    tags.sort();
    tags.dedup();
    tags
}

/// What a router is promised to need at most is 128: this one does with less, so there is memory to spare.
const LITTLE_MIB: u32 = 112;
/// Each is an element that translates and two that count.
const FORWARDS: u64 = 10_000 / 3 + 1;

/// `config` with so many ports that lead to a guest, the first of them to its port `first`.
fn forwarding(config: &RouterDocument, first: u64) -> RouterDocument {
    let mut document = json!(config);
    document["generation"] = json!(config.generation.get() + 1);
    let pub0 = document["links"].as_array_mut().unwrap().iter_mut();
    let pub0 = pub0.filter(|link| link["name"] == "pub0").last().unwrap();
    pub0["addresses"].as_array_mut().unwrap().push(json!("198.51.100.12/24"));
    let router = &mut document["role"]["router"];
    router["public_addresses"] =
        json!([{ "id": "ip-1", "address": "198.51.100.12", "link": "pub0" }]);
    router["firewall"] =
        json!([{ "id": "fw-1", "public": "198.51.100.12", "traffic": { "all": {} } }]);
    let forward = |number: u64| {
        json!({ "id": format!("pf-{number}"), "public": "198.51.100.12", "protocol": "tcp",
                "ports": (1024 + number).to_string(), "network": "net-1", "guest": "10.1.1.23",
                "guest_port": if number == 0 { first } else { 20_000 + number } })
    };
    router["port_forwards"] = (0..FORWARDS).map(forward).collect();
    RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
}

/// A gauge of the appliance in MiB.
fn mib(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap() / (1024 * 1024)
}

/// Ten thousand elements live, and change, and lead to the guest, where the machine has less memory than a router is promised.
async fn ten_thousand_elements_live_in_little_memory(single: &Single, config: &RouterDocument) {
    let many = forwarding(config, 8080);
    single.push_and_confirm(&many).await.unwrap();
    let knocks = |port: u16| guest::knock(&single.lab, "vm1", [198, 51, 100, 12].into(), port, "x");
    guest::listen(&single.lab, "vm1", 8080).await.unwrap();
    assert!(knocks(1024).await.unwrap(), "a forward among many");
    let moved = forwarding(&RouterDocument { generation: many.generation, ..config.clone() }, 8081);
    single.push_and_confirm(&moved).await.unwrap();
    guest::listen(&single.lab, "vm1", 8081).await.unwrap();
    assert!(knocks(1024).await.unwrap(), "one that was changed");
    let metrics = single.client.metrics().await.unwrap();
    let peak =
        |process| mib(&metrics, &format!("sluice_peak_memory_bytes{{process=\"{process}\"}}"));
    eprintln!(
        "in {LITTLE_MIB} MiB: agent {} MiB, nft {} MiB at most",
        peak("agent"),
        peak("programs")
    );
    let status = single.status(SOON).await.unwrap();
    assert_eq!(status.alarms, Vec::<String>::new());
    let console = single.lab.machine("r-1").unwrap().console_text().await;
    for bad in ["Out of memory", "oom-kill", "page allocation failure"] {
        assert!(!console.contains(bad), "{bad}:\n{console}");
    }
}

/// VLAN links are made, renumbered and removed on a real kernel, and one VLAN's change leaves the other alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_networks_of_one_router_come_move_and_go_on_their_vlans() {
    let machine = Single::direct().ram_mib(LITTLE_MIB);
    let single = Single::start("one-router", machine, |lab| {
        let lab = host(lab, "vm1", 100, "02:00:0a:01:01:17");
        host(lab, "db1", 101, "02:00:0a:01:02:17")
    })
    .await
    .unwrap();
    let mut capture = single.lab.wire(TRUNK).unwrap().capture();
    assert_eq!(single.status(BOOT).await.unwrap().phase, Phase::Unconfigured);
    single.push_and_confirm(&faults::example()).await.unwrap();
    for (name, address, gateway) in
        [("vm1", "10.1.1.23/24", "10.1.1.1"), ("db1", "10.1.2.23/24", "10.1.2.1")]
    {
        single.lab.ready(name, BOOT).await.unwrap();
        let lease = guest::take_lease(&single.lab, name).await.unwrap();
        assert_eq!((lease.address.as_str(), lease.server.as_str()), (address, gateway));
    }
    assert_eq!(tags_of_router(&single, &capture.drain()), [vlan(100), vlan(101)]);
    let other = [10, 1, 2, 23].into();
    guest::listen(&single.lab, "db1", 8080).await.unwrap();
    assert!(!guest::knock(&single.lab, "vm1", other, 8080, "x").await.unwrap(), "networks meet");

    // db1's VLAN becomes 205 and its MTU 1500; vm1 notices nothing
    single.push_and_confirm(&faults::changed()).await.unwrap();
    capture.drain();
    guest::pings(&single.lab, "vm1", [10, 1, 1, 1].into()).await.unwrap();
    let gone = single.lab.sh("db1", "ip neigh flush all; ping -c 1 -W 2 10.1.2.1").await.unwrap();
    assert!(!gone.ok(), "the router still answers in VLAN 101: {gone:?}");
    assert!(!tags_of_router(&single, &capture.drain()).contains(&vlan(101)));

    // and without the second network the VLAN link is gone
    let mut config = faults::changed();
    config.generation = config.generation.next().unwrap();
    config.role.networks.pop();
    config.links.retain(|link| link.name.as_str() != "guest1");
    single.push_and_confirm(&config).await.unwrap();
    guest::pings(&single.lab, "vm1", [10, 1, 1, 1].into()).await.unwrap();
    ten_thousand_elements_live_in_little_memory(&single, &config).await;
    single.lab.machine("r-1").unwrap().power_down(SOON).await.unwrap();
    single.lab.down().await.unwrap();
}
