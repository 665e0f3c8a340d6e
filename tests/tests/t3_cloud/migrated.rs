//! A store of the first shape goes on under today's manager with its router up: that is told what is new, is not booted anew,
//! and loses no packet meanwhile.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sluice_api::Digest;
use sluice_api::boot::BootDocument;
use sluice_api::report::{Answer, ConfirmAnswer, Phase, StatusReport};
use sluice_api::types::{ApplianceId, Generation};
use sluice_lab::spec::{ControlSpec, Firmware, MachineSpec, NicSpec};
use sluice_lab::{Lab, Wait};
use sluice_manager::ca::Authority;
use sluice_manager::store::Store;
use sluice_manager::{ClientIdentity, PushClient};
use sluice_tests::cloud::{INTERNET, PUBLIC, Shell as _, TRUNK, guest, internet};
use sluice_tests::manager::Manager;
use sluice_tests::{faults, image};

use super::world::BOOT;

/// What the manager of the first shape had in force on its router.
const CONFIG: &str = include_str!("../../../manager/tests/old-store/config.json");
/// And kept in its store, whose last migration was [`SCHEMA`].
const ROWS: &str = include_str!("../../../manager/tests/old-store/rows.sql");
const SCHEMA: i64 = 2;
const ROUTER: &str = "r-1";
/// A guest of its network on VLAN 100.
const GUEST: &str = "vm20";

/// The router and its guest on machines, as the old store has them.
struct Before {
    lab: Lab,
    client: PushClient,
}

impl Before {
    async fn start(folder: &Path) -> Self {
        let id: ApplianceId = ROUTER.parse().unwrap();
        let life = Duration::from_hours(24);
        let authority = Authority::at(&folder.join("manager.ca.pem"), life).unwrap();
        let identity = authority.appliance(&id).unwrap().identity;
        let mut boot = BootDocument { identity, ..faults::boot() };
        boot.control.mac = "02:00:00:00:00:01".parse().unwrap();
        boot.control.address = "169.254.0.10/20".parse().unwrap();
        let document = folder.join("boot.json");
        fs::write(&document, serde_json::to_vec(&boot).unwrap()).unwrap();
        let control =
            ControlSpec { address: boot.control.address, mac: boot.control.mac, host_port: None };
        let nic =
            |wire: &str, mac: &str| NicSpec::on(wire.parse().unwrap()).mac(mac.parse().unwrap());
        let router = MachineSpec::template()
            .firmware(Firmware::Direct)
            .boot(&document, control)
            .nic(nic(PUBLIC, "02:00:00:00:00:02"))
            .nic(nic(TRUNK, "02:00:00:00:00:03"));
        let vlan = 100.try_into().unwrap();
        let machine = MachineSpec::host().nic(nic(TRUNK, "02:00:00:00:01:14").vlan(vlan));
        let disk = image("sluice.qcow2");
        let lab = Lab::builder("migrated")
            .images(disk.parent().unwrap())
            .wire(PUBLIC)
            .wire(TRUNK)
            .machine(ROUTER, router)
            .machine(GUEST, machine)
            .host(INTERNET, PUBLIC, None)
            .start()
            .await
            .unwrap();
        let identity = ClientIdentity::new(&authority.client().unwrap().identity).unwrap();
        let client = PushClient::new(&id, lab.endpoint(ROUTER).unwrap(), &identity).unwrap();
        Self { lab, client }
    }

    async fn status(&self) -> StatusReport {
        let ask = || async { self.client.status().await.ok() };
        Wait::until_async(BOOT, "the agent's status", ask).await.unwrap()
    }

    /// Puts the old configuration in force, byte for byte as it was sent then, and has the guest use it.
    async fn serve(&self) {
        self.status().await;
        let answer = self.client.push_bytes(CONFIG.trim().into()).await.unwrap();
        assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
        let confirmed = self.client.confirm(Generation::MIN).await.unwrap();
        assert!(matches!(confirmed, ConfirmAnswer::Committed { .. }), "{confirmed:?}");
        for machine in [GUEST, INTERNET] {
            self.lab.ready(machine, BOOT).await.unwrap();
        }
        internet::set_up(&self.lab).await.unwrap();
        let lease = guest::take_lease(&self.lab, GUEST).await.unwrap();
        assert_eq!(lease.address, "10.1.1.20/24");
        guest::pings(&self.lab, GUEST, internet::WEB_ADDRESS.parse().unwrap()).await.unwrap();
    }

    /// The store as the old manager left it, with its router where the lab has it.
    async fn write_store(&self, folder: &Path) {
        let endpoint: SocketAddr = self.lab.endpoint(ROUTER).unwrap();
        let config = CONFIG.trim();
        let rows = ROWS
            .replace("CONFIG_DIGEST", Digest::of_bytes(config.as_bytes()).as_str())
            .replace("CONFIG", config)
            .replace("127.0.0.1:43922", &endpoint.to_string());
        let store = Store::open_at(&folder.join("manager.db").into(), SCHEMA).await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        store.close().await;
    }
}

/// Packets that were sent and answered, in that order, from the last lines of `ping`.
fn counts(said: &str) -> (u32, u32) {
    let line = said
        .lines()
        .find(|line| line.contains("packets transmitted"))
        .unwrap_or_else(|| panic!("{said}"));
    let mut numbers =
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_the_first_shape_migrates_with_its_router_up_and_no_packet_lost() {
    let folder = tempfile::tempdir().unwrap();
    let before = Before::start(folder.path()).await;
    before.serve().await;
    let stream = format!(
        "ping -i 0.2 {} >/run/stream 2>&1 </dev/null & echo $! >/run/stream.pid",
        internet::WEB_ADDRESS
    );
    before.lab.done(GUEST, &stream).await.unwrap();
    let old = before.status().await;
    assert_eq!(old.current.map(|current| current.generation), Some(Generation::MIN));
    before.write_store(folder.path()).await;

    let manager = Manager::start(folder.path(), "127.0.0.1:0".parse().unwrap(), &[]).await.unwrap();
    let wait = || manager.done(["--wait", "180", "status", ROUTER]);
    if let Err(error) = tokio::task::block_in_place(wait) {
        panic!("{error:#}\n{}", before.lab.state().await);
    }
    let new = before.status().await;
    assert_eq!(new.current.unwrap().generation.get(), 2, "what is new was pushed");
    assert_eq!((new.phase, &new.alarms), (Phase::InForce, &Vec::new()), "{:?}", new.repairs);
    assert!(new.uptime_seconds >= old.uptime_seconds, "it was booted anew");
    assert_eq!((new.firmware, new.incarnation), (old.firmware, old.incarnation));
    // some more packets over what is in force now
    guest::visit(&before.lab, GUEST).await.unwrap();
    let stop = "kill -INT $(cat /run/stream.pid); for i in $(seq 50); do \
                grep -q transmitted /run/stream && break; sleep 0.1; done; cat /run/stream";
    let said = before.lab.done(GUEST, stop).await.unwrap();
    let (sent, answered) = counts(&said);
    // the one that was on its way when it ended has no answer yet
    assert!(sent > 20 && sent - answered <= 1, "{}", said.lines().last().unwrap_or_default());
    let seen: Vec<u32> = said
        .lines()
        .filter_map(|line| line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(seen, (1..=answered).collect::<Vec<_>>(), "one is missing in between");
    manager.kill();
    before.lab.down().await.unwrap();
}
