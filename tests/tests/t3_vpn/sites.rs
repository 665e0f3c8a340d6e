//! Site-to-site: the router and a Debian machine with strongSwan.

use serde_json::{Value, json};
use sluice_lab::spec::MachineSpec;
use sluice_lab::wire::Frame;
use sluice_tests::cloud::PUBLIC;
use sluice_tests::cloud::single::Single;
use sluice_tests::tunnels::strongswan::Site;
use sluice_tests::tunnels::{strongswan, transfer};

use super::keys::peer_asks_for_new_keys;
use super::world::{GUEST, ROUTER, World, digest, outside};

pub(crate) const KEY: &str = "a long pre-shared key";
/// The peer's address, and its network behind it.
pub(crate) const ADDRESS: &str = "198.51.100.20";
pub(crate) const BEHIND: &str = "172.16.1.1";

/// The router's side.
pub(crate) fn connection(version: &str, key: &str, ike: &Value, esp: &Value) -> Value {
    let mut ike = ike.clone();
    ike["version"] = version.into();
    json!({"allow_obsolete": true, "connections": [{
        "id": "c-1", "address": ROUTER, "local_networks": ["10.1.1.0/24"],
        "gateway": {
            "id": "office", "address": ADDRESS, "networks": ["172.16.1.0/24"], "psk": digest(key),
            "ike": ike, "esp": esp,
        },
    }]})
}

/// The peer's side.
pub(crate) fn site(version: u8, ike: &str, esp: &str) -> Site {
    Site {
        address: ADDRESS.parse().unwrap(),
        router: ROUTER,
        network: "172.16.1.0/24".to_owned(),
        remote: "10.1.1.0/24".to_owned(),
        version,
        ike: ike.to_owned(),
        esp: esp.to_owned(),
        key: KEY.to_owned(),
    }
}

fn swanctl(version: u8, ike: &str, esp: &str) -> String {
    site(version, ike, esp).swanctl()
}

fn modern() -> (Value, Value) {
    (
        json!({"encryption": "aes256", "hash": "sha256", "group": 14}),
        json!({"encryption": "aes256", "hash": "sha256", "pfs": 14}),
    )
}

async fn world(name: &str) -> World {
    let world = with_peer(name, Single::direct()).await;
    world.must(strongswan::start(&world.single.lab, "peer").await).await;
    world
}

/// A router that is this machine, and a peer that has its addresses.
pub(crate) async fn with_peer(name: &str, router: MachineSpec) -> World {
    let world = World::start(name, router, &["peer"], |lab| outside(lab, "peer", PUBLIC)).await;
    let up = format!(
        "ip link set lo up; ip addr add {ADDRESS}/24 dev eth0; ip addr add {BEHIND}/24 dev lo; ip link set eth0 up"
    );
    world.done("peer", &up).await;
    world
}

async fn load(world: &World, swanctl: &str) {
    world.must(strongswan::load(&world.single.lab, "peer", swanctl).await).await;
}

pub(crate) fn is(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |report| report["phase"] == phase
}

pub(crate) fn trouble(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |report| report["trouble"] == kind
}

pub(crate) async fn carries_both_ways(world: &World) {
    world.soon("vm1", &format!("ping -c 1 -W 3 {BEHIND}")).await;
    world.soon("peer", &format!("ping -c 1 -W 3 -I {BEHIND} {GUEST}")).await;
}

/// TCP in both directions, a mebibyte each.
pub(crate) async fn transfers_both_ways(world: &World) {
    let lab = &world.single.lab;
    world.must(transfer(lab, "vm1", "peer", BEHIND, 7000, "").await).await;
    let source = format!("-s {BEHIND}");
    world.must(transfer(lab, "peer", "vm1", &GUEST.to_string(), 7000, &source).await).await;
}

/// One tunnel through its life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_carries_stays_and_comes_back() {
    let mut world = world("vpn-site").await;
    let (ike, esp) = modern();
    let mut capture = world.single.lab.wire(PUBLIC).unwrap().capture();
    // before the peer is there packets for it are refused, and do not leave in clear
    world.push(connection("v2", KEY, &ike, &esp), &[KEY]).await;
    world.fails("vm1", &format!("ping -c 2 -W 1 {BEHIND}")).await;
    load(&world, &swanctl(2, "aes256-sha256-modp2048", "aes256-sha256-modp2048")).await;
    world.connection_is("c-1", "connected", is("connected")).await;
    carries_both_ways(&world).await;
    transfers_both_ways(&world).await;
    let clear = capture.drain().iter().filter(|frame| in_clear(&frame.bytes)).count();
    assert_eq!(clear, 0, "packets of the tunnel in clear on the public wire");
    // PFS shows with the first new keys, which the router asks for by itself
    world.connection_is("c-1", "PFS proved", |report| report["pfs"] == "proved").await;

    // changes of other things load nothing and touch no association
    let before = world.service("ike").await.counters;
    for name in ["vm2a", "vm2b", "vm2c"] {
        world.change_a_guest(name).await;
    }
    let after = world.service("ike").await.counters;
    assert_eq!((after["loads"], after["initiations"]), (before["loads"], before["initiations"]));
    carries_both_ways(&world).await;

    peer_asks_for_new_keys(&world, 0).await;

    // a peer that lost power: noticed, and begun anew as soon as it is back
    world.must(strongswan::kill(&world.single.lab, "peer").await).await;
    world.must(strongswan::start(&world.single.lab, "peer").await).await;
    load(&world, &swanctl(2, "aes256-sha256-modp2048", "aes256-sha256-modp2048")).await;
    world
        .connection_is("c-1", "begun anew", |report| {
            report["phase"] == "connected" && report["tunnels"][0]["age"].as_u64() < Some(60)
        })
        .await;
    carries_both_ways(&world).await;

    // and without the connection nothing is left
    world.push(json!({}), &[]).await;
    world.soon("peer", "swanctl --list-sas | grep -q . && exit 1 || exit 0").await;
    world.fails("vm1", &format!("ping -c 2 -W 1 {BEHIND}")).await;
    world.down().await;
}

/// ICMP or TCP between the two networks outside of ESP.
fn in_clear(frame: &[u8]) -> bool {
    let Some(frame) = Frame::parse(frame) else { return false };
    let packet = frame.payload();
    let inside = |at: usize| {
        packet.get(at..at + 2) == Some(&[10, 1]) || packet.get(at..at + 2) == Some(&[172, 16])
    };
    frame.ethertype() == 0x0800 && (inside(12) || inside(16))
}

/// Each way in which two ends can differ has its own name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ends_differ_in_is_named() {
    let mut world = world("vpn-differ").await;
    let (ike, esp) = modern();
    let good = ("aes256-sha256-modp2048", "aes256-sha256-modp2048");
    load(&world, &swanctl(0, good.0, good.1)).await;
    world.push(connection("v2", "another key", &ike, &esp), &["another key"]).await;
    world.connection_is("c-1", "authentication", trouble("authentication")).await;
    world.push(connection("v1", "another key", &ike, &esp), &["another key"]).await;
    world.connection_is("c-1", "authentication, v1", trouble("authentication")).await;
    let other = json!({"encryption": "aes128", "hash": "sha1", "group": 15});
    world.push(connection("v2", KEY, &other, &esp), &[KEY]).await;
    world.connection_is("c-1", "IKE proposal", trouble("ike-proposal")).await;
    let other = json!({"encryption": "aes128", "hash": "sha1"});
    world.push(connection("v2", KEY, &ike, &other), &[KEY]).await;
    world.connection_is("c-1", "ESP proposal", trouble("esp-proposal")).await;
    let mut narrow = connection("v2", KEY, &ike, &esp);
    narrow["connections"][0]["gateway"]["networks"] = json!(["172.17.0.0/16"]);
    world.push(narrow, &[KEY]).await;
    world.connection_is("c-1", "networks", trouble("networks")).await;
    // the peer has no PFS: the tunnel stands, and yet it is said
    load(&world, &swanctl(0, good.0, "aes256-sha256")).await;
    world.push(connection("v2", KEY, &ike, &esp), &[KEY]).await;
    world
        .connection_is("c-1", "PFS refused", |report| {
            report["phase"] == "connected" && report["pfs"] == "refused"
        })
        .await;
    carries_both_ways(&world).await;
    world.done("peer", "kill -9 $(pidof charon-systemd)").await;
    world.push(connection("v2", "yet another key", &ike, &esp), &["yet another key"]).await;
    world.connection_is("c-1", "no answer", trouble("no-answer")).await;
    world.down().await;
}
