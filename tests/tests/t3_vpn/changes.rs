//! Ten thousand changes of rules beside a tunnel that carries traffic.

use serde_json::json;
use sluice_tests::cloud::single::Single;
use sluice_tests::tunnels::strongswan;

use super::sites::{BEHIND, KEY, connection, is, site, with_peer};
use super::world::World;

/// Forwards that come with one push and go with the next.
const FORWARDS: u16 = 1000;
const PUSHES: u16 = 10;

async fn tunnel(world: &World) -> (u64, u64, serde_json::Value) {
    let counters = world.service("ike").await.counters;
    let connection = world.connection("c-1").await;
    (counters["loads"], counters["initiations"], connection["tunnels"][0]["number"].clone())
}

/// No rekey, no loss, no reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_changes_of_rules_touch_no_tunnel() {
    let mut world = with_peer("vpn-changes", Single::direct()).await;
    let words = ("aes256-sha256-modp2048", "aes256-sha256");
    world.must(strongswan::start(&world.single.lab, "peer").await).await;
    let peer = site(2, words.0, words.1).swanctl();
    world.must(strongswan::load(&world.single.lab, "peer", &peer).await).await;
    let ike = json!({"encryption": "aes256", "hash": "sha256", "group": 14});
    let esp = json!({"encryption": "aes256", "hash": "sha256"});
    world.push(connection("v2", KEY, &ike, &esp), &[KEY]).await;
    world.connection_is("c-1", "connected", is("connected")).await;
    let before = tunnel(&world).await;
    let ping = format!("(ping -i 0.2 -W 5 -q {BEHIND} >/run/pinged 2>&1 </dev/null &)");
    world.done("vm1", &ping).await;
    for push in 0..PUSHES {
        world.forwards(if push % 2 == 0 { FORWARDS } else { 0 }).await;
    }
    world.done("vm1", "kill -INT $(pidof ping)").await;
    world.soon("vm1", "grep -q 'packet loss' /run/pinged").await;
    let pinged = world.done("vm1", "cat /run/pinged").await;
    assert!(pinged.contains(" 0% packet loss"), "{pinged}");
    assert_eq!(tunnel(&world).await, before);
    world.down().await;
}
