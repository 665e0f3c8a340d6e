//! One router, its authority and a client, without a manager in between: for configurations that are pushed by hand.

use std::time::Duration;

use sluice_api::RouterConfig;
use sluice_api::boot::BootDocument;
use sluice_api::report::{Answer, ConfirmAnswer, Phase, StatusReport};
use sluice_api::types::{ApplianceId, VlanId};
use sluice_lab::spec::{ControlSpec, Firmware, MachineSpec, NicSpec};
use sluice_lab::wire::{Frame, PortId};
use sluice_lab::{Lab, LabBuilder, Wait};
use sluice_manager::ca::Authority;
use sluice_manager::{ClientIdentity, PushClient};
use sluice_tests::cloud::{PUBLIC, Shell as _, TRUNK, guest};
use sluice_tests::faults;

use super::world::BOOT;

const SOON: Duration = Duration::from_secs(30);
const CONFIRM_S: u32 = 60;

pub(crate) struct Single {
    pub(crate) lab: Lab,
    pub(crate) client: PushClient,
    _folder: tempfile::TempDir,
}

impl Single {
    /// The machine of examples/router.json, switched on; `more` adds others.
    pub(crate) async fn start(name: &str, more: impl FnOnce(LabBuilder) -> LabBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let id: ApplianceId = "r-1".parse().unwrap();
        let store = folder.path().join("manager.db");
        let authority = Authority::open(&store, Duration::from_hours(24)).unwrap();
        let identity = authority.appliance(&id).unwrap().identity;
        let boot = BootDocument { identity, ..faults::boot() };
        let document = folder.path().join("boot.json");
        std::fs::write(&document, serde_json::to_vec(&boot).unwrap()).unwrap();
        let control =
            ControlSpec { address: boot.control.address, mac: boot.control.mac, host_port: None };
        let nic =
            |wire: &str, mac: &str| NicSpec::on(wire.parse().unwrap()).mac(mac.parse().unwrap());
        let machine = MachineSpec::template()
            .firmware(Firmware::Direct)
            .boot(&document, control)
            .nic(nic(PUBLIC, "02:00:c6:33:64:0a"))
            .nic(nic(TRUNK, "02:00:0a:01:01:01"));
        let images = sluice_tests::image("sluice.qcow2").parent().unwrap().to_owned();
        let lab = Lab::builder(name).images(images).wire(PUBLIC).wire(TRUNK);
        let lab = more(lab.machine("r-1", machine)).start().await.unwrap();
        let client = ClientIdentity::new(&authority.client().unwrap().identity).unwrap();
        let client = PushClient::new(&id, lab.endpoint("r-1").unwrap(), &client).unwrap();
        Self { lab, client, _folder: folder }
    }

    /// Waits until the agent answers.
    pub(crate) async fn status(&self) -> StatusReport {
        let ask = || async {
            tokio::time::timeout(Duration::from_secs(2), self.client.status()).await.ok()?.ok()
        };
        match Wait::until_async(BOOT, "the agent's status", ask).await {
            Ok(status) => status,
            Err(late) => panic!("{late}\n{}", self.lab.state().await),
        }
    }

    pub(crate) async fn push_and_confirm(&self, config: &RouterConfig) {
        let answer = self.client.push_confirming(config, CONFIRM_S).await;
        let applied = matches!(answer, Ok(Answer::Applied { .. }));
        assert!(applied, "{answer:#?}\n{}", self.lab.state().await);
        let confirmed = self.client.confirm(config.generation).await;
        assert!(matches!(confirmed, Ok(ConfirmAnswer::Committed { .. })), "{confirmed:?}");
        let status = self.status().await;
        assert_eq!(status.phase, Phase::InForce, "{status:#?}");
        assert!(status.alarms.is_empty(), "{status:#?}");
    }
}

fn vlan(id: u64) -> VlanId {
    id.try_into().unwrap()
}

fn host(lab: LabBuilder, name: &str, id: u64, mac: &str) -> LabBuilder {
    let nic = NicSpec::on(TRUNK.parse().unwrap()).vlan(vlan(id)).mac(mac.parse().unwrap());
    lab.machine(name, MachineSpec::host().nic(nic))
}

/// Tags that the router put on frames since the capture was drained last.
fn tags_of_router(single: &Single, frames: &[sluice_lab::wire::CapturedFrame]) -> Vec<VlanId> {
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
    let single = Single::start("one-router", |lab| {
        let lab = host(lab, "vm1", 100, "02:00:0a:01:01:17");
        host(lab, "db1", 101, "02:00:0a:01:02:17")
    })
    .await;
    let mut capture = single.lab.wire(TRUNK).unwrap().capture();
    assert_eq!(single.status().await.phase, Phase::Unconfigured);
    single.push_and_confirm(&faults::example()).await;
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
    single.push_and_confirm(&faults::changed()).await;
    capture.drain();
    guest::pings(&single.lab, "vm1", [10, 1, 1, 1].into()).await.unwrap();
    let gone = single.lab.sh("db1", "ip neigh flush all; ping -c 1 -W 2 10.1.2.1").await.unwrap();
    assert!(!gone.ok(), "the router still answers in VLAN 101: {gone:?}");
    assert!(!tags_of_router(&single, &capture.drain()).contains(&vlan(101)));

    // and without the second network the VLAN link is gone
    let mut config = faults::changed();
    config.generation = config.generation.next().unwrap();
    config.networks.pop();
    config.links.retain(|link| link.name.as_str() != "guest1");
    single.push_and_confirm(&config).await;
    guest::pings(&single.lab, "vm1", [10, 1, 1, 1].into()).await.unwrap();
    single.lab.machine("r-1").unwrap().power_down(SOON).await.unwrap();
    single.lab.down().await.unwrap();
}
