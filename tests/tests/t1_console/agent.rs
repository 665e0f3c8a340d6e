//! The agent as a console proxy: configuration by the manager's client, service in its sandbox, packets judged.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_api::AGENT_PORT;
use sluice_api::config::ProxyDocument;
use sluice_api::report::{
    Answer, AnswerList, ConfirmAnswer, QuestionAnswer, StatusReport, Verdict,
};
use sluice_api::types::LinkName;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, Topology, VethEnd};
use sluice_manager::PushClient;
use sluice_manager::push::PushError;
use sluice_tests::console::client::{Outcome, end, look_securely};
use sluice_tests::console::cloud::{self, Cloud};
use sluice_tests::console::qemu::Qemu;
use sluice_tests::console::{BOUND, token};

/// Where browsers are served.
const CONSOLE: &str = "198.51.100.30:443";
/// The VM's host, on the control network.
const HOST: &str = "169.254.0.1";
/// The same, by IPv6, and one behind it.
const HOST_IPV6: &str = "fd00:8::1";
const FAR_IPV6: &str = "fd00:9::17";

struct World {
    agent: Process,
    outside: Namespace,
    manager: Namespace,
    client: PushClient,
    cloud: Cloud,
    port: u16,
    folder: tempfile::TempDir,
    _qemu: Qemu,
    _topology: Topology,
}

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

impl World {
    fn new() -> Self {
        let mut topology = Topology::new().unwrap();
        let [proxy, manager, outside] =
            ["proxy", "manager", "outside"].map(|name| topology.namespace(name).unwrap());
        for (name, mac, other, address) in [
            ("eth7", "02:00:a9:fe:00:0a", &manager, "169.254.0.1/16"),
            ("eth8", "02:00:c6:33:64:0a", &outside, "198.51.100.1/24"),
        ] {
            let near = VethEnd::new(&proxy, link(name)).mac(mac.parse().unwrap());
            topology.veth(&near, &VethEnd::new(other, link("eth0"))).unwrap();
            other.address(&link("eth0"), address.parse().unwrap()).unwrap();
        }
        let cloud = Cloud::new();
        let folder = tempfile::tempdir().unwrap();
        let qemu = Qemu::start_at(Some(&manager), HOST, folder.path(), &[cloud.vnc()]);
        let (document, identity) = cloud::enrol(folder.path());
        let address = sluice_tests::faults::boot().control.address.ip();
        let client = cloud::client(&identity, SocketAddr::new(address, AGENT_PORT.get()));
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        // what services keep is under a fixed path: a file system of its own, in the mount namespace of `ip netns exec`
        let alone = "mkdir -p /run/sluice && mount -t tmpfs none /run/sluice && exec \"$@\"";
        let agent = proxy
            .spawn([
                "sh".into(),
                "-c".into(),
                alone.into(),
                "sh".into(),
                sluice_tests::bin("sluice-proxy").into_os_string(),
                "agent".into(),
                "--boot".into(),
                document.into_os_string(),
                "--data".into(),
                data.into_os_string(),
            ])
            .unwrap();
        let port = qemu.ports[0];
        let world = Self {
            agent,
            outside,
            manager,
            client,
            cloud,
            port,
            folder,
            _qemu: qemu,
            _topology: topology,
        };
        let up = Wait::until(BOUND, "the agent's API", || world.status().is_ok());
        up.unwrap_or_else(|error| panic!("{error}\n{}", world.agent.output()));
        world
    }

    fn config(&self, generation: u64, grants: &[&str]) -> ProxyDocument {
        self.cloud.config(generation, HOST.parse().unwrap(), self.port, grants)
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

    fn push(&self, config: &ProxyDocument) {
        let answer = self.call(|client| async move { client.push_confirming(config, 30).await });
        let log = || self.agent.output();
        assert!(matches!(answer, Ok(Answer::Applied { .. })), "{answer:#?}\n{}", log());
        let generation = config.generation;
        let confirmed = self.call(move |client| async move { client.confirm(generation).await });
        assert!(matches!(confirmed, Ok(ConfirmAnswer::Committed { .. })), "{confirmed:?}");
    }

    /// What the console service says of itself through the agent, once it `holds`.
    fn report(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.service(what, |service| holds(&service["report"]))["report"].take()
    }

    /// What the agent says of the console service, once it `holds`.
    fn service(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = Wait::until_some(BOUND, what, || {
            let status = serde_json::to_value(self.status().unwrap()).unwrap();
            let services = status["services"].as_array().cloned().unwrap_or_default();
            let console = services.into_iter().find(|service| service["name"] == "console");
            last = console.unwrap_or_default();
            holds(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|error| panic!("{error}: {last:#}\n{}", self.agent.output()))
    }

    /// Shows the link of `grant`: the session's note, or how it was refused.
    fn look(&self, grant: &str) -> Result<Value, (u16, Value)> {
        match self.outcome(grant)? {
            Outcome::Shown(note, init) => {
                assert_eq!(&init[..4], [2, 208, 1, 144], "720 x 400: text mode");
                Ok(note)
            }
            Outcome::Closed(code, reason) => panic!("{code} {reason}\n{}", self.agent.output()),
        }
    }

    /// The same, and how it was not shown.
    fn outcome(&self, grant: &str) -> Result<Outcome, (u16, Value)> {
        let (console, authority) = (CONSOLE.parse().unwrap(), &self.cloud.authority.pem);
        let looked = self.outside.enter_async(|| look_securely(console, authority, grant));
        Ok(looked.unwrap()?.0)
    }

    /// Comes for the next question and answers it: what was asked.
    fn answer(&self, verdict: Verdict) -> Value {
        let answered = self.call(|client| async move {
            let first = loop {
                if let Some(first) = client.questions().await?.questions.into_iter().next() {
                    break first;
                }
            };
            let answers = vec![QuestionAnswer { id: first.id, verdict }];
            assert_eq!(client.answer(&AnswerList { answers }).await?.taken, 1);
            Ok(first.question)
        });
        answered.unwrap()
    }

    fn curl(&self, url: &str) -> String {
        let words =
            ["curl", "-sSk", "--max-time", "2", "-o", "/dev/null", "-w", "%{http_code}", url];
        self.outside.command(words).run().unwrap().stdout
    }
}

#[test]
fn it_shows_a_screen_to_whoever_has_a_grant_and_for_as_long() {
    let world = World::new();
    let secrets = &world.cloud;
    world.call(|client| async move { secrets.send_blobs(&client).await }).unwrap();
    world.push(&world.config(1, &["g-1", "view-1"]));
    let note = world.look("g-1").unwrap();
    assert!(note["security"].as_str().unwrap().contains("X509Vnc"), "{note}");
    assert_eq!(world.look("view-1").unwrap()["view_only"], true);
    let (status, answer) = world.look("nobody").unwrap_err();
    assert_eq!((status, &answer["code"]), (404, &json!("unknown")), "{answer}");
    assert_eq!(world.curl("https://198.51.100.30/"), "200");
    assert_eq!(world.curl("http://198.51.100.30/"), "308");
    assert_eq!(world.curl("https://198.51.100.30:3922/"), "000", "the API is not served there");

    // the next generation has another grant in place of the first, whose session ends
    let (begun, has_begun) = std::sync::mpsc::channel();
    let ended = std::thread::scope(|scope| {
        let (console, authority) = (CONSOLE.parse().unwrap(), &world.cloud.authority.pem);
        let outside = &world.outside;
        let session = scope.spawn(move || {
            outside.enter_async(move || async move {
                let (outcome, socket) = look_securely(console, authority, "g-1").await.unwrap();
                begun.send(matches!(outcome, Outcome::Shown(..))).unwrap();
                end(socket).await
            })
        });
        assert!(has_begun.recv_timeout(BOUND).unwrap(), "{}", world.agent.output());
        let report = world.report("the session", |report| {
            report["sessions"].as_array().is_some_and(|all| all.len() == 1)
        });
        let session_of = &report["sessions"][0];
        assert_eq!(session_of["grant"], "g-1", "{report:#}");
        assert_eq!(session_of["from"], "198.51.100.1", "{report:#}");
        assert_eq!(session_of["user"], "alice", "{report:#}");
        world.push(&world.config(2, &["g-2", "view-1"]));
        session.join().unwrap().unwrap()
    });
    assert_eq!(ended.0, 4210, "{}", ended.1);
    let (status, answer) = world.look("g-1").unwrap_err();
    assert_eq!((status, &answer["code"]), (410, &json!("revoked")), "{answer}");
    world.look("g-2").unwrap();

    let report = world.report("that all left", |report| report["load"]["sessions"] == 0);
    let said = format!("{}{report}", world.agent.output());
    for hidden in [cloud::PASSWORD, &token("g-1"), "PRIVATE KEY"] {
        assert!(!said.contains(hidden), "{hidden} was written down");
    }
}

#[test]
fn a_killed_service_comes_back_and_knows_whose_a_link_is_and_what_was_taken_away() {
    let world = World::new();
    let secrets = &world.cloud;
    world.call(|client| async move { secrets.send_blobs(&client).await }).unwrap();
    world.push(&world.config(1, &["first-1", "gone-1"]));
    world.look("first-1").unwrap();
    world.push(&world.config(2, &["first-1", "any-1"]));
    let refused = |grant: &str, status: u16, code: &str| {
        let (is, answer) = world.look(grant).unwrap_err();
        assert_eq!((is, &answer["code"]), (status, &json!(code)), "{answer}");
    };
    refused("first-1", 403, "other-browser");
    refused("gone-1", 410, "revoked");

    let runs = world.service("a process", |service| service["pid"].is_u64())["pid"].take();
    world.outside.command(["kill", "-KILL", &runs.to_string()]).check().unwrap();
    world.service("another process", |service| {
        let serves = service["state"] == "running" && service["generation"] == 2;
        serves && service["pid"] != runs && service["restarts"] == 1
    });
    refused("first-1", 403, "other-browser");
    refused("gone-1", 410, "revoked");
    world.look("any-1").unwrap();
}

#[test]
fn a_host_with_ipv6_is_reached_by_way_of_the_control_network() {
    let world = World::new();
    let address = |text: &str| text.parse().unwrap();
    world.manager.address(&link("eth0"), address(&format!("{HOST_IPV6}/64"))).unwrap();
    world.manager.ip(["link", "set", "lo", "up"]).unwrap();
    world.manager.ip(["addr", "add", FAR_IPV6, "dev", "lo", "nodad"]).unwrap();
    let folder = world.folder.path().join("far");
    std::fs::create_dir(&folder).unwrap();
    let (manager, vnc) = (Some(&world.manager), [world.cloud.vnc()]);
    let far = Qemu::start_at(manager, &format!("[{FAR_IPV6}]"), &folder, &vnc);
    let secrets = &world.cloud;
    world.call(|client| async move { secrets.send_blobs(&client).await }).unwrap();
    // as the manager compiles a zone with control_gateway_ipv6
    let mut config = secrets.config(1, FAR_IPV6.parse().unwrap(), far.ports[0], &["g-1"]);
    config.links[0].addresses.push(address("fd00:8::a9fe:a/64"));
    let route =
        json!({ "destination": format!("{FAR_IPV6}/128"), "link": "ctl", "via": HOST_IPV6 });
    config.routes.push(serde_json::from_value(route).unwrap());
    world.push(&config);
    let note = world.look("g-1").unwrap();
    assert!(note["security"].as_str().unwrap().contains("X509Vnc"), "{note}");
}

#[test]
fn a_host_that_dies_without_a_word_is_noticed() {
    let world = World::new();
    let secrets = &world.cloud;
    world.call(|client| async move { secrets.send_blobs(&client).await }).unwrap();
    world.push(&world.config(1, &["g-1"]));
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (code, reason) = std::thread::scope(|scope| {
        let (console, authority) = (CONSOLE.parse().unwrap(), &world.cloud.authority.pem);
        let outside = &world.outside;
        let session = scope.spawn(move || {
            outside.enter_async(move || async move {
                let (outcome, socket) = look_securely(console, authority, "g-1").await.unwrap();
                begun.send(matches!(outcome, Outcome::Shown(..))).unwrap();
                end(socket).await
            })
        });
        assert!(has_begun.recv_timeout(BOUND).unwrap(), "{}", world.agent.output());
        // its packets are lost from here on, in both directions
        world.manager.ip(["link", "set", "eth0", "down"]).unwrap();
        session.join().unwrap().unwrap()
    });
    assert_eq!(code, 4101, "{reason}");
}

#[test]
fn before_each_connection_the_manager_is_asked_whether_the_screen_is_still_the_vms() {
    let world = World::new();
    let secrets = &world.cloud;
    world.call(|client| async move { secrets.send_blobs(&client).await }).unwrap();
    let mut config = world.config(1, &["g-1"]);
    config.role.settings.ask_manager = true;
    let vm = config.role.screens[0].vm.clone();
    world.push(&config);
    let looks = |verdict: Option<Verdict>| {
        std::thread::scope(|scope| {
            let answering = verdict.map(|verdict| scope.spawn(|| world.answer(verdict)));
            let outcome = world.outcome("g-1").unwrap();
            if let Some(asked) = answering.map(|it| it.join().unwrap()) {
                assert_eq!(asked, json!({ "vm": vm, "address": HOST, "port": world.port }));
            }
            outcome
        })
    };
    let closed = |outcome: Outcome, code: u16, name: &str| match outcome {
        Outcome::Closed(is, reason) => assert!(is == code && reason.starts_with(name), "{reason}"),
        Outcome::Shown(note, _) => panic!("shown all the same: {note}"),
    };
    closed(looks(Some(Verdict::no("it moved"))), 4106, "screen-wrong");
    assert!(matches!(looks(Some(Verdict::yes())), Outcome::Shown(..)));
    closed(looks(None), 4102, "screen-unasked");
    let log = world.agent.output();
    assert!(log.contains("it moved"), "the operator reads why: {log}");
}
