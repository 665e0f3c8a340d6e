//! The namespace harness itself: if it lies, every test with real packets lies.

#![allow(clippy::expect_used)] // a helper of a test fails the test

use std::time::Duration;

use sluice_api::types::{InterfaceAddress, LinkName, MacAddr, VlanId};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, NetnsError, Topology, VethEnd};
use sluice_lab::wire::{Impairment, PortIo, PortMode, PortSettings, Wire};
use sluice_sys::tap::TapDevice;

const BOUND: Duration = Duration::from_secs(10);

fn link(name: &str) -> LinkName {
    name.parse().expect("a link name")
}

fn address(text: &str) -> InterfaceAddress {
    text.parse().expect("an address")
}

fn pair() -> (Topology, Namespace, Namespace) {
    let mut topology = Topology::new().expect("root");
    let left = topology.namespace("left").expect("a namespace");
    let right = topology.namespace("right").expect("a namespace");
    let mac: MacAddr = "02:00:00:00:00:01".parse().expect("a MAC");
    let ends = [VethEnd::new(&left, link("eth0")).mac(mac), VethEnd::new(&right, link("eth0"))];
    topology.veth(&ends[0], &ends[1]).expect("a pair");
    left.address(&link("eth0"), address("10.9.0.1/24")).expect("an address");
    right.address(&link("eth0"), address("10.9.0.2/24")).expect("an address");
    (topology, left, right)
}

fn ping(from: &Namespace, to: &str) -> bool {
    from.command(["ping", "-c1", "-W1", to]).run().expect("ping runs").ok()
}

#[test]
fn packets_cross_a_pair_with_the_asked_for_mac() {
    let (_topology, left, right) = pair();
    assert!(ping(&left, "10.9.0.2"));
    let neighbours = right.ip(["neigh"]).expect("neighbours");
    assert!(neighbours.contains("02:00:00:00:00:01"), "{neighbours}");
}

#[test]
fn everything_is_gone_after_a_panic() {
    let name = std::panic::catch_unwind(|| {
        let (_topology, left, _right) = pair();
        std::panic::panic_any(left.full_name().to_owned());
    })
    .expect_err("it panicked");
    let name = name.downcast::<String>().expect("the name");
    assert!(!std::path::Path::new("/run/netns").join(name.as_str()).exists());
}

#[test]
fn a_command_that_runs_too_long_is_killed_and_reported() {
    let (_topology, left, _right) = pair();
    let slow = left.sh("echo begun; exec sleep 60").timeout(Duration::from_millis(300));
    let error = slow.run().expect_err("too long");
    assert!(matches!(&error, NetnsError::TimedOut { said, .. } if said == "begun"), "{error}");
}

#[test]
fn a_failing_command_says_why() {
    let (_topology, left, _right) = pair();
    let error = left.sh("echo no such thing >&2; exit 3").check().expect_err("it fails");
    let text = error.to_string();
    assert!(text.contains("ended with 3: no such thing"), "{text}");
}

#[test]
fn a_process_is_heard_and_ends_with_its_handle() {
    let (_topology, left, _right) = pair();
    let mut process = left.spawn(["sh", "-c", "echo ready; exec sleep 60"]).expect("started");
    process.says("ready", BOUND).expect("heard");
    let proc = std::path::PathBuf::from(format!("/proc/{}", process.pid()));
    assert!(proc.exists());
    drop(process);
    assert!(!proc.exists());
}

#[test]
fn a_process_that_ends_early_is_noticed_at_once() {
    let (_topology, left, _right) = pair();
    let mut process = left.spawn(["sh", "-c", "echo broken config; exit 1"]).expect("started");
    let error = process.says("ready", Duration::from_mins(1)).expect_err("it ended");
    assert!(error.to_string().contains("broken config"), "{error}");
}

#[test]
fn async_code_runs_inside_a_namespace() {
    let (_topology, left, right) = pair();
    let listener = left
        .enter(|| std::net::TcpListener::bind("10.9.0.1:7000"))
        .expect("entered")
        .expect("bound to an address that only the namespace has");
    let answer = right
        .enter_async(|| async { tokio::net::TcpStream::connect("10.9.0.1:7000").await.map(drop) })
        .expect("entered");
    answer.expect("connected");
    assert!(listener.accept().is_ok());
    assert!(std::net::TcpListener::bind("10.9.0.1:7000").is_err(), "we are still outside");
}

#[test]
fn programs_in_a_namespace_read_its_resolv_conf() {
    let (_topology, left, _right) = pair();
    left.resolv_conf("nameserver 10.9.0.2\n").expect("written");
    let seen = left.command(["cat", "/etc/resolv.conf"]).check().expect("read");
    assert_eq!(seen, "nameserver 10.9.0.2\n");
}

/// Two namespaces on access ports of one wire and a third in another VLAN.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_join_vlans_of_a_wire_through_tap_devices() {
    let mut topology = Topology::new().expect("root");
    let wire = Wire::new("trunk", Impairment::default(), 0).expect("in a runtime");
    let mut join = |name: &str, vlan: u64, ip: &str| {
        let namespace = topology.namespace(name).expect("a namespace");
        let tap = namespace.enter(|| TapDevice::open("eth0")).expect("entered").expect("a TAP");
        let mode = PortMode::Access(VlanId::try_from(vlan).expect("a VLAN"));
        let settings = PortSettings { mode, ..PortSettings::default() };
        wire.add_port(name, settings, PortIo::tap(tap).expect("a port"));
        namespace.address(&link("eth0"), address(ip)).expect("an address");
        namespace.up(&link("eth0")).expect("up");
        namespace
    };
    let one = join("one", 10, "10.9.0.1/24");
    let _two = join("two", 10, "10.9.0.2/24");
    let _other = join("other", 20, "10.9.0.3/24");
    tokio::task::spawn_blocking(move || {
        Wait::until(BOUND, "a ping within VLAN 10", || ping(&one, "10.9.0.2")).expect("same VLAN");
        assert!(!ping(&one, "10.9.0.3"), "VLAN 20 answered VLAN 10");
        wire.cut();
        assert!(!ping(&one, "10.9.0.2"), "a cut wire carried a ping");
        wire.heal();
        Wait::until(BOUND, "a ping after healing", || ping(&one, "10.9.0.2")).expect("healed");
    })
    .await
    .expect("the pings");
}
