//! Every algorithm, with either engine at either end.

use serde_json::{Value, json};
use sluice_tests::cloud::single::Single;
use sluice_tests::tunnels::{libreswan, strongswan};

use super::keys::{LOST_BY_LIBRESWAN, peer_asks_for_new_keys};
use super::sites::{
    BEHIND, KEY, carries_both_ways, connection, is, site, transfers_both_ways, trouble, with_peer,
};
use super::world::{self, GUEST, World};

/// Both phases of a tunnel: version of IKE; encryption, hash and group of the first; encryption, hash and group of the
/// second. Group 0 is none.
pub(crate) type Row = (u8, &'static str, &'static str, u8, &'static str, Option<&'static str>, u8);

/// The guide's first; together they have every value at least once.
pub(crate) const ROWS: [Row; 12] = [
    (1, "3des", "md5", 2, "3des", Some("md5"), 2),
    (1, "aes192", "sha1", 5, "aes192", Some("sha1"), 0),
    (2, "aes128", "sha1", 2, "aes128", Some("sha1"), 5),
    (1, "3des", "md5", 5, "3des", Some("md5"), 5),
    (1, "aes256", "sha1", 14, "aes256", Some("sha1"), 14),
    (1, "aes256", "sha512", 16, "aes256", Some("sha512"), 21),
    (2, "aes256-gcm", "sha384", 20, "aes256-gcm", None, 31),
    (2, "aes128-gcm", "sha256", 19, "aes128-gcm", None, 19),
    (2, "aes256", "sha256", 0, "aes256", Some("sha384"), 15),
    (2, "aes192", "sha384", 17, "aes128", Some("sha256"), 18),
    (2, "aes256", "sha512", 31, "aes256", Some("sha1"), 0),
    (2, "aes128", "sha256", 21, "aes192", Some("sha256"), 20),
];

/// Who is at an end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Strongswan,
    Libreswan,
}

impl Daemon {
    /// libreswan is built without group 2, and IKEv1 has no groups of elliptic curves for tunnels in it.
    fn can(self, row: &Row) -> bool {
        let (version, _, _, group, _, _, pfs) = *row;
        self == Self::Strongswan || (group != 2 && pfs != 2 && (version == 2 || pfs < 19))
    }
}

/// True for rows that libreswan has.
pub(crate) fn by_libreswan(row: &Row) -> bool {
    Daemon::Libreswan.can(row)
}

/// The router's side, by names of the configuration.
fn ours(row: &Row) -> (Value, Value) {
    let (_, encryption, hash, group, esp, esp_hash, pfs) = *row;
    let mut first = json!({"encryption": encryption, "hash": hash});
    let mut second = json!({"encryption": esp});
    if group != 0 {
        first["group"] = group.into();
    }
    if let Some(hash) = esp_hash {
        second["hash"] = hash.into();
    }
    if pfs != 0 {
        second["pfs"] = pfs.into();
    }
    (first, second)
}

/// The peer's, in strongSwan's words.
fn swan(row: &Row) -> (String, String) {
    let (_, encryption, hash, group, esp, esp_hash, pfs) = *row;
    let cipher = |name: &str| name.replace("-gcm", "gcm16");
    let prf = if encryption.ends_with("-gcm") { "prf" } else { "" };
    let first = format!("{}-{prf}{hash}-{}", cipher(encryption), swan_group(group));
    let parts = [Some(cipher(esp)), esp_hash.map(str::to_owned)];
    let pfs = (pfs != 0).then(|| swan_group(pfs).to_owned());
    let second: Vec<String> = parts.into_iter().chain([pfs]).flatten().collect();
    (first, second.join("-"))
}

/// The router that names no group takes any good one.
fn swan_group(group: u8) -> &'static str {
    match group {
        2 => "modp1024",
        5 => "modp1536",
        15 => "modp3072",
        16 => "modp4096",
        17 => "modp6144",
        18 => "modp8192",
        19 => "ecp256",
        20 => "ecp384",
        21 => "ecp521",
        31 => "x25519",
        _ => "modp2048",
    }
}

/// The same in libreswan's.
fn libre(row: &Row) -> (String, String) {
    let (_, encryption, hash, group, esp, esp_hash, pfs) = *row;
    let cipher = |name: &str| match name.strip_suffix("-gcm") {
        Some(aes) => aes.replace("aes", "aes_gcm"),
        None => name.to_owned(),
    };
    let hash_of = |name: &str| match name.strip_prefix("sha").filter(|bits| *bits != "1") {
        Some(bits) => format!("sha2_{bits}"),
        None => name.to_owned(),
    };
    let group = if group == 0 { 14 } else { group };
    let first = format!("{}-{};dh{group}", cipher(encryption), hash_of(hash));
    let hash = esp_hash.map(|hash| format!("-{}", hash_of(hash))).unwrap_or_default();
    let pfs = if pfs == 0 { String::new() } else { format!(";dh{pfs}") };
    (first, format!("{}{hash}{pfs}", cipher(esp)))
}

async fn load(world: &World, peer: Daemon, row: &Row) {
    let lab = &world.single.lab;
    let loaded = match peer {
        Daemon::Strongswan => {
            let (ike, esp) = swan(row);
            strongswan::load(lab, "peer", &site(row.0, &ike, &esp).swanctl()).await
        }
        Daemon::Libreswan => {
            let (ike, esp) = libre(row);
            let site = site(row.0, "", "");
            libreswan::site(lab, "peer", &site, (&ike, &esp), row.6 != 0, "").await
        }
    };
    world.must(loaded).await;
}

async fn start(world: &World, peer: Daemon) {
    let lab = &world.single.lab;
    let started = match peer {
        Daemon::Strongswan => strongswan::start(lab, "peer").await,
        Daemon::Libreswan => {
            // pluto makes no routes
            world.done("peer", "ip route add 10.1.1.0/24 dev eth0 src 172.16.1.1").await;
            libreswan::start(lab, "peer").await
        }
    };
    world.must(started).await;
}

fn pushed(row: &Row, key: &str) -> Value {
    let (first, second) = ours(row);
    connection(if row.0 == 1 { "v1" } else { "v2" }, key, &first, &second)
}

/// Each row that both ends have carries pings and TCP, both ways.
async fn rows(world: &mut World, router: Daemon, peer: Daemon) {
    start(world, peer).await;
    let both = |row: &&Row| router.can(row) && peer.can(row);
    let mut before = Value::Null;
    for row in ROWS.iter().filter(both) {
        eprintln!("{row:?}");
        load(world, peer, row).await;
        world.push(pushed(row, KEY), &[KEY]).await;
        // a report is some seconds old: of this row is one with another tunnel than before
        let of_this_row = |report: &Value| {
            let number = &report["tunnels"][0]["number"];
            let another = number.is_u64() && *number != before;
            report["phase"] == "connected" && report["ike-version"] == row.0 && another
        };
        world.connection_is("c-1", &format!("{row:?}"), of_this_row).await;
        carries_both_ways(world).await;
        transfers_both_ways(world).await;
        before = world.connection("c-1").await["tunnels"][0]["number"].clone();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strongswan_to_strongswan() {
    let mut world = with_peer("vpn-rows", Single::direct()).await;
    rows(&mut world, Daemon::Strongswan, Daemon::Strongswan).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strongswan_to_libreswan() {
    let mut world = with_peer("vpn-rows-sl", Single::direct()).await;
    rows(&mut world, Daemon::Strongswan, Daemon::Libreswan).await;
    let modern = &ROWS[11];
    world.push(pushed(modern, "another key"), &["another key"]).await;
    world.connection_is("c-1", "another key", trouble("authentication")).await;
    a_peer_that_cuts_digests_is_named(&mut world).await;
    world.down().await;
}

/// It agrees on SHA-256 and sends 96 of the 128 bits: the tunnel stands and nothing comes through.
async fn a_peer_that_cuts_digests_is_named(world: &mut World) {
    let row = (2, "aes256", "sha256", 14, "aes256", Some("sha256"), 0);
    let (site, (ike, esp)) = (site(2, "", ""), libre(&row));
    let more = "\tsha2-truncbug=yes\n";
    let lab = &world.single.lab;
    let loaded = libreswan::site(lab, "peer", &site, (&ike, &esp), false, more).await;
    world.must(loaded).await;
    world.push(pushed(&row, KEY), &[KEY]).await;
    world.connection_is("c-1", "a tunnel", is("connected")).await;
    let ping = format!("(ping -i 1 -w 60 -I {BEHIND} {GUEST} >/dev/null 2>&1 </dev/null &)");
    world.done("peer", &ping).await;
    world.connection_is("c-1", "integrity", trouble("integrity")).await;
    assert_eq!(world.connection("c-1").await["phase"], "connected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libreswan_to_strongswan() {
    let mut world = with_peer("vpn-rows-ls", world::libreswan()).await;
    rows(&mut world, Daemon::Libreswan, Daemon::Strongswan).await;
    peer_asks_for_new_keys(&world, LOST_BY_LIBRESWAN).await;
    // what the engine of this image cannot do is refused by its name, and what was in force stays
    let refused = world.refused(pushed(&ROWS[2], KEY), &[KEY]).await;
    assert!(refused.contains("libreswan cannot do group 2"), "{refused}");
    carries_both_ways(&world).await;
    let modern = &ROWS[11];
    world.push(pushed(modern, "another key"), &["another key"]).await;
    world.connection_is("c-1", "another key", trouble("authentication")).await;
    let other = (2, "aes128", "sha1", 15, "aes128", Some("sha1"), 0);
    world.push(pushed(&other, KEY), &[KEY]).await;
    world.connection_is("c-1", "IKE proposal", trouble("ike-proposal")).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libreswan_to_libreswan() {
    let mut world = with_peer("vpn-rows-ll", world::libreswan()).await;
    rows(&mut world, Daemon::Libreswan, Daemon::Libreswan).await;
    world.down().await;
}
