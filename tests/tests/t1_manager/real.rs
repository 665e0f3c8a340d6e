//! Two managers, a database and a real agent: whichever manager is killed or halted, the router gets every change once.
//!
//! Needs the rights to make namespaces. The router has public addresses alone, since guest networks need VLANs, which this
//! kernel may not have; on machines they are proved elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluice_api::types::{LinkName, MacAddr};
use sluice_lab::netns::{Namespace, Process, Topology, VethEnd};
use sluice_manager::model::view::{Appliance, NicPurpose};
use sluice_tests::postgres::Database;

use super::postgres::SHORT_LEASE;
use super::wait::{PATIENCE, until};

/// Public addresses made while managers come and go, and callers at once; with `SLUICE_FULL=1` a thousand.
fn size() -> (usize, usize) {
    if std::env::var_os("SLUICE_FULL").is_some() { (1000, 64) } else { (48, 8) }
}

/// The first address of a pool that has one for the router and `count` others, and the last.
fn pool(count: usize) -> (Ipv4Addr, Ipv4Addr) {
    let first = Ipv4Addr::new(198, 18, 1, 0);
    let last = u32::from(first) + u32::try_from(count).unwrap();
    (first, last.into())
}

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

/// What runs, and where.
struct World {
    folder: tempfile::TempDir,
    manager: Namespace,
    router: Namespace,
    managers: Vec<Process>,
    agent: Option<Process>,
    topology: Topology,
    _database: Database,
}

impl World {
    async fn start() -> Self {
        let database = Database::new().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("{}{SHORT_LEASE}", database.url());
        fs::write(folder.path().join(sluice_tests::manager::STORE), url).unwrap();
        let mut topology = Topology::new().unwrap();
        let manager = topology.namespace("manager").unwrap();
        let router = topology.namespace("router").unwrap();
        let mut world = Self {
            folder,
            manager,
            router,
            managers: Vec::new(),
            agent: None,
            topology,
            _database: database,
        };
        world.managers = (0..2).map(|number| world.manager(number)).collect();
        for number in 0..2 {
            until("the manager serves", || world.socket(number).exists()).await;
        }
        world.cloud();
        world.boot();
        world
    }

    fn socket(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{number}.sock"))
    }

    fn manager(&self, number: usize) -> Process {
        let mut words = vec![sluice_tests::bin("sluice-manager").into_os_string()];
        words.extend(sluice_tests::manager::store(self.folder.path()));
        words.extend(["--socket".into(), self.socket(number).into_os_string()]);
        words.extend(
            ["--poll-ms", "200", "--retry-ms", "50", "--retry-most-ms", "400"].map(Into::into),
        );
        self.manager.spawn(words).unwrap()
    }

    /// Runs `sluice` against one of the managers.
    fn sluice(&self, number: usize, words: &[&str]) -> String {
        let told = Command::new(sluice_tests::bin("sluice"))
            .arg("--manager")
            .arg(format!("unix:{}", self.socket(number).display()))
            .args(words)
            .output()
            .unwrap();
        assert!(told.status.success(), "{words:?}: {told:?}");
        String::from_utf8(told.stdout).unwrap()
    }

    /// A zone with as many public addresses as are asked for, and a router with one of them.
    fn cloud(&self) {
        let (first, last) = pool(size().0);
        let range = format!(
            "public-range create public1 --zone zone1 --gateway 198.18.0.1 --prefix 16 \
             --start {first} --end {last}"
        );
        for line in [
            "zone create zone1 --resolvers 192.0.2.53",
            "physical-network create physnet1 --zone zone1",
            range.as_str(),
            "appliance create --zone zone1 --role router",
            "public-ip create --router r-1",
        ] {
            self.sluice(0, &line.split_whitespace().collect::<Vec<_>>());
        }
    }

    /// The agent on a host with the NICs that the manager named.
    fn boot(&mut self) {
        let text = self.sluice(1, &["--json", "appliance", "show", "r-1"]);
        let appliance: Appliance = serde_json::from_str(&text).unwrap();
        let mac = |purpose: NicPurpose| -> MacAddr {
            appliance.nics.iter().find(|nic| nic.purpose == purpose).unwrap().mac
        };
        let wire = |name: &str, purpose: NicPurpose, far: &str| {
            let near = VethEnd::new(&self.router, link(name)).mac(mac(purpose));
            self.topology.veth(&near, &VethEnd::new(&self.manager, link(far))).unwrap();
        };
        wire("eth7", NicPurpose::Control, "ctl");
        wire("eth8", NicPurpose::Public, "out");
        self.manager.address(&link("ctl"), "169.254.0.1/20".parse().unwrap()).unwrap();
        let file = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (boot, data) = (file("boot.json"), file("data"));
        self.sluice(0, &["appliance", "boot-document", "r-1", "-o", &boot]);
        fs::create_dir(&data).unwrap();
        let program = sluice_tests::bin("sluice-router");
        let words = [program.to_str().unwrap(), "agent", "--boot", &boot, "--data", &data];
        self.agent = Some(self.router.spawn(words).unwrap());
    }

    /// What the agent and the managers said.
    fn said(&self) -> String {
        let all = self.managers.iter().chain(&self.agent).map(Process::output);
        all.collect::<Vec<_>>().join("\n---\n")
    }

    /// Addresses of the public link, as the kernel of the router has them.
    fn addresses(&self) -> BTreeSet<String> {
        let text = self.router.ip(["-o", "-4", "addr", "show"]).unwrap();
        let words = text.split_whitespace().filter(|word| word.starts_with("198.18."));
        words
            .filter_map(|word| word.split_once('/'))
            .map(|(address, _)| address.to_owned())
            .collect()
    }
}

/// Asks for one more address, with the same request id of either manager, until one of them answers.
async fn insist(sockets: &[PathBuf; 2], number: usize) -> Value {
    let key = format!("address-{number}");
    for turn in number.. {
        let socket: &Path = &sockets[turn % 2];
        let patience = Duration::from_secs(2);
        let http = reqwest::Client::builder()
            .unix_socket(socket.to_path_buf())
            .timeout(patience)
            .build()
            .unwrap();
        let call = http.post("http://localhost/v1/public-ips").header("idempotency-key", &key);
        let Ok(answer) = call.json(&json!({ "router": "r-1" })).send().await else { continue };
        match (answer.status().as_u16(), answer.json().await) {
            (201, Ok(made)) => return made,
            (503, _) | (_, Err(_)) => tokio::task::yield_now().await,
            (status, Ok(problem)) => panic!("{status}: {}", problem as Value),
        }
    }
    unreachable!("numbers do not end")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_managers_and_a_real_router_lose_and_double_nothing() {
    // an error means that another test of this process was first
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut world = World::start().await;
    let (count, callers) = size();
    world.sluice(1, &["status", "--wait", "60"]);
    let sockets = [world.socket(0), world.socket(1)];
    let done = AtomicUsize::new(0);
    let making = async {
        let one = |number| {
            let (sockets, done) = (&sockets, &done);
            async move {
                let made = insist(sockets, number).await;
                done.fetch_add(1, Ordering::SeqCst);
                made
            }
        };
        stream::iter(0..count).map(one).buffer_unordered(callers).collect::<Vec<_>>().await
    };
    let disturbing = async {
        let at = async |enough: usize| {
            until("addresses are made", || done.load(Ordering::SeqCst) >= enough).await;
        };
        for (number, quarter) in [(0, 1), (1, 2)] {
            at(quarter * count / 4).await;
            world.managers[number].kill();
            world.managers[number] = world.manager(number);
        }
        // one that is halted past the lease of its turn, and then goes on as if nothing were
        at(3 * count / 4).await;
        world.managers[0].signal(Signal::SIGSTOP).unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.managers[0].signal(Signal::SIGCONT).unwrap();
    };
    let (made, ()) = tokio::join!(making, disturbing);
    let given: BTreeSet<_> =
        made.iter().map(|made| made["address"].as_str().unwrap().to_owned()).collect();
    assert_eq!(given.len(), count, "an address was given twice");
    let seconds = PATIENCE.as_secs().to_string();
    world.sluice(0, &["status", "--wait", &seconds]);
    let there = world.addresses();
    let lost: Vec<_> = given.difference(&there).collect();
    assert!(lost.is_empty(), "{lost:?}\n{}", world.said());
    assert_eq!(there.len(), count + 1, "the first one and these: {there:?}");
    let taken = world.sluice(0, &["--json", "allocations", "--pool", "public:z-1"]);
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!(taken.as_array().unwrap().len(), count + 1, "as many as there are: {taken}");
    let status = world.sluice(1, &["--json", "status"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (&status[0]["in_sync"], &status[0]["alarms"]),
        (&json!(true), &json!([])),
        "{status}"
    );
    a_carrier_is_told_of(&world).await;
}

/// Somebody pulls the wire to the Internet out, and puts it in again.
async fn a_carrier_is_told_of(world: &World) {
    let alarms = || {
        let status = world.sluice(0, &["--json", "status"]);
        let status: Value = serde_json::from_str(&status).unwrap();
        status[0]["alarms"].clone()
    };
    for (state, told) in [("down", json!(["no carrier to the outside on pub0"])), ("up", json!([]))]
    {
        world.manager.ip(["link", "set", "out", state]).unwrap();
        until("the carrier is told of", || alarms() == told).await;
    }
}
