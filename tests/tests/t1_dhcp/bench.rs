//! A server in a namespace, guests in others, and what tests ask of them.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use sluice_api::config::GuestDhcp;
use sluice_api::types::{LinkName, MacAddr};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process, Topology, VethEnd};
use sluice_router::dhcp::{DhcpSlice, NetworkSlice, Reservation};

pub(crate) const BOUND: Duration = Duration::from_secs(20);
pub(crate) const VM1: &str = "02:00:0a:01:01:17";
pub(crate) const VM2: &str = "02:00:0a:01:01:18";
pub(crate) const DB1: &str = "02:00:0a:01:02:17";
pub(crate) const STRANGER: &str = "02:00:00:00:00:99";

pub(crate) fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

pub(crate) fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

/// `guest0` with vm1 and vm2 on 10.1.1.0/24, `guest1` with db1 on 10.1.2.0/24.
pub(crate) fn slice() -> DhcpSlice {
    DhcpSlice {
        networks: vec![
            network("guest0", 1, &[(VM1, "10.1.1.23", "vm1"), (VM2, "10.1.1.24", "vm2")]),
            network("guest1", 2, &[(DB1, "10.1.2.23", "db1")]),
        ],
    }
}

fn network(name: &str, third: u8, guests: &[(&str, &str, &str)]) -> NetworkSlice {
    let gateway = format!("10.1.{third}.1").parse().unwrap();
    NetworkSlice {
        link: link(name),
        cidr: format!("10.1.{third}.0/24").parse().unwrap(),
        gateway,
        resolvers: vec![gateway],
        domain: format!("cs{third}.cloud.internal").parse().unwrap(),
        mtu: 1400.try_into().unwrap(),
        lease_seconds: 3600.try_into().unwrap(),
        routes: vec![sluice_api::config::ClasslessRoute {
            destination: "10.9.0.0/16".parse().unwrap(),
            via: format!("10.1.{third}.254").parse().unwrap(),
        }],
        options: Vec::new(),
        boot: None,
        pools: Vec::new(),
        kept: Vec::new(),
        guests: guests.iter().map(|guest| reservation(*guest)).collect(),
    }
}

pub(crate) fn reservation((mac_text, address, name): (&str, &str, &str)) -> Reservation {
    Reservation {
        mac: mac(mac_text),
        address: address.parse().unwrap(),
        hostname: name.parse().unwrap(),
        default_nic: true,
        dhcp: GuestDhcp::default(),
    }
}

/// The bench: namespaces, the server's files, the server.
pub(crate) struct Bench {
    // the order is that of dropping: programs before their namespaces
    server: Option<Process>,
    /// Slices given since the server started.
    reloads: u64,
    pub(crate) router: Namespace,
    topology: Topology,
    folder: tempfile::TempDir,
}

impl Bench {
    /// A router namespace without links and without a server.
    pub(crate) fn empty(test: &str) -> Self {
        let mut topology = Topology::new().unwrap();
        let router = topology.namespace(&format!("{test}-r")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { server: None, reloads: 0, router, topology, folder }
    }

    /// Guest namespaces `a` (vm1) on `guest0` and `b` (db1) on `guest1`, and the server running.
    pub(crate) fn new(test: &str) -> (Self, Namespace, Namespace) {
        let mut bench = Self::empty(test);
        let first = bench.guest(&format!("{test}-a"), "guest0", 1, VM1);
        let second = bench.guest(&format!("{test}-b"), "guest1", 2, DB1);
        bench.write(&slice());
        bench.start();
        bench.await_link("guest0");
        bench.await_link("guest1");
        (bench, first, second)
    }

    /// A namespace whose `eth0` is the other end of the router's link `name`, which gets 10.1.`third`.1.
    pub(crate) fn guest(&mut self, name: &str, on: &str, third: u8, address: &str) -> Namespace {
        let guest = self.topology.namespace(name).unwrap();
        self.connect(&guest, on, third, address);
        guest
    }

    /// A namespace of its own, not connected yet.
    pub(crate) fn namespace(&mut self, name: &str) -> Namespace {
        self.topology.namespace(name).unwrap()
    }

    /// A cable between two namespaces.
    pub(crate) fn veth(&self, left: &VethEnd<'_>, right: &VethEnd<'_>) {
        self.topology.veth(left, right).unwrap();
    }

    pub(crate) fn connect(&self, guest: &Namespace, on: &str, third: u8, address: &str) {
        let inside = VethEnd::new(&self.router, link(on));
        let outside = VethEnd::new(guest, link("eth0")).mac(mac(address));
        self.topology.veth(&inside, &outside).unwrap();
        self.router.address(&link(on), format!("10.1.{third}.1/24").parse().unwrap()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, slice: &DhcpSlice) {
        std::fs::write(self.path("slice.json"), serde_json::to_vec(slice).unwrap()).unwrap();
    }

    /// A file that can be run.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.path(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o755).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path.display().to_string()
    }

    pub(crate) fn start(&mut self) {
        let program = sluice_tests::bin("sluice-router");
        let slice = self.path("slice.json");
        let words = [program.as_os_str(), "dhcp".as_ref(), "--slice".as_ref(), slice.as_os_str()];
        self.server = Some(self.router.spawn(words).unwrap());
        self.await_log("dhcp server started");
    }

    pub(crate) fn server(&mut self) -> &mut Process {
        self.server.as_mut().expect("the server was started")
    }

    /// Ends the server as a crash would; it keeps nothing.
    pub(crate) fn crash(&mut self) {
        self.server().kill();
        self.server = None;
        self.reloads = 0;
    }

    /// Puts `slice` in force and waits until it is.
    pub(crate) fn reload(&mut self, slice: &DhcpSlice) {
        self.begin_reload(slice);
        let text = self.in_force();
        self.await_log(&text);
    }

    /// Has `slice` put in force.
    pub(crate) fn begin_reload(&mut self, slice: &DhcpSlice) {
        self.write(slice);
        self.server().signal(Signal::SIGHUP).unwrap();
        self.reloads += 1;
    }

    /// What the server says once the last slice is in force.
    fn in_force(&self) -> String {
        format!("dhcp configuration in force changes={} ", self.reloads)
    }

    pub(crate) fn is_in_force(&mut self) -> bool {
        let text = self.in_force();
        self.log().contains(&text)
    }

    pub(crate) fn await_log(&mut self, text: &str) {
        self.server().says(text, BOUND).unwrap();
    }

    pub(crate) fn await_link(&mut self, name: &str) {
        self.await_log(&format!("dhcp link open link={name}"));
    }

    pub(crate) fn log(&mut self) -> String {
        self.server().output()
    }

    /// The server's counters as it prints them now.
    pub(crate) fn counters(&mut self) -> serde_json::Value {
        let printed = |log: &str| log.lines().filter(|line| line.starts_with('{')).count();
        let before = printed(&self.log());
        self.server().signal(Signal::SIGUSR1).unwrap();
        Wait::until(BOUND, "counters", || printed(&self.log()) > before).unwrap();
        let log = self.log();
        let line = log.lines().rfind(|line| line.starts_with('{')).unwrap();
        serde_json::from_str(line).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(server) = &self.server
        {
            eprintln!("== server\n{}", server.output());
        }
    }
}
