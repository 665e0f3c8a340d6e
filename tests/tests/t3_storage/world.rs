//! The appliance, with an authority and a client but no manager, and a machine beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_api::boot::{BootDocument, Role};
use sluice_api::config::SsvmDocument;
use sluice_api::report::{Answer, ConfirmAnswer, Phase, StatusReport};
use sluice_api::types::ApplianceId;
use sluice_lab::spec::{ControlSpec, Firmware, MachineSpec, NicSpec};
use sluice_lab::{Lab, Wait};
use sluice_manager::ca::Authority;
use sluice_manager::{ClientIdentity, PushClient};
use sluice_tests::{faults, image};

use super::server::SERVER;

/// Emulated machines on a busy host boot within this.
pub(crate) const BOOT: Duration = Duration::from_mins(4);
/// What takes a minute there.
const LONG: Duration = Duration::from_mins(3);
/// An agent that is up answers within this; one that is not is asked again.
const ANSWER: Duration = Duration::from_secs(3);
/// Name of the appliance and of its machine.
const SSVM: &str = "s-1";
/// Where images are served.
pub(crate) const HERE: &str = "198.51.100.20";

const STORAGE: &str = "storage";
const PUBLIC: &str = "public";
const STORAGE_MAC: &str = "02:00:0a:04:00:14";
const PUBLIC_MAC: &str = "02:00:c6:33:64:14";
/// A test host has its files in RAM.
const SERVER_RAM_MIB: u32 = 768;

pub(crate) struct World {
    pub(crate) lab: Arc<Lab>,
    client: PushClient,
    generation: u64,
    boot: BootDocument,
    role: Value,
    _folder: tempfile::TempDir,
}

impl World {
    /// The appliance has booted and has nothing but its links.
    pub(crate) async fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let id: ApplianceId = SSVM.parse().unwrap();
        let path = folder.path().join("manager.db");
        let authority = Authority::open(&path, Duration::from_hours(24)).unwrap();
        let boot = BootDocument {
            appliance: id.clone(),
            role: Role::Ssvm,
            identity: authority.appliance(&id).unwrap().identity,
            ..faults::boot()
        };
        let document = folder.path().join("boot.json");
        std::fs::write(&document, serde_json::to_vec(&boot).unwrap()).unwrap();
        let lab = lab(name, &boot, &document).await;
        let identity = ClientIdentity::new(&authority.client().unwrap().identity).unwrap();
        let client = PushClient::new(&id, lab.endpoint(SSVM).unwrap(), &identity).unwrap();
        let role = json!({ "listeners": [{ "link": "pub0", "address": HERE }],
            "fetch": { "range_bytes": 1 << 20 } });
        let world = Self { lab: Arc::new(lab), client, generation: 0, boot, role, _folder: folder };
        assert_eq!(world.status(BOOT).await.phase, Phase::Unconfigured);
        world
    }

    /// Changes what is wanted; [`World::in_force`] sends it.
    pub(crate) fn push(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.role);
        self.generation += 1;
    }

    fn config(&self) -> SsvmDocument {
        let link = |name: &str, role: &str, mac: &str, address: &str| {
            json!({ "name": name, "role": role, "attach": { "nic": { "mac": mac } },
                "addresses": [address] })
        };
        let control = &self.boot.control;
        let text = json!({
            "version": 2, "generation": self.generation, "appliance": SSVM,
            "control": { "link": "ctl" },
            "links": [
                link("ctl", "control", &control.mac.to_string(), &control.address.to_string()),
                link("sto", "storage", STORAGE_MAC, "10.4.0.20/24"),
                link("pub0", "public", PUBLIC_MAC, &format!("{HERE}/24")),
            ],
            "role": { "ssvm": self.role },
        });
        match SsvmDocument::decode(text.to_string().as_bytes()) {
            Ok((config, _)) => config,
            Err(findings) => panic!("{findings:#?}"),
        }
    }

    /// The way the manager does it: push, then confirm over a new connection.
    pub(crate) async fn in_force(&self) {
        let config = self.config();
        let answer = self.client.push_confirming(&config, 60).await;
        let state = self.state().await;
        assert!(matches!(answer, Ok(Answer::Applied { .. })), "{answer:#?}\n{state}");
        let confirmed = self.client.confirm(config.generation).await;
        let state = self.state().await;
        assert!(
            matches!(confirmed, Ok(ConfirmAnswer::Committed { .. })),
            "{confirmed:#?}\n{state}"
        );
    }

    async fn status(&self, bound: Duration) -> StatusReport {
        let ask = || async { tokio::time::timeout(ANSWER, self.client.status()).await.ok()?.ok() };
        match Wait::until_async(bound, "the agent's status", ask).await {
            Ok(status) => status,
            Err(late) => panic!("{late}\n{}", self.lab.state().await),
        }
    }

    /// What the storage service says of itself through the agent.
    async fn report(&self) -> Value {
        let status = self.status(BOOT).await;
        let storage = status.services.into_iter().find(|service| service.name == "storage");
        storage.and_then(|storage| storage.report).unwrap_or_default()
    }

    async fn until(
        &self,
        list: &str,
        id: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let look = || async {
            let report = self.report().await;
            let all = report[list].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|one| one["id"] == id).filter(&holds)
        };
        match Wait::until_async(LONG, what, look).await {
            Ok(found) => found,
            Err(late) => panic!("{id}: {late}: {:#}\n{}", self.report().await, self.state().await),
        }
    }

    /// Waits until a store is in this state.
    pub(crate) async fn store(&self, id: &str, state: &str) {
        self.until("stores", id, state, |store| store["state"] == state).await;
    }

    /// Waits until a job is in this state, or in the other end.
    pub(crate) async fn job(&self, id: &str, state: &str) -> Value {
        let ends = ["done", "failed", state];
        let is = |job: &Value| job["state"].as_str().is_some_and(|is| ends.contains(&is));
        let job = self.until("jobs", id, state, is).await;
        assert_eq!(job["state"], state, "{job:#}");
        job
    }

    /// Waits until a job is as wanted.
    pub(crate) async fn job_until(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.until("jobs", id, what, wanted).await
    }

    /// Cuts the appliance's power and gives it back; returns when it is on its last configuration again.
    pub(crate) async fn power_cycle(&self) {
        let machine = self.lab.machine(SSVM).unwrap();
        machine.power_cut().await.unwrap();
        machine.power_on().await.unwrap();
        let is_back = || async {
            let current = self.status(BOOT).await.current?;
            (current.generation == self.config().generation).then_some(())
        };
        if let Err(late) = Wait::until_async(BOOT, "the last configuration", is_back).await {
            panic!("{late}\n{}", self.state().await);
        }
    }

    /// Everything that a failing test must print.
    async fn state(&self) -> String {
        let logs = self.client.logs(0, 400).await;
        let line =
            "exportfs -v; cat /proc/fs/nfsd/versions; rpcinfo -p; dmesg | tail -n 30; ss -ltn";
        let server = self.lab.host(SERVER).unwrap().sh(line).await;
        format!("{logs:#?}\n{server:#?}\n{}", self.lab.state().await)
    }

    pub(crate) async fn down(self) {
        self.lab.switch_off().await.unwrap();
    }
}

async fn lab(name: &str, boot: &BootDocument, document: &Path) -> Lab {
    let control =
        ControlSpec { address: boot.control.address, mac: boot.control.mac, host_port: None };
    let nic = |wire: &str, mac: &str| NicSpec::on(wire.parse().unwrap()).mac(mac.parse().unwrap());
    let ssvm = MachineSpec::template()
        .firmware(Firmware::Direct)
        .boot(document, control)
        .nic(nic(STORAGE, STORAGE_MAC))
        .nic(nic(PUBLIC, PUBLIC_MAC));
    let server = MachineSpec::host()
        .ram_mib(SERVER_RAM_MIB)
        .nic(NicSpec::on(STORAGE.parse().unwrap()))
        .nic(NicSpec::on(PUBLIC.parse().unwrap()));
    let disk = image("sluice.qcow2");
    let images = disk.parent().unwrap_or(Path::new("."));
    let lab = Lab::builder(name).images(images).wire(STORAGE).wire(PUBLIC);
    lab.machine(SSVM, ssvm).machine(SERVER, server).start().await.unwrap()
}
