//! A small cloud of namespaces: router, manager, Internet and two guests on one segment.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::boot::BootDocument;
use sluice_api::config::Guest;
use sluice_api::report::{Answer, ConfirmAnswer, DryRun, Phase, StatusReport};
use sluice_api::types::{ApplianceId, BlobDigest, LinkName, MacAddr};
use sluice_api::{AGENT_PORT, RouterDocument};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, Topology, VethEnd};
use sluice_manager::ca::Authority;
use sluice_manager::push::PushError;
use sluice_manager::{ClientIdentity, PushClient};

const SOON: Duration = Duration::from_secs(20);

/// examples/router.json with NICs in place of VLANs, since this kernel may have none, and one guest network.
pub(crate) fn config() -> RouterDocument {
    let mut config = sluice_tests::faults::example();
    config.links.retain(|link| !matches!(link.name.as_str(), "trunk0" | "guest1"));
    config.role.networks.truncate(1);
    for link in &mut config.links {
        if link.name.as_str() == "guest0" {
            link.attach =
                sluice_api::config::Attachment::Nic { mac: "02:00:0a:01:01:01".parse().unwrap() };
        }
    }
    config.role.dns.upstreams = vec!["192.0.2.53".parse().unwrap()];
    config.role.networks[0].dhcp.routes.clear();
    config
}

pub(crate) struct World {
    pub(crate) router: Namespace,
    pub(crate) inet: Namespace,
    /// The Internet as another provider has it: 203.0.113.1 on the wire, and 192.0.2.90 behind it.
    pub(crate) inet2: Namespace,
    /// The network behind a private gateway: 172.16.0.1 on the wire, and 172.20.0.1 behind it.
    pub(crate) office: Namespace,
    /// A host one hop behind the Internet: 198.18.0.2.
    pub(crate) far: Namespace,
    pub(crate) manager: Namespace,
    /// A guest of a second network, with the address 10.1.2.23.
    pub(crate) tier: Namespace,
    guests: Vec<(&'static str, Namespace)>,
    agent: Option<Process>,
    outside: std::cell::RefCell<Vec<Process>>,
    client: PushClient,
    pub(crate) dir: tempfile::TempDir,
    _topology: Topology,
}

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

impl World {
    /// Everything wired, the agent up and reachable, no configuration yet.
    pub(crate) fn new() -> Self {
        let mut topology = Topology::new().unwrap();
        let router = topology.namespace("router").unwrap();
        let manager = topology.namespace("manager").unwrap();
        let inet = topology.namespace("inet").unwrap();
        let inet2 = topology.namespace("inet2").unwrap();
        let office = topology.namespace("office").unwrap();
        let lan = topology.namespace("lan").unwrap();
        let tier = topology.namespace("vm3").unwrap();
        let wire = |name: &str, address: &str, other: &Namespace, far: &str| {
            let near = VethEnd::new(&router, link(name)).mac(mac(address));
            topology.veth(&near, &VethEnd::new(other, link(far))).unwrap();
        };
        wire("eth7", "02:00:a9:fe:00:0a", &manager, "eth0");
        wire("eth8", "02:00:c6:33:64:0a", &inet, "eth0");
        wire("eth11", "02:00:cb:00:71:0a", &inet2, "eth0");
        wire("eth12", "02:00:ac:10:00:02", &office, "eth0");
        wire("eth9", "02:00:0a:01:01:01", &lan, "up0");
        wire("eth10", "02:00:0a:01:02:01", &tier, "eth0");
        tier.address(&link("eth0"), "10.1.2.23/24".parse().unwrap()).unwrap();
        tier.route(["default", "via", "10.1.2.1"]).unwrap();
        manager.address(&link("eth0"), "169.254.0.1/16".parse().unwrap()).unwrap();
        inet.address(&link("eth0"), "198.51.100.1/24".parse().unwrap()).unwrap();
        office.address(&link("eth0"), "172.16.0.1/24".parse().unwrap()).unwrap();
        office.ip(["addr", "add", "172.20.0.1/32", "dev", "lo"]).unwrap();
        office.route(["default", "via", "172.16.0.2"]).unwrap();
        inet2.address(&link("eth0"), "203.0.113.1/24".parse().unwrap()).unwrap();
        inet2.ip(["addr", "add", "192.0.2.90/32", "dev", "lo"]).unwrap();
        for address in ["192.0.2.53/32", "192.0.2.80/32"] {
            inet.ip(["addr", "add", address, "dev", "lo"]).unwrap();
        }
        inet.route(["10.1.1.0/24", "via", "198.51.100.10"]).unwrap();
        let far = far_away(&mut topology, &inet);
        let guests = guests(&mut topology, &lan);
        let dir = tempfile::tempdir().unwrap();
        let client = identity(&dir);
        let outside = std::cell::RefCell::default();
        let mut world = Self {
            router,
            inet,
            inet2,
            office,
            far,
            manager,
            tier,
            guests,
            agent: None,
            outside,
            client,
            dir,
            _topology: topology,
        };
        world.restart_agent();
        world
    }

    /// Kills the agent if it runs, as a crash would, and starts it anew on the same ledger.
    pub(crate) fn restart_agent(&mut self) {
        self.kill_agent();
        self.start_agent(&sluice_tests::bin("sluice-router"));
    }

    /// Kills the agent as a crash would; its services go on.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill();
        }
    }

    /// The agent's process.
    pub(crate) fn agent_pid(&self) -> u32 {
        self.agent.as_ref().map(Process::pid).unwrap()
    }

    /// Starts the agent as the template does, and waits for its API.
    pub(crate) fn start_agent(&mut self, program: &std::path::Path) {
        let data = self.dir.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let words = [
            program.as_os_str().to_owned(),
            "agent".into(),
            "--boot".into(),
            self.dir.path().join("boot.json").into_os_string(),
            "--data".into(),
            data.into_os_string(),
            "--run".into(),
            self.dir.path().join("run").into_os_string(),
            "--nft".into(),
            sluice_lab::netns::nft().into(),
        ];
        self.agent = Some(self.router.spawn(words).unwrap());
        let up = Wait::until(SOON, "the agent's API", || self.try_status().is_ok());
        if let Err(error) = up {
            panic!("{error}\n{}", self.agent.as_ref().map(Process::output).unwrap_or_default());
        }
    }

    /// Gives `guest` of a configuration this password, in a blob that no other run has: what servers write down is in a folder
    /// of the machine, which runs share.
    pub(crate) fn give_password(&self, guest: &mut Guest, password: &str) {
        let blob = format!("{}\n{password}", self.dir.path().display()).into_bytes();
        let digest = BlobDigest::of(&blob);
        guest.metadata.password =
            serde_json::from_value(json!({ "blob": digest.to_string() })).unwrap();
        self.call(|client| async move { client.put_blob(&digest, blob).await }).unwrap();
    }

    /// Runs a call of the manager's client inside its namespace.
    pub(crate) fn call<T: Send, F: Future<Output = Result<T, PushError>>>(
        &self,
        make: impl FnOnce(PushClient) -> F + Send,
    ) -> Result<T, PushError>
    where
        PushError: Send,
    {
        let client = self.client.clone();
        self.manager.enter_async(move || make(client)).unwrap()
    }

    pub(crate) fn try_status(&self) -> Result<StatusReport, PushError> {
        self.call(|client| async move {
            match tokio::time::timeout(Duration::from_secs(2), client.status()).await {
                Ok(status) => status,
                Err(_) => Err(PushError::Identity("no answer in time".to_owned())),
            }
        })
    }

    pub(crate) fn status(&self) -> StatusReport {
        self.try_status().unwrap()
    }

    pub(crate) fn push(
        &self,
        config: &RouterDocument,
        confirm_seconds: u32,
    ) -> Result<Answer, PushError> {
        self.call(|client| async move { client.push_confirming(config, confirm_seconds).await })
    }

    pub(crate) fn try_confirm(&self, config: &RouterDocument) -> Result<ConfirmAnswer, PushError> {
        let generation = config.generation;
        self.call(move |client| async move {
            match tokio::time::timeout(Duration::from_secs(2), client.confirm(generation)).await {
                Ok(answer) => answer,
                Err(_) => Err(PushError::Identity("no answer in time".to_owned())),
            }
        })
    }

    /// `PUT /v1/config` with whatever bytes: HTTP status and body.
    pub(crate) fn put_config(&self, body: Vec<u8>) -> (u16, Vec<u8>) {
        self.put_config_as(self.client.clone(), body).unwrap()
    }

    /// The same by another client.
    pub(crate) fn put_config_as(
        &self,
        client: PushClient,
        body: Vec<u8>,
    ) -> Result<(u16, Vec<u8>), PushError> {
        self.call(|_| async move {
            let answer = client.raw(Method::PUT, "/v1/config", body, SOON).await?;
            Ok((answer.0, answer.1.to_vec()))
        })
    }

    /// `POST` of a JSON body: HTTP status and body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Vec<u8>) {
        let body = body.to_string().into_bytes();
        let answer =
            self.call(|client| async move { client.raw(Method::POST, path, body, SOON).await });
        answer.map(|(status, body)| (status, body.to_vec())).unwrap()
    }

    /// A client whose certificate says what a manager's does, but a foreign authority issued it.
    pub(crate) fn foreign_manager(&self) -> PushClient {
        let folder = self.dir.path().join("foreign");
        std::fs::create_dir_all(&folder).unwrap();
        let day = Duration::from_hours(24);
        let foreign = Authority::open(&folder.join("manager.db"), day).unwrap();
        let ours = Authority::open(&self.dir.path().join("manager.db"), day).unwrap();
        let mut identity = foreign.client().unwrap().identity;
        identity.authority = ours.client().unwrap().identity.authority;
        let identity = ClientIdentity::new(&identity).unwrap();
        PushClient::new(&"r-1".parse().unwrap(), self.client.address(), &identity).unwrap()
    }

    /// All that an apply could change: kernel, ledger and report. Two of these are compared.
    pub(crate) fn everything(&self) -> String {
        let mut status = self.status();
        status.uptime_seconds = 0;
        // services tell of themselves when they come to it
        for service in &mut status.services {
            service.counters.clear();
            service.report = None;
        }
        // the kernel itself goes on with addresses that it gave to links that came up
        let settled = || self.router.sh("! ip addr | grep -q tentative").run().unwrap().ok();
        Wait::until(SOON, "addresses to be settled", settled).unwrap();
        let kernel = "nft -s list ruleset; ip -d link; ip addr; ip route show table all; ip rule; \
                      sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding";
        let kernel = self.router.sh(kernel).check().unwrap();
        // what was counted is written from time to time
        let data = self.dir.path().join("data");
        let ledger =
            format!("cd {} && for f in *; do [ $f = usage ] || sha256sum $f; done", data.display());
        let ledger = self.router.sh(&ledger).check().unwrap();
        format!("{kernel}\n{ledger}\n{status:#?}")
    }

    pub(crate) fn dry_run(&self, config: &RouterDocument) -> DryRun {
        self.call(|client| async move { client.dry_run(config).await }).unwrap()
    }

    /// The way the manager does it: push, then confirm over a new connection.
    pub(crate) fn push_and_confirm(&self, config: &RouterDocument) {
        let answer = self.push(config, 30);
        assert!(matches!(answer, Ok(Answer::Applied { .. })), "{answer:#?}\n{}", self.log());
        let confirmed = self.try_confirm(config);
        assert!(matches!(confirmed, Ok(ConfirmAnswer::Committed { .. })), "{confirmed:?}");
        assert_eq!(self.status().phase, Phase::InForce);
    }

    pub(crate) fn log(&self) -> String {
        self.agent.as_ref().map(Process::output).unwrap_or_default()
    }

    pub(crate) fn guest(&self, name: &str) -> &Namespace {
        &self.guests.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// A stock DHCP client in the guest gets exactly this address.
    pub(crate) fn lease(&self, guest: &str, address: &str) {
        let ns = self.guest(guest);
        ns.sh("ip addr flush dev eth0").check().unwrap();
        let got = udhcpc(ns, &self.dir, 8);
        let addresses = ns.ip(["-4", "addr", "show", "eth0"]).unwrap();
        let counted = || {
            let services = self.status().services.into_iter();
            services.filter(|it| it.name == "dhcp").map(|it| it.counters).collect::<Vec<_>>()
        };
        let has_it = addresses.contains(&format!("{address}/24"));
        assert!(has_it, "{got}\n{addresses}\n{:?}\n{}", counted(), self.log());
    }

    /// Whether a guest that nobody configured gets a lease.
    pub(crate) fn stranger_asks_for_a_lease(&self) -> bool {
        let ns = self.guest("stranger");
        udhcpc(ns, &self.dir, 2);
        ns.ip(["-4", "addr", "show", "eth0"]).unwrap().contains("10.1.1.")
    }

    /// A program that answers on port 8080 and says who asked.
    pub(crate) fn web_script(&self) -> std::path::PathBuf {
        let script = self.dir.path().join("web.py");
        std::fs::write(&script, WEB).unwrap();
        script
    }

    /// A web server that says who asked, and an upstream resolver.
    pub(crate) fn outside_has_web_and_names(&self) {
        let script = self.web_script();
        let web = self.inet.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
        let names = self
            .inet
            .spawn([
                "dnsmasq",
                "-k",
                "--no-resolv",
                "--no-hosts",
                "--bind-interfaces",
                "--listen-address=192.0.2.53",
                "--address=/www.example.org/192.0.2.80",
                "--conf-file=/dev/null",
                "--pid-file=",
                "--user=root",
            ])
            .unwrap();
        self.outside.borrow_mut().extend([web, names]);
        let ready =
            || self.inet.sh("curl -s --max-time 1 http://192.0.2.80:8080/").run().unwrap().ok();
        Wait::until(SOON, "the web server", ready).unwrap();
    }
}

/// A host one hop behind the Internet; of its network only that one exists.
fn far_away(topology: &mut Topology, inet: &Namespace) -> Namespace {
    let far = topology.namespace("far").unwrap();
    let near = VethEnd::new(inet, link("far0"));
    topology.veth(&near, &VethEnd::new(&far, link("eth0"))).unwrap();
    inet.address(&link("far0"), "198.18.0.1/30".parse().unwrap()).unwrap();
    far.address(&link("eth0"), "198.18.0.2/30".parse().unwrap()).unwrap();
    far.route(["default", "via", "198.18.0.1"]).unwrap();
    inet.route(["unreachable", "198.18.0.0/24"]).unwrap();
    inet.sh("sysctl -qw net.ipv4.ip_forward=1").check().unwrap();
    far
}

const WEB: &str = r#"
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"seen from {self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"#;

/// Guests on a bridge with the router's guest link; the third one is in no configuration.
fn guests(topology: &mut Topology, lan: &Namespace) -> Vec<(&'static str, Namespace)> {
    let mut ports = vec![link("up0")];
    let mut guests = Vec::new();
    for (name, address) in [
        ("vm1", "02:00:0a:01:01:17"),
        ("vm2", "02:00:0a:01:01:18"),
        ("stranger", "02:00:0a:01:01:99"),
    ] {
        let ns = topology.namespace(name).unwrap();
        let end = VethEnd::new(&ns, link("eth0")).mac(mac(address));
        let port = link(&format!("p-{name}"));
        topology.veth(&end, &VethEnd::new(lan, port.clone())).unwrap();
        ports.push(port);
        guests.push((name, ns));
    }
    lan.bridge(&link("br0"), &ports).unwrap();
    guests
}

fn udhcpc(ns: &Namespace, dir: &tempfile::TempDir, tries: u32) -> String {
    let script = dir.path().join("lease.sh");
    let text = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr replace $ip/$mask dev $interface\n\
                ip route replace default via $router\n";
    std::fs::write(&script, text).unwrap();
    let line = format!(
        "chmod 755 {0}; busybox udhcpc -i eth0 -n -q -f -t {tries} -T 1 -s {0} 2>&1",
        script.display()
    );
    ns.sh(&line).timeout(SOON).run().unwrap().stdout
}

/// The appliance's boot document, and the manager's client for it.
fn identity(dir: &tempfile::TempDir) -> PushClient {
    let id: ApplianceId = "r-1".parse().unwrap();
    let authority =
        Authority::open(&dir.path().join("manager.db"), Duration::from_hours(24)).unwrap();
    let boot = BootDocument {
        identity: authority.appliance(&id).unwrap().identity,
        ..sluice_tests::faults::boot()
    };
    std::fs::write(dir.path().join("boot.json"), serde_json::to_vec(&boot).unwrap()).unwrap();
    let identity = ClientIdentity::new(&authority.client().unwrap().identity).unwrap();
    let address = SocketAddr::new(boot.control.address.ip(), AGENT_PORT.get());
    PushClient::new(&id, address, &identity).unwrap()
}
