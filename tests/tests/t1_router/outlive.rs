//! Services outlive the agent: what they carry is not cut when it is killed, and the next one takes them over.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use sluice_api::RouterDocument;
use sluice_api::report::{Answer, ServiceState, ServiceStatus};
use sluice_lab::Wait;
use sluice_lab::netns::Process;

use crate::SOON;
use crate::policy::{changed, guests_with_addresses};
use crate::world::World;

/// Asks for a lease on and on and writes how often, and how often nobody answered.
const LOAD: &str = r#"
import os, socket, struct, sys
out = sys.argv[1]
mac = bytes.fromhex("02000a010117")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, 25, b"eth0\0")
s.bind(("0.0.0.0", 68))
s.settimeout(5)
asked = lost = 0
def ask(kind, options):
    global asked, lost
    asked += 1
    head = struct.pack("!BBBBIHH16s16s192sI", 1, 1, 6, 0, asked, 0, 0x8000, b"", mac, b"", 0x63825363)
    s.sendto(head + bytes([53, 1, kind]) + options + b"\xff", ("255.255.255.255", 67))
    try:
        while struct.unpack("!I", s.recv(2048)[4:8])[0] != asked:
            pass
    except TimeoutError:
        lost += 1
    with open(out + ".new", "w") as file:
        file.write(f"{asked} {lost}")
    os.rename(out + ".new", out)
while True:
    ask(1, b"")
    ask(3, bytes([50, 4, 10, 1, 1, 23, 54, 4, 10, 1, 1, 1]))
"#;

/// Sends on and on to whoever connects.
const STREAM: &str = "\
import socket, threading, time
def feed(to):
    while True:
        to.sendall(b'more\\n')
        time.sleep(0.02)
server = socket.create_server(('10.1.1.24', 8090))
while True:
    threading.Thread(target=feed, args=(server.accept()[0],)).start()
";

/// Connects to a port of the balancer on and on, each time until a byte comes, and writes how often that was so, how often
/// it was refused, and how often a connection ended before.
const KNOCK: &str = r#"
import os, socket, sys, time
out, port = sys.argv[1], int(sys.argv[2])
served = refused = cut = 0
while True:
    try:
        with socket.create_connection(("198.51.100.11", port), 20) as s:
            if s.recv(1):
                served += 1
            else:
                cut += 1
    except ConnectionRefusedError:
        refused += 1
    except OSError:
        cut += 1
    with open(out + ".new", "w") as file:
        file.write(f"{served} {refused} {cut}")
    os.rename(out + ".new", out)
    time.sleep(0.005)
"#;

/// A router with a balancer in front of vm2, or without.
fn balanced(generation: u64, with: bool) -> RouterDocument {
    balanced_at(generation, if with { &[80] } else { &[] })
}

/// A router with balancers in front of vm2 at these ports.
fn balanced_at(generation: u64, ports: &[u16]) -> RouterDocument {
    changed(generation, |document| {
        let router = &mut document["role"]["router"];
        router["firewall"] = json!([
            { "id": "fw-1", "public": "198.51.100.11", "traffic": { "tcp": { "ports": "80-81" } } },
        ]);
        let rule = |port: &u16| {
            json!({
                "id": format!("stream-{port}"), "address": "198.51.100.11", "port": port,
                "mode": "tcp",
                "members": [{ "id": "m2", "address": "10.1.1.24", "port": 8090 }],
            })
        };
        router["balancers"] = ports.iter().map(rule).collect();
    })
}

fn script(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// DHCP questions of vm1, one after the other.
struct Load {
    _process: Process,
    counts: PathBuf,
}

impl Load {
    fn start(world: &World) -> Self {
        let counts = world.dir.path().join("counts");
        let script = script(world, "load.py", LOAD);
        let words = ["python3".as_ref(), script.as_os_str(), counts.as_os_str()];
        Self { _process: world.guest("vm1").spawn(words).unwrap(), counts }
    }

    /// Questions asked and those not answered.
    fn counts(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(&self.counts).unwrap_or_default();
        let mut words = text.split(' ').map(|word| word.parse().unwrap_or_default());
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    fn goes_on(&self) {
        let (before, _) = self.counts();
        Wait::until(SOON, "more leases", || self.counts().0 > before + 50).unwrap();
    }
}

/// Connections to the balancer, one after the other.
struct Knocks {
    _process: Process,
    counts: PathBuf,
}

impl Knocks {
    fn start(world: &World, port: u16) -> Self {
        let counts = world.dir.path().join(format!("knocks-{port}"));
        let script = script(world, "knock.py", KNOCK);
        let port = port.to_string();
        let words = ["python3".as_ref(), script.as_os_str(), counts.as_os_str(), port.as_ref()];
        Self { _process: world.inet.spawn(words).unwrap(), counts }
    }

    /// Connections served, refused, and ended before a byte came.
    fn counts(&self) -> [u64; 3] {
        let text = std::fs::read_to_string(&self.counts).unwrap_or_default();
        let mut words = text.split(' ').map(|word| word.parse().unwrap_or_default());
        [(); 3].map(|()| words.next().unwrap_or_default())
    }

    fn go_on(&self) {
        let before = self.counts()[0];
        Wait::until(SOON, "more connections", || self.counts()[0] > before + 20).unwrap();
    }
}

/// A transfer through the balancer.
struct Transfer {
    process: Process,
    file: PathBuf,
}

impl Transfer {
    fn start(world: &World) -> (Process, Self) {
        let script = script(world, "stream.py", STREAM);
        let vm2 = world.guest("vm2");
        let server = vm2.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
        let listens = || vm2.sh("ss -Hltn sport = 8090 | grep -q .").run().unwrap().ok();
        Wait::until(SOON, "the member", listens).unwrap();
        let file = world.dir.path().join("taken");
        let url = "http://198.51.100.11/";
        let words = ["curl", "-sN", "--http0.9", "-o", file.to_str().unwrap(), url];
        (server, Self { process: world.inet.spawn(words).unwrap(), file })
    }

    fn goes_on(&mut self) {
        let length = |file: &Path| std::fs::metadata(file).map_or(0, |is| is.len());
        let before = length(&self.file);
        let more = Wait::until(SOON, "more to come", || length(&self.file) > before + 125);
        assert!(more.is_ok() && self.process.is_running(), "{}", self.process.output());
    }
}

fn services(world: &World) -> BTreeMap<String, ServiceStatus> {
    world.status().services.into_iter().map(|one| (one.name.clone(), one)).collect()
}

fn pids(world: &World) -> BTreeMap<String, Option<u32>> {
    services(world).into_iter().map(|(name, one)| (name, one.pid)).collect()
}

fn all_serve(world: &World, config: &RouterDocument) {
    let all = || {
        let all = services(world);
        all.values().all(|one| {
            one.state == ServiceState::Running && one.generation == Some(config.generation)
        })
    };
    let served = Wait::until(SOON, "all services", all);
    assert!(served.is_ok(), "{:#?}\n{}", services(world), world.log());
}

/// True when a process runs, and not merely waits for its parent to take note of its end.
fn runs(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

#[test]
fn a_killed_agent_cuts_nothing_and_comes_back_to_its_services() {
    let mut world = World::new();
    let config = balanced(10, true);
    world.push_and_confirm(&config);
    guests_with_addresses(&world);
    let load = Load::start(&world);
    let (_server, mut transfer) = Transfer::start(&world);
    load.goes_on();
    transfer.goes_on();
    let before = pids(&world);
    assert!(before.contains_key("lb") && before.contains_key("dhcp"), "{before:?}");

    for _ in 0..2 {
        world.kill_agent();
        load.goes_on();
        transfer.goes_on();
        world.start_agent(&sluice_tests::bin("sluice-router"));
        all_serve(&world, &config);
        assert_eq!(pids(&world), before, "a service was started again\n{}", world.log());
    }
    load.goes_on();
    transfer.goes_on();
    assert_eq!(load.counts().1, 0, "questions that nobody answered");

    // it configures them as ever, and what stays is not cut
    let next = balanced(11, true);
    world.push_and_confirm(&next);
    all_serve(&world, &next);
    transfer.goes_on();

    // and looks after them as ever: they are not its children any more
    let dhcp = before["dhcp"].unwrap();
    world.router.sh(&format!("kill -9 {dhcp}")).check().unwrap();
    let again = || services(&world)["dhcp"].pid.is_some_and(|pid| pid != dhcp);
    Wait::until(SOON, "another process", again).unwrap();
    all_serve(&world, &next);
    let now = services(&world);
    assert_eq!((now["dhcp"].restarts, now["lb"].restarts), (1, 0), "{now:#?}");
    assert_eq!(now["lb"].pid, before["lb"]);
    load.goes_on();
    transfer.goes_on();
    let all: Vec<_> = now.values().filter_map(|one| one.pid).collect();
    for pid in all {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("Seccomp:\t2") && !status.contains("Uid:\t0"), "{status}");
    }
}

#[test]
fn services_that_are_not_wanted_or_hang_are_told_from_those_that_go_on() {
    let mut world = World::new();
    world.push_and_confirm(&balanced(10, false));
    world.lease("vm1", "10.1.1.23");
    // killed while a configuration waits for its confirmation: the balancer is of that one alone
    let waits = world.push(&balanced(11, true), 600);
    assert!(matches!(waits, Ok(Answer::Applied { .. })), "{waits:?}");
    let before = pids(&world);
    let (balancer, names) = (before["lb"].unwrap(), before["dns"].unwrap());
    assert!(runs(balancer));
    world.kill_agent();
    world.router.sh(&format!("kill -STOP {names}")).check().unwrap();
    world.start_agent(&sluice_tests::bin("sluice-router"));
    all_serve(&world, &balanced(10, false));
    let now = pids(&world);
    assert!(!now.contains_key("lb"), "{now:?}");
    Wait::until(SOON, "the balancer to be ended", || !runs(balancer)).unwrap();
    assert_ne!(now["dns"], before["dns"], "one that does not answer is replaced");
    Wait::until(SOON, "the one that hung to be ended", || !runs(names)).unwrap();
    assert_eq!(now["dhcp"], before["dhcp"]);
    assert_eq!(now["metadata"], before["metadata"]);
    world.lease("vm1", "10.1.1.23");
}

#[test]
fn services_of_another_build_are_replaced_by_those_of_the_agent_that_comes() {
    let mut world = World::new();
    // where a user without rights can run it, wherever the sources are
    let other = world.dir.path().join("sluice-router");
    std::fs::copy(sluice_tests::bin("sluice-router"), &other).unwrap();
    std::fs::set_permissions(world.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.kill_agent();
    world.start_agent(&other);
    let config = balanced(10, true);
    world.push_and_confirm(&config);
    guests_with_addresses(&world);
    let (_server, mut transfer) = Transfer::start(&world);
    let knocks = Knocks::start(&world, 80);
    transfer.goes_on();
    knocks.go_on();
    let before = pids(&world);
    world.kill_agent();
    assert!(before.values().flatten().all(|pid| runs(*pid)), "services end with the agent");
    world.start_agent(&sluice_tests::bin("sluice-router"));
    all_serve(&world, &config);
    let now = services(&world);
    for (name, pid) in &before {
        assert_ne!(now[name].pid, *pid, "{name} is of another build");
        assert!(name == "lb" || !runs(pid.unwrap()), "{name} of the former build was left");
        assert_eq!(now[name].restarts, 0, "{name}\n{}", world.log());
    }
    // the balancer has handed its sockets over, and carries what it had
    let former = before["lb"].unwrap();
    for again in [false, true] {
        if again {
            world.restart_agent();
            all_serve(&world, &config);
            assert_eq!(pids(&world)["lb"], now["lb"].pid);
        }
        transfer.goes_on();
        knocks.go_on();
        assert!(runs(former), "the transfer is still its own");
    }
    // a configuration is for both
    world.push_and_confirm(&balanced(11, true));
    transfer.goes_on();
    let [_, refused, cut] = knocks.counts();
    assert_eq!((refused, cut), (0, 0), "{}", world.log());
    drop(transfer);
    Wait::until(SOON, "the former one to end", || !runs(former)).unwrap();
    world.lease("vm1", "10.1.1.23");
}

#[test]
fn a_balancer_that_crashes_refuses_nobody_and_a_rule_that_is_gone_listens_no_more() {
    let world = World::new();
    world.push_and_confirm(&balanced_at(10, &[80, 81]));
    guests_with_addresses(&world);
    let (_server, _transfer) = Transfer::start(&world);
    let [stays, goes] = [80, 81].map(|port| Knocks::start(&world, port));
    stays.go_on();
    goes.go_on();
    for round in 1..=3 {
        let pid = services(&world)["lb"].pid.unwrap();
        world.router.sh(&format!("kill -9 {pid}")).check().unwrap();
        let again = || {
            let lb = &services(&world)["lb"];
            lb.restarts == round && lb.state == ServiceState::Running
        };
        Wait::until(SOON, "another process", again).unwrap();
        stays.go_on();
        goes.go_on();
    }
    for knocks in [&stays, &goes] {
        let [_, refused, cut] = knocks.counts();
        // one at a time, and at most that one was being served
        assert!(refused == 0 && cut <= 3, "{refused} refused, {cut} cut\n{}", world.log());
    }
    // what the agent keeps of a port does not listen on when its rule is gone
    let listening = |port: u16| {
        let line = format!("ss -Hltn src 198.51.100.11:{port} | grep -q .");
        world.router.sh(&line).run().unwrap().ok()
    };
    world.push_and_confirm(&balanced_at(11, &[80]));
    assert!(listening(80) && !listening(81));
    stays.go_on();
    assert_eq!(stays.counts()[1], 0);
    world.push_and_confirm(&balanced_at(12, &[]));
    assert!(!listening(80), "the process is gone, and so is what was kept of it");
}
