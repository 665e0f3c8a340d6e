//! Two of our routers against each other, one of each flavour, from the manager: two VPCs whose tiers have no running guest yet,
//! every algorithm that both engines have, and either side's loss of power.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_lab::spec::{Firmware, LabSpec};
use sluice_lab::{Lab, Wait};
use sluice_tests::cloud::{Cloud, Shell as _, View, guest};
use sluice_tests::tunnels::{self, transfer};

use super::rows::{ROWS, Row, by_libreswan};
use super::world::{self, BOOT};

/// The two VPCs; tunnels end at 198.51.100.11 and at 198.51.100.13.
const CLOUD: &str = include_str!("two-vpcs.toml");
/// A connection that lost its other end has it again within this, dead peer detection included.
const AGAIN: Duration = Duration::from_mins(5);
const KEY: &str = "a key of two VPCs";
const IN_SYNC_S: u32 = 300;
/// Segments that fit into ESP; a guest's NIC alone would have it say 1460.
const SEGMENT: u32 = 1420;

/// A VPC's end: its router, guest, address of tunnels and network.
struct End {
    name: &'static str,
    router: &'static str,
    guest: &'static str,
    address: &'static str,
    network: &'static str,
}

const ENDS: [End; 2] = [
    End {
        name: "one",
        router: "r-1",
        guest: "web1",
        address: "198.51.100.11",
        network: "10.0.0.0/16",
    },
    End {
        name: "two",
        router: "r-2",
        guest: "app1",
        address: "198.51.100.13",
        network: "10.2.0.0/16",
    },
];

struct World {
    cloud: Cloud,
    view: View,
    lab: Lab,
    key: String,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let description = folder.path().join("two-vpcs.toml");
        std::fs::write(&description, CLOUD).unwrap();
        let free = "127.0.0.1:0".parse().unwrap();
        let cloud = Cloud::start(folder.path(), &description, free).await.unwrap();
        let key = cloud.file("key", &format!("{KEY}\n")).unwrap();
        let spec = cloud.lab("vpn-routers", Firmware::Direct).unwrap();
        let lab = Lab::start(with_libreswan(spec)).await.unwrap();
        let view = cloud.view().unwrap();
        let key = key.to_str().unwrap().to_owned();
        let world = Self { cloud, view, lab, key, _folder: folder };
        for End { router, .. } in &ENDS {
            let endpoint = world.lab.endpoint(router).unwrap();
            world.cloud.endpoint(router, endpoint).unwrap();
        }
        world.in_sync().await;
        world
    }

    async fn in_sync(&self) {
        let synced = tokio::task::block_in_place(|| self.cloud.in_sync(IN_SYNC_S));
        self.must(synced).await;
    }

    async fn must<T>(&self, done: anyhow::Result<T>) -> T {
        match done {
            Ok(done) => done,
            Err(error) => panic!("{error:#}\n{}", self.state().await),
        }
    }

    /// Everything that a failing test must print.
    async fn state(&self) -> String {
        let mut said = format!("{}\n{}\n", self.cloud.log(), self.lab.state().await);
        for End { router, .. } in &ENDS {
            for words in [vec!["report", *router, "ike"], vec!["logs", *router]] {
                let words = ["appliance"].into_iter().chain(words);
                let told = self.cloud.manager.done(words);
                said.push_str(&told.unwrap_or_else(|error| error.to_string()));
            }
        }
        said
    }

    async fn sluice(&self, line: &str) {
        let done = tokio::task::block_in_place(|| self.cloud.manager.done(line.split(' ')));
        self.must(done).await;
    }

    /// The one line of `sluice vpn-connection state`; null while its router cannot be asked.
    fn connection(&self, name: &str) -> Value {
        let asked: Result<Value, _> = self.cloud.manager.ask(["vpn-connection", "state", name]);
        asked.map(|rows| rows[0].clone()).unwrap_or_default()
    }

    /// Both sides say so, from their security associations.
    async fn both(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let look = || async {
            let said = tokio::task::block_in_place(|| {
                ENDS.each_ref().map(|end| self.connection(end.name))
            });
            said.iter().all(&wanted).then_some(())
        };
        let seen = Wait::until_async(AGAIN, what, look).await;
        self.must(seen.map_err(Into::into)).await;
    }

    fn address(&self, guest: &str) -> Ipv4Addr {
        self.view.address(guest).unwrap()
    }

    /// What a row makes of both ends; the second is passive or the first is.
    async fn connect(&self, row: &Row, passive: &str) {
        for (own, other) in [(&ENDS[0], &ENDS[1]), (&ENDS[1], &ENDS[0])] {
            let gateway = format!(
                "customer-gateway create of-{} --zone zone1 --address {} --networks {} --psk-file {} \
                 --allow-obsolete true {}",
                own.name,
                other.address,
                other.network,
                self.key,
                algorithms(row)
            );
            self.sluice(&gateway).await;
            let connection = format!(
                "vpn-connection create {0} --public-ip {0} --customer-gateway of-{0} --passive {1}",
                own.name,
                own.name == passive
            );
            self.sluice(&connection).await;
        }
    }

    async fn disconnect(&self) {
        for End { name, .. } in &ENDS {
            self.sluice(&format!("vpn-connection delete {name}")).await;
            self.sluice(&format!("customer-gateway delete of-{name}")).await;
        }
    }

    async fn carries_both_ways(&self) {
        for (from, to) in [(&ENDS[0], &ENDS[1]), (&ENDS[1], &ENDS[0])] {
            let address = self.address(to.guest);
            let ping = format!("ping -c 1 -W 3 {address}");
            self.must(tunnels::within(&self.lab, from.guest, &ping, AGAIN).await).await;
            let address = address.to_string();
            self.must(transfer(&self.lab, from.guest, to.guest, &address, 7000, "").await).await;
        }
    }

    /// Each end is told segments that fit into the tunnel: what the other's SYN says when it arrives.
    async fn segments_fit(&self) {
        for (from, to) in [(&ENDS[0], &ENDS[1]), (&ENDS[1], &ENDS[0])] {
            let filter = format!(
                "src host {} and tcp dst port 7000 and tcp[tcpflags] & tcp-syn != 0",
                self.address(from.guest)
            );
            let watch = format!(
                "rm -f /run/syn /run/watch; \
                 (tcpdump -ln -i any -c 1 '{filter}' >/run/syn 2>/run/watch </dev/null &)"
            );
            self.must(self.lab.done(to.guest, &watch).await).await;
            self.must(
                tunnels::soon(&self.lab, to.guest, "grep -q 'listening on' /run/watch").await,
            )
            .await;
            let address = self.address(to.guest).to_string();
            self.must(transfer(&self.lab, from.guest, to.guest, &address, 7000, "").await).await;
            let look = "grep -o 'mss [0-9]*' /run/syn";
            self.must(tunnels::soon(&self.lab, to.guest, look).await).await;
            let said = self.must(self.lab.done(to.guest, look).await).await;
            let segment: u32 = said.trim().trim_start_matches("mss ").parse().unwrap();
            eprintln!("{}: segments of {segment} bytes", to.guest);
            assert!(segment <= SEGMENT, "{}: segments of {segment} bytes", to.guest);
        }
    }
}

/// The second router has the other flavour.
fn with_libreswan(mut spec: LabSpec) -> LabSpec {
    let other = world::libreswan();
    let machine = spec.machines.get_mut(&ENDS[1].router.parse().unwrap()).unwrap();
    (machine.disk, machine.kernel, machine.initrd) = (other.disk, other.kernel, other.initrd);
    spec
}

/// A row in the words of `sluice customer-gateway create`.
fn algorithms(row: &Row) -> String {
    let (version, encryption, hash, group, esp, esp_hash, pfs) = *row;
    let option = |name: &str, value: String| format!(" --{name} {value}");
    let mut words = format!(
        "--ike-version v{version} --ike-encryption {encryption} --ike-hash {hash} --esp-encryption {esp}"
    );
    words.extend((group != 0).then(|| option("ike-group", group.to_string())));
    words.extend(esp_hash.map(|hash| option("esp-hash", hash.to_owned())));
    words.extend((pfs != 0).then(|| option("esp-pfs", pfs.to_string())));
    words
}

fn connected(said: &Value) -> bool {
    said["phase"] == "connected"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_routers_of_both_flavours() {
    let world = World::start().await;
    // no guest of either tier has an address yet: the tunnel is begun by the commit, not by traffic
    let rows: Vec<&Row> = ROWS.iter().filter(|row| by_libreswan(row)).collect();
    let (first, others) = rows.split_last().unwrap();
    world.connect(first, "two").await;
    let committed = Instant::now();
    world.in_sync().await;
    let synced = committed.elapsed().as_secs_f64();
    world.both("a tunnel before any guest runs", connected).await;
    let took = committed.elapsed().as_secs_f64();
    eprintln!("connected {took:.1} s after the change, in sync after {synced:.1} s");
    for End { guest, .. } in &ENDS {
        world.lab.ready(guest, BOOT).await.unwrap();
        world.must(guest::take_lease(&world.lab, guest).await).await;
    }
    world.carries_both_ways().await;
    world.segments_fit().await;
    either_side_starts_anew(&world).await;
    for (number, row) in others.iter().enumerate() {
        eprintln!("{row:?}");
        world.disconnect().await;
        // each flavour begins in its turn
        world.connect(row, ENDS[number % 2].name).await;
        world.both(&format!("{row:?}"), connected).await;
        world.carries_both_ways().await;
    }
    // the key is in nobody's log
    let said = world.state().await;
    assert!(!said.contains(KEY), "{said}");
    world.lab.down().await.unwrap();
}

/// The power of each is cut in turn; the tunnel is there again without anybody's doing.
async fn either_side_starts_anew(world: &World) {
    for End { name, router, .. } in &ENDS {
        let began = Instant::now();
        let machine = world.lab.machine(router).unwrap();
        machine.power_cut().await.unwrap();
        machine.power_on().await.unwrap();
        world.in_sync().await;
        world.both(&format!("the tunnel after {name} started anew"), connected).await;
        world.carries_both_ways().await;
        eprintln!(
            "{name}: packets pass {:.0} s after the power cut",
            began.elapsed().as_secs_f64()
        );
    }
}
