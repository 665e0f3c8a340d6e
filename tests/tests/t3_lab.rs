//! The laboratory with real machines: test hosts on a trunk wire.

#![allow(clippy::expect_used)] // a helper of a test fails the test

use std::time::Duration;

use sluice_api::types::VlanId;
use sluice_lab::Lab;
use sluice_lab::qemu::NicId;
use sluice_lab::spec::{ControlSpec, MachineSpec, NicSpec};
use sluice_lab::wire::{Frame, Impairment};

/// Emulated machines on a busy host boot within this.
const BOOT: Duration = Duration::from_mins(2);
const SOON: Duration = Duration::from_secs(20);

fn images() -> std::path::PathBuf {
    sluice_tests::image("testhost.raw").parent().expect("a folder").to_owned()
}

fn vlan(id: u64) -> Option<VlanId> {
    VlanId::try_from(id).ok()
}

/// `tagger` sits on the trunk and tags by itself; `ten` and `twenty` are behind access ports.
async fn trunk_lab(name: &str) -> Lab {
    let lab = Lab::builder(name)
        .images(images())
        .wire("trunk")
        .host("tagger", "trunk", None)
        .host("ten", "trunk", vlan(10))
        .host("twenty", "trunk", vlan(20))
        .start()
        .await
        .expect("started");
    for host in ["tagger", "ten", "twenty"] {
        lab.host(host).expect("there").ready(BOOT).await.expect("booted");
    }
    lab
}

async fn sh(lab: &Lab, host: &str, line: &str) {
    lab.host(host).expect("there").sh_ok(line).await.expect("the command works");
}

async fn pings(lab: &Lab, host: &str, address: &str) -> bool {
    let line = format!("ping -c 1 -W 2 {address}");
    lab.host(host).expect("there").sh(&line).await.expect("ping runs").ok()
}

async fn pings_soon(lab: &Lab, host: &str, address: &str) {
    let end = std::time::Instant::now() + SOON;
    while !pings(lab, host, address).await {
        assert!(
            std::time::Instant::now() < end,
            "{host} does not reach {address}\n{}",
            lab.state().await
        );
    }
}

async fn give_addresses(lab: &Lab) {
    let tagger = "for v in 10 20; do ip link add link eth0 name eth0.$v type vlan id $v && \
                  ip addr add 10.0.$v.1/24 dev eth0.$v && ip link set eth0.$v up; done";
    sh(lab, "tagger", &format!("ip link set eth0 up && {tagger}")).await;
    sh(lab, "ten", "ip link set eth0 up && ip addr add 10.0.10.2/24 dev eth0").await;
    sh(lab, "twenty", "ip link set eth0 up && ip addr add 10.0.20.2/24 dev eth0").await;
    // in the network of VLAN 10 too, on purpose: only the VLAN keeps the two apart
    sh(lab, "twenty", "ip addr add 10.0.10.3/24 dev eth0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_exchange_tagged_frames_and_vlans_are_apart() {
    let lab = trunk_lab("vlans").await;
    give_addresses(&lab).await;
    let wire = lab.wire("trunk").expect("there");
    let mut capture = wire.capture();

    pings_soon(&lab, "tagger", "10.0.10.2").await;
    pings_soon(&lab, "tagger", "10.0.20.2").await;
    assert!(!pings(&lab, "ten", "10.0.10.3").await, "VLAN 20 answered VLAN 10");
    assert!(!pings(&lab, "twenty", "10.0.10.2").await, "VLAN 10 answered VLAN 20");

    let frames = capture.drain();
    let ports = wire.status().ports;
    let mut seen = [0, 0];
    for frame in &frames {
        let parsed = Frame::parse(&frame.bytes).expect("a whole frame");
        let station = ports.iter().find(|port| port.port == frame.from).expect("a known port");
        match (station.vlan, parsed.vlan()) {
            (Some(access), tag) => assert_eq!(tag, vlan(access.into()), "left its VLAN"),
            (None, Some(tag)) => seen[usize::from(tag.get() == 20)] += 1,
            (None, None) => {}
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "no tagged frames of the tagger in {}", frames.len());
    lab.down().await.expect("down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wires_are_cut_healed_and_slowed_and_power_is_cut() {
    let lab = trunk_lab("faults").await;
    give_addresses(&lab).await;
    let wire = lab.wire("trunk").expect("there").clone();
    pings_soon(&lab, "tagger", "10.0.10.2").await;

    wire.cut();
    assert!(!pings(&lab, "tagger", "10.0.10.2").await, "a cut wire carried a ping");
    wire.heal();
    pings_soon(&lab, "tagger", "10.0.10.2").await;

    wire.set_impairment(Impairment { delay_ms: 300, ..Impairment::default() });
    let said = lab.host("tagger").expect("there").sh_ok("ping -c 1 -W 5 10.0.10.2").await;
    let said = said.expect("it answers");
    let time = said.split("time=").nth(1).and_then(|rest| rest.split(' ').next());
    let time: f64 = time.expect("a time").parse().expect("a number");
    assert!(time >= 600.0, "both ways 300 ms, but {time} ms:\n{said}");
    wire.set_impairment(Impairment::default());

    let ten = lab.machine("ten").expect("there");
    ten.power_cut().await.expect("cut");
    assert!(!pings(&lab, "tagger", "10.0.10.2").await, "a dead machine answered");
    ten.power_on().await.expect("on");
    ten.ready(BOOT).await.expect("booted again");
    assert!(ten.sh_ok("ip -4 addr show dev eth0").await.expect("runs").is_empty(), "RAM survived");
    lab.down().await.expect("down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_halted_and_reset_and_its_carrier_is_dropped() {
    let lab = Lab::builder("halts")
        .images(images())
        .wire("lan")
        .host("left", "lan", None)
        .host("right", "lan", None)
        .start()
        .await
        .expect("started");
    for (host, address) in [("left", "10.0.0.1/24"), ("right", "10.0.0.2/24")] {
        lab.host(host).expect("there").ready(BOOT).await.expect("booted");
        sh(&lab, host, &format!("ip link set eth0 up && ip addr add {address} dev eth0")).await;
    }
    pings_soon(&lab, "left", "10.0.0.2").await;

    let right = lab.machine("right").expect("there");
    right.pause().await.expect("halted");
    assert!(!pings(&lab, "left", "10.0.0.2").await, "a halted machine answered");
    right.resume().await.expect("goes on");
    pings_soon(&lab, "left", "10.0.0.2").await;

    let carrier = "cat /sys/class/net/eth0/carrier";
    right.set_carrier(NicId(0), false).await.expect("dropped");
    let gone = "for i in $(seq 50); do grep -q 0 /sys/class/net/eth0/carrier && exit 0; sleep 0.1; done; exit 1";
    sh(&lab, "right", gone).await;
    assert!(!pings(&lab, "left", "10.0.0.2").await, "a NIC without a carrier answered");
    right.set_carrier(NicId(0), true).await.expect("restored");
    pings_soon(&lab, "left", "10.0.0.2").await;
    assert_eq!(right.sh_ok(carrier).await.expect("read").trim(), "1");

    sh(&lab, "right", "touch /tmp/before").await;
    right.reset().await.expect("reset");
    // the command channel may still be the old kernel's for a moment
    let end = std::time::Instant::now() + BOOT;
    while right.sh("test ! -e /tmp/before").await.map_or(true, |output| !output.ok()) {
        assert!(std::time::Instant::now() < end, "it did not begin anew\n{}", lab.state().await);
    }
    lab.down().await.expect("down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nic_is_plugged_in_and_out_of_a_running_machine() {
    let lab = Lab::builder("hotplug")
        .images(images())
        .wire("lan")
        .host("a", "lan", None)
        .machine("b", MachineSpec::host())
        .start()
        .await
        .expect("started");
    for host in ["a", "b"] {
        lab.host(host).expect("there").ready(BOOT).await.expect("booted");
    }
    sh(&lab, "a", "ip link set eth0 up && ip addr add 10.0.0.1/24 dev eth0").await;
    let b = lab.machine("b").expect("there");
    let nic = NicSpec::on("lan".parse().expect("an id"));
    let mac = "02:00:00:00:00:77".parse().expect("a MAC");
    let id = b.plug_nic(mac, &nic, lab.wire("lan").expect("there")).await.expect("plugged in");
    let appears = "for i in $(seq 100); do grep -qs 02:00:00:00:00:77 /sys/class/net/*/address && \
                   exit 0; sleep 0.1; done; exit 1";
    sh(&lab, "b", appears).await;
    sh(&lab, "b", "ip link set eth0 up && ip addr add 10.0.0.2/24 dev eth0").await;
    pings_soon(&lab, "a", "10.0.0.2").await;
    b.unplug_nic(id).await.expect("unplugged");
    assert!(!pings(&lab, "a", "10.0.0.2").await, "an unplugged NIC answered");
    lab.down().await.expect("down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_link_leads_to_the_machine_and_nowhere_else() {
    let mac = "02:00:00:00:00:55".parse().expect("a MAC");
    let address = "10.255.0.5/24".parse().expect("an address");
    let control = Some(ControlSpec { address, mac, host_port: None });
    let lab = Lab::builder("control")
        .images(images())
        .machine("m", MachineSpec { control, ..MachineSpec::host() })
        .start()
        .await
        .expect("started");
    lab.host("m").expect("there").ready(BOOT).await.expect("booted");
    let nic = "$(basename $(dirname $(grep -l 02:00:00:00:00:55 /sys/class/net/*/address)))";
    sh(&lab, "m", &format!("ip addr add 10.255.0.5/24 dev {nic} && ip link set {nic} up")).await;
    sh(&lab, "m", "echo hello from m | nc -N -l 3922 > /tmp/heard 2>&1 & sleep 0").await;
    let listens =
        "for i in $(seq 100); do ss -ltn | grep -q :3922 && exit 0; sleep 0.1; done; exit 1";
    sh(&lab, "m", listens).await;

    let endpoint = lab.endpoint("m").expect("a control link");
    let said = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect_timeout(&endpoint, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stream, &mut said).map(|_| said)
    });
    let said = said.await.expect("a thread").expect("an answer");
    assert_eq!(said, "hello from m\n", "{}", lab.state().await);

    // this host listens on every address here; without the restriction the machine could reach it
    let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let out = format!("nc -z -w 3 10.255.0.1 {port}");
    let output = lab.host("m").expect("there").sh(&out).await.expect("nc runs");
    assert!(!output.ok(), "the machine reached this host through its control link");
    lab.down().await.expect("down");
}
