//! New keys under traffic, asked for by either end.

use std::time::Duration;

use serde_json::json;
use sluice_lab::spec::MachineSpec;
use sluice_tests::cloud::Shell as _;
use sluice_tests::cloud::single::Single;
use sluice_tests::tunnels::strongswan;

use super::sites::{BEHIND, KEY, connection, is, site, with_peer};
use super::world::{self, World};

/// Sets of keys that the peer asks for in [`peer_asks_for_new_keys`].
const ASKED: u64 = 3;
/// One packet for each of them: libreswan sends by the new keys before its answer has reached the peer.
pub(crate) const LOST_BY_LIBRESWAN: u64 = ASKED;
/// Lifetime of the second phase, the shortest that there is, and how long pings pass: two sets of new keys at least.
const LIFETIME_S: u64 = 60;
const PINGED_S: u64 = 130;

/// What became of pings from behind the router.
struct Pinged {
    sent: u64,
    lost: u64,
    /// Packets at the peer meanwhile that were encrypted by keys which it does not know.
    unknown: u64,
}

/// Five pings a second.
async fn pinged(world: &World, seconds: u64) -> Pinged {
    let before = unknown(world).await;
    let line = format!("ping -i 0.2 -c {} -W 5 -q {BEHIND} || true", seconds * 5);
    let bound = Duration::from_secs(seconds * 2 + 60);
    let said = world.must(world.single.lab.within("vm1", &line, bound).await).await.stdout;
    let count = |what: &str| -> u64 {
        let words: Vec<_> = said.split([' ', ',', '\n']).filter(|word| !word.is_empty()).collect();
        // "60 packets transmitted, 59 received"
        let before = words.iter().position(|word| *word == what).and_then(|at| at.checked_sub(1));
        before.and_then(|at| words[at].parse().ok()).unwrap_or_else(|| panic!("{what}: {said}"))
    };
    let (sent, received) = (count("packets"), count("received"));
    Pinged { sent, lost: sent - received, unknown: unknown(world).await - before }
}

async fn unknown(world: &World) -> u64 {
    let line = "awk '$1 == \"XfrmInNoStates\" { print $2 }' /proc/net/xfrm_stat";
    world.done("peer", line).await.trim().parse().unwrap()
}

/// The peer asks three times for new keys of the second phase and once for those of the first, while pings pass. At most `most`
/// of them are lost, and each of those because the peer did not know the new keys yet.
pub(crate) async fn peer_asks_for_new_keys(world: &World, most: u64) {
    let rekey = format!(
        "for i in $(seq {ASKED}); do sleep 2; swanctl --rekey --child n >/dev/null; done; \
         swanctl --rekey --ike r >/dev/null"
    );
    let (Pinged { sent, lost, unknown }, ()) = tokio::join!(pinged(world, 12), async {
        world.done("peer", &rekey).await;
    });
    eprintln!(
        "the peer asked: {lost} of {sent} pings lost, {unknown} by keys that it did not know"
    );
    assert!(lost <= most && lost <= unknown, "{lost} of {sent} lost\n{}", world.logs().await);
}

/// A router that asks for new keys by itself, before the peer's turn comes: no ping is lost.
async fn asks_by_itself(name: &str, router: MachineSpec) {
    let mut world = with_peer(name, router).await;
    world.must(strongswan::start(&world.single.lab, "peer").await).await;
    for (version, number, asks) in
        [("v2", 2, "CREATE_CHILD_SA request"), ("v1", 1, "QUICK_MODE request")]
    {
        let peer = site(number, "aes256-sha256-modp2048", "aes256-sha256-modp2048").swanctl();
        world.must(strongswan::load(&world.single.lab, "peer", &peer).await).await;
        let ike = json!({"encryption": "aes256", "hash": "sha256", "group": 14});
        let esp = json!({
            "encryption": "aes256", "hash": "sha256", "pfs": 14, "lifetime_seconds": LIFETIME_S,
        });
        world.push(connection(version, KEY, &ike, &esp), &[KEY]).await;
        world
            .connection_is("c-1", version, |report| {
                is("connected")(report) && report["ike-version"] == number
            })
            .await;
        let count = format!("grep -c 'parsed {asks}' /run/charon.log || true");
        let asked = || async { world.done("peer", &count).await.trim().parse::<u64>().unwrap() };
        let before = asked().await;
        let Pinged { sent, lost, .. } = pinged(&world, PINGED_S).await;
        let asked = asked().await - before;
        eprintln!("{version}: {lost} of {sent} pings lost, new keys asked for {asked} times");
        assert_eq!(lost, 0, "{version}: of {sent}\n{}", world.logs().await);
        assert!(asked >= 2, "{version}: {asked} times\n{}", world.logs().await);
    }
    world.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strongswan_asks_by_itself() {
    asks_by_itself("vpn-keys-s", Single::direct()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libreswan_asks_by_itself() {
    asks_by_itself("vpn-keys-l", world::libreswan()).await;
}
