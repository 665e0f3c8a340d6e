//! Site-to-site: the router and a Debian machine with strongSwan.

use serde_json::{Value, json};
use sluice_lab::wire::Frame;
use sluice_tests::cloud::{PUBLIC, Shell as _};

use super::peer;
use super::world::{GUEST, ROUTER, World, digest, outside};

const KEY: &str = "a long pre-shared key";
/// The peer's address, and its network behind it.
const ADDRESS: &str = "198.51.100.20";
const BEHIND: &str = "172.16.1.1";

/// The router's side.
fn connection(version: &str, key: &str, ike: &Value, esp: &Value) -> Value {
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
fn swanctl(version: u8, ike: &str, esp: &str) -> String {
    format!(
        "connections {{\n r {{\n  version = {version}\n  local_addrs = {ADDRESS}\n  remote_addrs = {ROUTER}\n  \
         proposals = {ike}\n  local {{\n   auth = psk\n  }}\n  remote {{\n   auth = psk\n  }}\n  children {{\n   n {{\n    \
         local_ts = 172.16.1.0/24\n    remote_ts = 10.1.1.0/24\n    esp_proposals = {esp}\n   }}\n  }}\n }}\n}}\n\
         secrets {{\n ike-r {{\n  id = {ROUTER}\n  secret = \"{KEY}\"\n }}\n}}"
    )
}

fn modern() -> (Value, Value) {
    (
        json!({"encryption": "aes256", "hash": "sha256", "group": 14}),
        json!({"encryption": "aes256", "hash": "sha256", "pfs": 14}),
    )
}

async fn world(name: &str) -> World {
    let world = World::start(name, &["peer"], |lab| outside(lab, "peer", PUBLIC)).await;
    let up = format!(
        "ip link set lo up; ip addr add {ADDRESS}/24 dev eth0; ip addr add {BEHIND}/24 dev lo; ip link set eth0 up"
    );
    world.done("peer", &up).await;
    peer::start(&world, "peer").await;
    world
}

fn is(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |report| report["phase"] == phase
}

fn trouble(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |report| report["trouble"] == kind
}

async fn carries_both_ways(world: &World) {
    world.soon("vm1", &format!("ping -c 1 -W 3 {BEHIND}")).await;
    world.soon("peer", &format!("ping -c 1 -W 3 -I {BEHIND} {GUEST}")).await;
}

/// TCP in both directions, a mebibyte each.
async fn transfers_both_ways(world: &World) {
    let lab = &world.single.lab;
    for (from, to, address) in
        [("vm1", "peer", BEHIND.to_owned()), ("peer", "vm1", GUEST.to_string())]
    {
        world.done(to, "(nc -l -p 7000 | wc -c >/run/got) >/dev/null 2>&1 </dev/null &").await;
        world.soon(to, "ss -Hltn 'sport = :7000' | grep -q .").await;
        let source = if from == "peer" { format!("-s {BEHIND}") } else { String::new() };
        let send = format!("head -c 1048576 /dev/zero | nc -N {source} -w 30 {address} 7000");
        let sent = lab.sh(from, &send).await.is_ok_and(|output| output.ok());
        assert!(sent, "{}", world.logs().await);
        world.soon(to, "grep -qx 1048576 /run/got").await;
    }
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
    peer::load(&world, "peer", &swanctl(2, "aes256-sha256-modp2048", "aes256-sha256-modp2048"))
        .await;
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

    // new keys under way lose nothing
    let ping = format!("ping -i 0.2 -c 60 -W 5 -q {BEHIND}");
    let rekey = "for i in 1 2 3; do sleep 2; swanctl --rekey --child n >/dev/null; done; swanctl --rekey --ike r >/dev/null";
    let (pings, ()) = tokio::join!(world.done("vm1", &ping), async {
        world.done("peer", rekey).await;
    });
    assert!(pings.contains(" 0% packet loss"), "{pings}");

    // a peer that lost power: noticed, and begun anew as soon as it is back
    peer::kill(&world, "peer").await;
    peer::start(&world, "peer").await;
    peer::load(&world, "peer", &swanctl(2, "aes256-sha256-modp2048", "aes256-sha256-modp2048"))
        .await;
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
    peer::load(&world, "peer", &swanctl(0, good.0, good.1)).await;
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
    peer::load(&world, "peer", &swanctl(0, good.0, "aes256-sha256")).await;
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

/// A policy of IKE: version, its number, encryption, hash, group, the peer's words for it.
type Ike = (&'static str, u8, &'static str, &'static str, u8, &'static str);
/// A policy of ESP: encryption, hash, group of perfect forward secrecy (0: none), the peer's words for it.
type Esp = (&'static str, Option<&'static str>, u8, &'static str);

/// The guide's oldest first.
const ALGORITHMS: [(Ike, Esp); 5] = [
    (
        ("v1", 1, "3des", "md5", 2, "3des-md5-modp1024"),
        ("3des", Some("md5"), 2, "3des-md5-modp1024"),
    ),
    (
        ("v1", 1, "aes192", "sha1", 5, "aes192-sha1-modp1536"),
        ("aes192", Some("sha1"), 0, "aes192-sha1"),
    ),
    (
        ("v2", 2, "aes128", "sha1", 2, "aes128-sha1-modp1024"),
        ("aes128", Some("sha1"), 5, "aes128-sha1-modp1536"),
    ),
    (
        ("v2", 2, "aes256-gcm", "sha384", 20, "aes256gcm16-prfsha384-ecp384"),
        ("aes256-gcm", None, 31, "aes256gcm16-x25519"),
    ),
    (
        ("v1", 1, "aes256", "sha512", 16, "aes256-sha512-modp4096"),
        ("aes256", Some("sha512"), 21, "aes256-sha512-ecp521"),
    ),
];

/// The guide's algorithms and today's, version 1 and 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn algorithms_of_the_guide_and_of_today() {
    let mut world = world("vpn-algorithms").await;
    for (ike, esp) in ALGORITHMS {
        let (version, number, encryption, hash, group, ike) = ike;
        let (esp_encryption, esp_hash, pfs, esp) = esp;
        peer::load(&world, "peer", &swanctl(number, ike, esp)).await;
        let policy = json!({"encryption": encryption, "hash": hash, "group": group});
        let mut second = json!({"encryption": esp_encryption});
        if let Some(hash) = esp_hash {
            second["hash"] = hash.into();
        }
        if pfs != 0 {
            second["pfs"] = pfs.into();
        }
        world.push(connection(version, KEY, &policy, &second), &[KEY]).await;
        world.connection_is("c-1", ike, is("connected")).await;
        let report = world.connection("c-1").await;
        assert_eq!(report["ike-version"], number, "{report:#}");
        carries_both_ways(&world).await;
    }
    world.down().await;
}
