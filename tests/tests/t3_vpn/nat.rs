//! A peer behind NAT, known by its id: two networks behind it, one of which it lets go.

use serde_json::{Value, json};
use sluice_lab::spec::{MachineSpec, NicSpec};
use sluice_tests::cloud::PUBLIC;
use sluice_tests::cloud::single::Single;
use sluice_tests::tunnels::strongswan;

use super::world::{GUEST, ROUTER, World, digest, outside};

const KEY: &str = "the key of the branch";
const HOME: &str = "home";
const ID: &str = "branch.example";
/// What the peer has, an address in each of its networks.
const BEHIND: [&str; 2] = ["172.16.1.1", "172.16.2.1"];

/// The router's side: nobody knows from where it comes.
fn connection() -> Value {
    let policy = json!({"encryption": "aes256", "hash": "sha256", "group": 14, "version": "v2"});
    json!({"connections": [{
        "id": "c-1", "address": ROUTER, "local_networks": ["10.1.1.0/24"], "passive": true,
        "gateway": {
            "id": "branch", "peer_id": ID, "networks": ["172.16.1.0/24", "172.16.2.0/24"],
            "psk": digest(KEY), "ike": policy, "esp": {"encryption": "aes256", "hash": "sha256"},
        },
    }]})
}

/// The peer's, under this id.
fn swanctl(id: &str) -> String {
    let child = |name: &str, network: &str| {
        format!(
            "   {name} {{\n    local_ts = {network}\n    remote_ts = 10.1.1.0/24\n    esp_proposals = aes256-sha256\n   }}\n"
        )
    };
    let children = child("n", "172.16.1.0/24") + &child("m", "172.16.2.0/24");
    format!(
        "connections {{\n r {{\n  version = 2\n  remote_addrs = {ROUTER}\n  proposals = aes256-sha256-modp2048\n  \
         local {{\n   id = {id}\n   auth = psk\n  }}\n  remote {{\n   id = {ROUTER}\n   auth = psk\n  }}\n  \
         children {{\n{children}  }}\n }}\n}}\nsecrets {{\n ike-r {{\n  id = {ROUTER}\n  secret = \"{KEY}\"\n }}\n}}"
    )
}

async fn world() -> World {
    let world = World::start("vpn-nat", Single::direct(), &["nat", "peer"], |lab| {
        let nic = |wire: &str| NicSpec::on(wire.parse().unwrap());
        let nat = MachineSpec::host().nic(nic(PUBLIC)).nic(nic(HOME));
        outside(lab.wire(HOME).machine("nat", nat), "peer", HOME)
    })
    .await;
    let nat = "ip link set lo up; ip addr add 198.51.100.30/24 dev eth0; ip link set eth0 up; \
        ip addr add 192.168.7.1/24 dev eth1; ip link set eth1 up; sysctl -qw net.ipv4.ip_forward=1; \
        nft 'add table ip n; add chain ip n p { type nat hook postrouting priority 100; }; add rule ip n p oifname eth0 masquerade'";
    world.done("nat", nat).await;
    let peer = format!(
        "ip link set lo up; ip addr add 192.168.7.11/24 dev eth0; ip link set eth0 up; \
         ip route add default via 192.168.7.1; ip addr add {}/24 dev lo; ip addr add {}/24 dev lo",
        BEHIND[0], BEHIND[1]
    );
    world.done("peer", &peer).await;
    world
}

async fn load(world: &World, id: &str) {
    let loaded = strongswan::load(&world.single.lab, "peer", &swanctl(id)).await;
    world.must(loaded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_behind_nat_is_known_by_its_id() {
    let mut world = world().await;
    world.push(connection(), &[KEY]).await;
    let phase = |wanted: &'static str| move |report: &Value| report["phase"] == wanted;
    world.connection_is("c-1", "waiting for the peer", phase("waiting")).await;
    world.must(strongswan::start(&world.single.lab, "peer").await).await;
    // another id has no connection, though it has the key
    load(&world, "other.example").await;
    world.fails("peer", "timeout 30 swanctl --initiate --child n").await;
    load(&world, ID).await;
    world.soon("peer", "swanctl --initiate --child n").await;
    world.connection_is("c-1", "one of two networks", phase("partly")).await;
    world.soon("peer", "swanctl --initiate --child m").await;
    let known = |report: &Value| {
        report["phase"] == "connected" && report["nat"] == true && report["peer-id"] == ID
    };
    world.connection_is("c-1", "the peer behind NAT", known).await;
    for address in BEHIND {
        world.soon("vm1", &format!("ping -c 1 -W 3 {address}")).await;
        world.soon("peer", &format!("ping -c 1 -W 3 -I {address} {GUEST}")).await;
    }
    assert_eq!(up(&world).await, Some(1));
    // one network is let go, and the other stays
    world.done("peer", "swanctl --terminate --child m >/dev/null").await;
    world.connection_is("c-1", "one of two networks again", phase("partly")).await;
    world.soon("vm1", &format!("ping -c 1 -W 3 {}", BEHIND[0])).await;
    world.fails("vm1", &format!("ping -c 2 -W 1 {}", BEHIND[1])).await;
    assert_eq!(up(&world).await, Some(0));
    world.down().await;
}

/// What the router's metrics say of the tunnel.
async fn up(world: &World) -> Option<u64> {
    let get = axum::http::Method::GET;
    let said = world.single.client.raw(get, "/metrics", Vec::new(), super::world::BOOT).await;
    let text = String::from_utf8_lossy(&said.unwrap().1).into_owned();
    let mut lines = text.lines().filter(|line| line.starts_with("sluice_service_events"));
    let line = lines.find(|line| line.contains("\"connection_up:s2s-c-1\""))?;
    line.rsplit_once(' ')?.1.parse().ok()
}
