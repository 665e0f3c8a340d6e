//! Configurations that are pushed by hand to one router with two guest networks.

use std::time::Duration;

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

/// VLAN links are made, renumbered and removed on a real kernel, and one VLAN's change leaves the other alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_networks_of_one_router_come_move_and_go_on_their_vlans() {
    let single = Single::start("one-router", Single::direct(), |lab| {
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
    single.lab.machine("r-1").unwrap().power_down(SOON).await.unwrap();
    single.lab.down().await.unwrap();
}
