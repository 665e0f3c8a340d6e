//! The template as a console proxy, on a virtual wire with a browser and a VM host, whose VM is another QEMU machine.
//!
//! Browser and VM host are namespaces of this host, so the lab needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sluice_api::config::ProxyDocument;
use sluice_api::report::{Answer, ConfirmAnswer, StatusReport};
use sluice_lab::spec::{ControlSpec, Firmware, MachineSpec, NamespaceNic, NamespaceSpec, NicSpec};
use sluice_lab::{Lab, Wait};
use sluice_manager::PushClient;
use sluice_tests::cloud::PUBLIC;
use sluice_tests::console::client::{Outcome, end, look_securely};
use sluice_tests::console::cloud::{self, Cloud, PROXY};
use sluice_tests::console::qemu::Qemu;

/// Emulated machines on a busy host boot within this.
const BOOT: Duration = Duration::from_mins(5);
/// And do what takes seconds within this.
const SOON: Duration = Duration::from_mins(2);
/// An agent that is up answers within this; one that is not is asked again.
const ANSWER: Duration = Duration::from_secs(2);
/// The VM's host.
const HOST: &str = "198.51.100.17";
/// Where browsers are.
const BROWSER: &str = "198.51.100.1";

struct World {
    lab: Lab,
    client: PushClient,
    cloud: Cloud,
    qemu: Qemu,
    _folder: tempfile::TempDir,
}

/// A namespace with one address on the public wire.
fn station(address: &str) -> NamespaceSpec {
    let nic = NamespaceNic {
        nic: NicSpec::on(PUBLIC.parse().unwrap()),
        link: "eth0".parse().unwrap(),
        addresses: vec![format!("{address}/24").parse().unwrap()],
    };
    NamespaceSpec { nics: vec![nic], gateway: None }
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (document, identity) = cloud::enrol(folder.path());
        let boot = sluice_tests::faults::boot();
        let control =
            ControlSpec { address: boot.control.address, mac: boot.control.mac, host_port: None };
        let public = NicSpec::on(PUBLIC.parse().unwrap()).mac(cloud::PUBLIC_MAC.parse().unwrap());
        let machine =
            MachineSpec::template().firmware(Firmware::Direct).boot(&document, control).nic(public);
        let disk = sluice_tests::image("sluice.qcow2");
        let lab = Lab::builder("console")
            .images(disk.parent().unwrap_or(Path::new(".")))
            .wire(PUBLIC)
            .machine(PROXY, machine)
            .namespace("browser", station(BROWSER))
            .namespace("vmhost", station(HOST));
        let lab = lab.start().await.unwrap();
        let cloud = Cloud::new();
        let qemu = tokio::task::block_in_place(|| {
            let vmhost = lab.namespace("vmhost").unwrap();
            Qemu::start_at(Some(vmhost), HOST, folder.path(), &[cloud.vnc()])
        });
        let client = cloud::client(&identity, lab.endpoint(PROXY).unwrap());
        let world = Self { lab, client, cloud, qemu, _folder: folder };
        world.status(BOOT).await;
        world
    }

    async fn status(&self, bound: Duration) -> StatusReport {
        let ask = || async { tokio::time::timeout(ANSWER, self.client.status()).await.ok()?.ok() };
        match Wait::until_async(bound, "the agent's status", ask).await {
            Ok(status) => status,
            Err(late) => panic!("{late}\n{}", self.lab.state().await),
        }
    }

    fn config(&self, generation: u64, grants: &[&str]) -> ProxyDocument {
        let host: IpAddr = HOST.parse().unwrap();
        self.cloud.config(generation, host, self.qemu.ports[0], grants)
    }

    async fn push(&self, config: &ProxyDocument) {
        let answer = self.client.push_confirming(config, 60).await;
        let Ok(Answer::Applied { .. }) = answer else {
            panic!("{answer:#?}\n{}", self.lab.state().await)
        };
        let confirmed = self.client.confirm(config.generation).await;
        assert!(matches!(confirmed, Ok(ConfirmAnswer::Committed { .. })), "{confirmed:?}");
    }

    /// Shows the link of `grant` to the proxy: the session's note, or how it was refused.
    fn look(&self, grant: &str) -> Result<Value, (u16, Value)> {
        let looked = tokio::task::block_in_place(|| {
            self.browser().enter_async(|| look_securely(console(), self.authority(), grant))
        });
        match looked.unwrap()?.0 {
            Outcome::Shown(note, init) => {
                assert_eq!(&init[..4], [2, 208, 1, 144], "720 x 400: text mode");
                Ok(note)
            }
            Outcome::Closed(code, reason) => panic!("{code} {reason}"),
        }
    }

    /// Has a session of `grant`, and does `meanwhile` once it has begun; how it was ended.
    fn session(&self, grant: &str, meanwhile: impl AsyncFnOnce()) -> (u16, String) {
        let (begun, has_begun) = std::sync::mpsc::channel();
        let browse = move || {
            self.browser().enter_async(move || async move {
                let looked = look_securely(console(), self.authority(), grant).await;
                let (outcome, socket) = looked.unwrap();
                begun.send(matches!(outcome, Outcome::Shown(..))).unwrap();
                end(socket).await
            })
        };
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let session = scope.spawn(browse);
                assert!(has_begun.recv_timeout(SOON).unwrap(), "the screen is not shown");
                tokio::runtime::Handle::current().block_on(meanwhile());
                session.join().unwrap().unwrap()
            })
        })
    }

    fn browser(&self) -> &sluice_lab::netns::Namespace {
        self.lab.namespace("browser").unwrap()
    }

    fn authority(&self) -> &str {
        &self.cloud.authority.pem
    }

    /// What the console service says of itself through the agent, once it `holds`.
    async fn report(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let look = || async {
            let services = self.status(SOON).await.services;
            let console = services.into_iter().find(|service| service.name == "console");
            console.and_then(|service| service.report).filter(&holds)
        };
        match Wait::until_async(SOON, what, look).await {
            Ok(report) => report,
            Err(late) => panic!("{late}: {:#?}", self.status(SOON).await),
        }
    }
}

fn console() -> SocketAddr {
    format!("{}:443", cloud::ADDRESS).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_template_shows_another_machines_screen_as_long_as_there_is_a_grant() {
    let world = World::start().await;
    world.cloud.send_blobs(&world.client).await.unwrap();
    world.push(&world.config(1, &["g-1", "view-1"])).await;
    let note = world.look("g-1").unwrap();
    assert!(note["security"].as_str().unwrap().contains("X509Vnc"), "{note}");
    assert_eq!(world.look("view-1").unwrap()["view_only"], true);
    assert_eq!(world.look("nobody").unwrap_err().0, 404);

    let ended = world.session("g-1", async || {
        let one = |report: &Value| report["sessions"].as_array().is_some_and(|it| it.len() == 1);
        let report = world.report("the session", one).await;
        assert_eq!(report["sessions"][0]["from"], BROWSER, "{report:#}");
        assert_eq!(report["sessions"][0]["grant"], "g-1", "{report:#}");
        world.push(&world.config(2, &["g-2"])).await;
    });
    assert_eq!(ended.0, 4210, "{}", ended.1);
    assert_eq!(world.look("g-1").unwrap_err().0, 410);
    world.look("g-2").unwrap();
    world.lab.machine(PROXY).unwrap().power_down(SOON).await.unwrap();
    world.lab.down().await.unwrap();
}
