//! The agent as a secondary storage VM: configuration by the manager's client, service in its sandbox, packets judged.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_api::AGENT_PORT;
use sluice_api::boot::{BootDocument, Role};
use sluice_api::config::SsvmDocument;
use sluice_api::report::{Answer, ConfirmAnswer, StatusReport};
use sluice_api::types::{ApplianceId, LinkName};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, Topology, VethEnd};
use sluice_manager::ca::Authority;
use sluice_manager::push::PushError;
use sluice_manager::{ClientIdentity, PushClient};

use super::bench::{BOUND, noise};

struct World {
    agent: Process,
    web: Process,
    outside: Namespace,
    manager: Namespace,
    client: PushClient,
    folder: tempfile::TempDir,
    _topology: Topology,
}

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

/// A secondary storage VM with a store of its own and one job.
fn config(generation: u64) -> SsvmDocument {
    let place = json!({ "template": { "account": 1, "id": 201, "name": "disk" } });
    let nic = |mac: &str| json!({ "nic": { "mac": mac } });
    let text = json!({
        "version": 2, "generation": generation, "appliance": "s-1", "control": { "link": "ctl" },
        "links": [
            { "name": "ctl", "role": "control", "attach": nic("02:00:a9:fe:00:0a"),
              "addresses": ["169.254.0.10/16"] },
            { "name": "pub0", "role": "public", "attach": nic("02:00:c6:33:64:0a"),
              "addresses": ["198.51.100.20/24"] },
        ],
        "role": { "ssvm": {
            "stores": [{ "id": "own", "kind": { "local": {} }, "full_percent": 100 }],
            "jobs": [{ "id": "j-1", "what": { "import": { "store": "own", "place": place,
                "source": { "url": "http://198.51.100.1/disk.zst" }, "format": "raw" } } }],
            "listeners": [{ "link": "pub0", "address": "198.51.100.20" }],
        } },
    });
    SsvmDocument::decode(text.to_string().as_bytes()).unwrap().0
}

impl World {
    fn new() -> Self {
        let mut topology = Topology::new().unwrap();
        let [ssvm, manager, outside] =
            ["ssvm", "manager", "outside"].map(|name| topology.namespace(name).unwrap());
        for (name, mac, other, address) in [
            ("eth7", "02:00:a9:fe:00:0a", &manager, "169.254.0.1/16"),
            ("eth8", "02:00:c6:33:64:0a", &outside, "198.51.100.1/24"),
        ] {
            let near = VethEnd::new(&ssvm, link(name)).mac(mac.parse().unwrap());
            topology.veth(&near, &VethEnd::new(other, link("eth0"))).unwrap();
            other.address(&link("eth0"), address.parse().unwrap()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let web = serve(&folder, &outside);
        let client = identity(&folder);
        let agent = ssvm
            .spawn([
                sluice_tests::bin("sluice-ssvm").into_os_string(),
                "agent".into(),
                "--boot".into(),
                folder.path().join("boot.json").into_os_string(),
                "--data".into(),
                folder.path().join("data").into_os_string(),
            ])
            .unwrap();
        let world = Self { agent, web, outside, manager, client, folder, _topology: topology };
        let up = Wait::until(BOUND, "the agent's API", || world.status().is_ok());
        up.unwrap_or_else(|error| panic!("{error}\n{}", world.agent.output()));
        world
    }

    fn call<T: Send, F: Future<Output = Result<T, PushError>>>(
        &self,
        make: impl FnOnce(PushClient) -> F + Send,
    ) -> Result<T, PushError> {
        let client = self.client.clone();
        self.manager.enter_async(move || make(client)).unwrap()
    }

    fn status(&self) -> Result<StatusReport, PushError> {
        self.call(|client| async move {
            match tokio::time::timeout(Duration::from_secs(2), client.status()).await {
                Ok(status) => status,
                Err(_) => Err(PushError::Identity("no answer in time".to_owned())),
            }
        })
    }

    fn push(&self, config: &SsvmDocument) {
        let answer = self.call(|client| async move { client.push_confirming(config, 30).await });
        let log = || self.agent.output();
        assert!(matches!(answer, Ok(Answer::Applied { .. })), "{answer:#?}\n{}", log());
        let generation = config.generation;
        let confirmed = self.call(move |client| async move { client.confirm(generation).await });
        assert!(matches!(confirmed, Ok(ConfirmAnswer::Committed { .. })), "{confirmed:?}");
    }

    /// What the storage service says of itself through the agent.
    fn report(&self) -> Value {
        let status = serde_json::to_value(self.status().unwrap()).unwrap();
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let storage = services.into_iter().find(|service| service["name"] == "storage");
        storage.map(|service| service["report"].clone()).unwrap_or_default()
    }

    fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = Wait::until_some(BOUND, what, || {
            last = self.report();
            holds(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|error| panic!("{error}: {last:#}\n{}", self.agent.output()))
    }

    fn curl(&self, url: &str) -> String {
        let words =
            ["curl", "-sS", "--max-time", "2", "-o", "/dev/null", "-w", "%{http_code}", url];
        self.outside.command(words).run().unwrap().stdout
    }
}

/// The outside has the image, packed.
fn serve(folder: &tempfile::TempDir, outside: &Namespace) -> Process {
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(folder.path().join("disk"), noise(2 << 20)).unwrap();
    let packed = super::bench::run("zstd", &["-c"], &folder.path().join("disk"));
    std::fs::write(files.join("disk.zst"), packed).unwrap();
    let files = files.to_str().unwrap();
    let words = ["python3", "-m", "http.server", "80", "--bind", "198.51.100.1", "-d", files];
    let web = outside.spawn(words).unwrap();
    let up = || outside.sh("nc -z 198.51.100.1 80").run().is_ok_and(|output| output.ok());
    Wait::until(BOUND, "the web server", up).unwrap();
    web
}

fn identity(folder: &tempfile::TempDir) -> PushClient {
    let id: ApplianceId = "s-1".parse().unwrap();
    let path = folder.path().join("manager.db");
    let authority = Authority::open(&path, Duration::from_hours(24)).unwrap();
    let boot = BootDocument {
        appliance: id.clone(),
        role: Role::Ssvm,
        identity: authority.appliance(&id).unwrap().identity,
        ..sluice_tests::faults::boot()
    };
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let text = serde_json::to_vec(&boot).unwrap();
    std::fs::write(folder.path().join("boot.json"), text).unwrap();
    let identity = ClientIdentity::new(&authority.client().unwrap().identity).unwrap();
    let address = SocketAddr::new(boot.control.address.ip(), AGENT_PORT.get());
    PushClient::new(&id, address, &identity).unwrap()
}

#[test]
fn it_brings_an_image_in_and_lets_in_what_is_served_alone() {
    let mut world = World::new();
    world.push(&config(1));
    let report = world.until("the image", |report| report["jobs"][0]["state"] == "done");
    assert_eq!(report["stores"][0]["state"], "ready");
    let object = world.folder.path().join("data/storage/local/own/template/tmpl/1/201/disk.raw");
    assert!(std::fs::read(object).unwrap() == noise(2 << 20));
    assert_eq!(world.curl("http://198.51.100.20/upload"), "200");
    assert_eq!(world.curl("http://198.51.100.20:3922/"), "000", "the API is not served there");
    assert!(world.web.is_running());
    // the same job under another number is not done again
    let fetched = report["jobs"][0]["fetched"].clone();
    world.push(&config(2));
    let report = world.until("the job", |report| report["jobs"][0]["state"] == "done");
    assert_eq!(report["jobs"][0]["fetched"], fetched);
}
