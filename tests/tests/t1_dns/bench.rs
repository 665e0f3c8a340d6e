//! A router with two guest networks and a public side with two resolvers, and what tests ask of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluice_api::types::LinkName;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Output, Process, Topology, VethEnd};

pub(crate) const BOUND: Duration = Duration::from_secs(20);
/// Names that both resolvers know, with texts that tell them apart.
pub(crate) const NUMBERED: usize = 60;

pub(crate) fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

/// net-1 on `guest0` with vm1 and vm2, net-2 on `guest1` with db1; both resolvers.
pub(crate) fn slice() -> Value {
    json!({
        "router": "r-1",
        "networks": [
            network("guest0", 1, &json!([
                { "name": "vm1", "address": "10.1.1.23" }, { "name": "vm2", "address": "10.1.1.24" }
            ])),
            network("guest1", 2, &json!([{ "name": "db1", "address": "10.1.2.23" }])),
        ],
        "upstreams": ["192.0.2.53:53", "192.0.2.54:53"],
    })
}

pub(crate) fn network(link: &str, third: u8, hosts: &Value) -> Value {
    let cidr = format!("10.1.{third}.0/24");
    json!({
        "link": link, "cidr": cidr, "domain": format!("cs{third}.cloud.internal"), "hosts": hosts,
        "listen": [{ "address": format!("10.1.{third}.1"), "clients": cidr }],
    })
}

/// The bench. The order of fields is that of dropping: programs before their namespaces.
pub(crate) struct Bench {
    pub(crate) server: Option<Process>,
    pub(crate) router: Namespace,
    pub(crate) first: Namespace,
    pub(crate) second: Namespace,
    pub(crate) outside: Namespace,
    topology: Topology,
    folder: tempfile::TempDir,
}

impl Bench {
    /// Namespaces and wires; no server.
    pub(crate) fn wired(test: &str) -> Self {
        let mut topology = Topology::new().unwrap();
        let mut namespace = |role: &str| topology.namespace(&format!("{test}-{role}")).unwrap();
        let (router, first, second, outside) =
            (namespace("r"), namespace("a"), namespace("b"), namespace("o"));
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { server: None, router, first, second, outside, topology, folder };
        bench.connect(&bench.first, "guest0", "10.1.1.1/24", "10.1.1.23/24");
        bench.connect(&bench.second, "guest1", "10.1.2.1/24", "10.1.2.23/24");
        bench.connect(&bench.outside, "pub0", "192.0.2.1/24", "192.0.2.53/24");
        bench.outside.address(&link("eth0"), "192.0.2.54/24".parse().unwrap()).unwrap();
        bench.first.route(["default", "via", "10.1.1.1"]).unwrap();
        bench.second.route(["default", "via", "10.1.2.1"]).unwrap();
        bench.outside.route(["10.0.0.0/8", "via", "192.0.2.1"]).unwrap();
        bench
    }

    /// The same with the server answering from [`slice`].
    pub(crate) fn new(test: &str) -> Self {
        let mut bench = Self::wired(test);
        bench.write(&slice());
        bench.start();
        bench
    }

    pub(crate) fn connect(&self, other: &Namespace, on: &str, ours: &str, theirs: &str) {
        let inside = VethEnd::new(&self.router, link(on));
        self.topology.veth(&inside, &VethEnd::new(other, link("eth0"))).unwrap();
        self.router.address(&link(on), ours.parse().unwrap()).unwrap();
        other.address(&link("eth0"), theirs.parse().unwrap()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the slice file in one step, so that a reload never reads half of it.
    pub(crate) fn write(&self, slice: &Value) {
        std::fs::write(self.path("new.json"), slice.to_string()).unwrap();
        std::fs::rename(self.path("new.json"), self.path("slice.json")).unwrap();
    }

    pub(crate) fn start(&mut self) {
        let program = sluice_tests::bin("sluice-router");
        let file = self.path("slice.json");
        let words = [program.as_os_str(), "dns".as_ref(), "--slice".as_ref(), file.as_os_str()];
        let mut server = self.router.spawn(words).unwrap();
        server.says("dns server started", BOUND).unwrap();
        self.server = Some(server);
    }

    pub(crate) fn server(&mut self) -> &mut Process {
        self.server.as_mut().expect("the server was started")
    }

    /// Makes the server read its slice again and waits until it is in force.
    pub(crate) fn reload(&mut self) {
        let server = self.server();
        let in_force = |server: &Process| server.output().matches("in force").count();
        let before = in_force(server);
        server.signal(Signal::SIGHUP).unwrap();
        Wait::until(BOUND, "the new slice in force", || in_force(server) > before).unwrap();
    }

    /// The server's report at this moment.
    pub(crate) fn report(&mut self) -> Value {
        let server = self.server();
        let reports = |server: &Process| -> Vec<Value> {
            let output = server.output();
            output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let before = reports(server).len();
        server.signal(Signal::SIGUSR1).unwrap();
        Wait::until_some(BOUND, "a report", || reports(server).get(before).cloned()).unwrap()
    }

    /// unbound on 192.0.2.53: the zone `example.test` with a proper SOA, every query logged.
    pub(crate) fn unbound(&self) -> Process {
        let numbered =
            lines(NUMBERED, |n| format!("local-data: 'n{n}.example.test. 300 IN TXT \"first\"'"));
        let long =
            lines(12, |n| format!("local-data: 'big.example.test. 300 IN TXT \"{n:0>200}\"'"));
        let text = format!(
            "server:\n interface: 192.0.2.53\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n\
             username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n logfile: \"\"\n log-queries: yes\n\
             module-config: \"iterator\"\n local-zone: \"example.test.\" static\n\
             local-data: \"example.test. 300 IN SOA ns.example.test. h.example.test. 1 3600 600 86400 30\"\n\
             local-data: \"www.example.test. 300 IN A 192.0.2.80\"\n{numbered}{long}"
        );
        let file = self.path("unbound.conf");
        std::fs::write(&file, text).unwrap();
        let words = ["unbound".as_ref(), "-d".as_ref(), "-c".as_ref(), file.as_os_str()];
        let mut unbound = self.outside.spawn(words).unwrap();
        unbound.says("start of service", BOUND).unwrap();
        unbound
    }

    /// dnsmasq on 192.0.2.54 with the same names and other texts.
    pub(crate) fn dnsmasq(&self) -> Process {
        let mut words: Vec<String> = [
            "dnsmasq",
            "-k",
            "-C",
            "/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--port=53",
            "--user=root",
            "--listen-address=192.0.2.54",
            "--bind-interfaces",
            "--local=/example.test/",
            "--local-ttl=300",
            "--log-queries",
            "--log-facility=-",
            "--pid-file=",
            "--host-record=www.example.test,192.0.2.81",
        ]
        .map(str::to_owned)
        .into();
        words.extend((0..NUMBERED).map(|n| format!("--txt-record=n{n}.example.test,second")));
        let mut dnsmasq = self.outside.spawn(words).unwrap();
        dnsmasq.says("started", BOUND).unwrap();
        dnsmasq
    }
}

/// What dig printed.
pub(crate) struct Dig {
    pub(crate) output: Output,
    pub(crate) elapsed: Duration,
}

/// Asks with dig, once.
pub(crate) fn dig(from: &Namespace, words: &str) -> Dig {
    let begun = Instant::now();
    let line = format!("dig +tries=1 +time=6 {words}");
    let output = from.command(line.split_whitespace()).run().unwrap();
    let elapsed = query_time(&output.stdout).unwrap_or_else(|| begun.elapsed());
    Dig { output, elapsed }
}

/// By dig's own clock, since a busy machine takes its time to start it; without an answer it tells none.
fn query_time(said: &str) -> Option<Duration> {
    let after = said.split("Query time: ").nth(1)?;
    let milliseconds = after.split(' ').next()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds))
}

/// One line for each number below `count`.
pub(crate) fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n") + "\n"
}

impl Dig {
    /// The lines of the section named so, comments left out.
    pub(crate) fn section(&self, name: &str) -> Vec<String> {
        let lines = self.output.stdout.lines();
        let inside = lines.skip_while(|line| !line.contains(&format!("{name} SECTION"))).skip(1);
        inside
            .take_while(|line| !line.is_empty())
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// The one record of the answer section.
    pub(crate) fn answer(&self) -> String {
        let answers = self.section("ANSWER");
        assert_eq!(answers.len(), 1, "{}", self.output.stdout);
        answers[0].clone()
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.output.stdout.contains(text)
    }

    /// Panics with what dig printed unless it contains `text`.
    pub(crate) fn expect(&self, text: &str) -> &Self {
        assert!(self.says(text), "not there: {text}\n{}", self.output.stdout);
        self
    }

    /// Whether no answer came.
    pub(crate) fn silent(&self) -> bool {
        !self.says("->>HEADER<<-")
    }
}
