//! What a change is not about does not notice it: an open transfer, and a flood of new connections, through hundreds of
//! changes of rules.

use serde_json::json;
use sluice_api::RouterDocument;
use sluice_api::report::Answer;
use sluice_lab::Wait;

use crate::SOON;
use crate::policy::{changed, guests_with_addresses};
use crate::world::World;

/// Changes of rules, of which each takes some hundredths of a second: 1,000 with `SLUICE_FULL=1`.
fn changes() -> u64 {
    if std::env::var_os("SLUICE_FULL").is_some() { 1_000 } else { 200 }
}

/// Port 7001 of UDP and port 7000 of TCP are let in, whatever else changes; port 7002 never is.
fn config(generation: u64, number: u64) -> RouterDocument {
    changed(generation, |document| {
        let router = &mut document["role"]["router"];
        let forward = |id: &str, protocol: &str, port: u16| {
            json!({ "id": id, "public": "198.51.100.11", "protocol": protocol, "network": "net-1",
                    "ports": port.to_string(), "guest": "10.1.1.23" })
        };
        router["port_forwards"] = json!([
            forward("pf-1", "tcp", 7000),
            forward("pf-2", "udp", 7001),
            forward("pf-3", "udp", 7002),
            { "id": format!("pf-x{number}"), "public": "198.51.100.12", "protocol": "tcp",
              "network": "net-1", "ports": "80", "guest": "10.1.1.24", "guest_port": 8000 + number },
        ]);
        let rule = |id: String, traffic: serde_json::Value| json!({ "id": id, "public": "198.51.100.11", "traffic": traffic });
        // the rules that matter move up and down in the chain of their address
        let mut rules: Vec<_> = (0..number % 5)
            .map(|n| {
                rule(
                    format!("fw-x{number}-{n}"),
                    json!({ "tcp": { "ports": (9000 + n).to_string() } }),
                )
            })
            .collect();
        rules.push(rule("fw-1".to_owned(), json!({ "tcp": { "ports": "7000" } })));
        rules.push(rule("fw-2".to_owned(), json!({ "udp": { "ports": "7001" } })));
        rules.push(rule(format!("fw-y{number}"), json!({ "udp": { "ports": "7003" } })));
        router["firewall"] = json!(rules);
    })
}

/// Counts what comes to each of two ports, until it is told to stop.
const COUNT: &str = "\
import select, socket, signal, sys
socks = []
for port in (7001, 7002):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.bind(('0.0.0.0', port))
    socks.append(s)
counts = [0, 0]
def tell(*_):
    with open(sys.argv[1], 'w') as out:
        out.write(f'{counts[0]} {counts[1]}')
    sys.exit(0)
signal.signal(signal.SIGTERM, tell)
print('counting', flush=True)
while True:
    for s in select.select(socks, [], [])[0]:
        s.recv(100)
        counts[socks.index(s)] += 1
";

/// Opens a new connection with every datagram, to each of two ports in turn, until it is told to stop.
const FLOOD: &str = "\
import socket, signal, sys, time
sent = 0
def tell(*_):
    with open(sys.argv[1], 'w') as out:
        out.write(str(sent))
    sys.exit(0)
signal.signal(signal.SIGTERM, tell)
print('flooding', flush=True)
port = 20000
while True:
    port = 20000 + (port - 19999) % 40000
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('198.51.100.1', port))
    s.sendto(b'x', ('198.51.100.11', 7001))
    sent += 1
    s.sendto(b'x', ('198.51.100.11', 7002))
    s.close()
    time.sleep(0.002)
";

/// Sends numbered lines, and takes them.
const FEED: &str = "\
import socket, time
server = socket.create_server(('0.0.0.0', 7000))
to = server.accept()[0]
n = 0
while True:
    to.sendall(f'{n}\\n'.encode())
    n += 1
    time.sleep(0.001)
";

#[test]
fn hundreds_of_changes_disturb_nothing_that_they_are_not_about() {
    let world = World::new();
    world.push_and_confirm(&config(10, 0));
    guests_with_addresses(&world);
    let (vm1, inet) = (world.guest("vm1"), &world.inet);
    let file = |name: &str| world.dir.path().join(name);
    for (name, text) in [("count.py", COUNT), ("flood.py", FLOOD), ("feed.py", FEED)] {
        std::fs::write(file(name), text).unwrap();
    }
    let python = |script: &str, more: &str| {
        ["python3".into(), file(script).display().to_string(), file(more).display().to_string()]
    };
    let _feed = vm1.spawn(python("feed.py", "unused")).unwrap();
    let serves = || vm1.sh("ss -Hltn sport = 7000 | grep -q .").run().unwrap().ok();
    Wait::until(SOON, "the feed", serves).unwrap();
    let taken = file("taken");
    let line = format!("nc -d 198.51.100.11 7000 > {}", taken.display());
    let mut taker = inet.spawn(["sh", "-c", &line]).unwrap();
    let mut count = vm1.spawn(python("count.py", "counted")).unwrap();
    count.says("counting", SOON).unwrap();
    let mut flood = inet.spawn(python("flood.py", "sent")).unwrap();
    flood.says("flooding", SOON).unwrap();
    let length = || std::fs::metadata(&taken).map_or(0, |is| is.len());
    Wait::until(SOON, "the transfer", || length() > 100).unwrap();

    let changes = changes();
    for number in 1..=changes {
        let answer = world.push(&config(10 + number, number), 0);
        assert!(matches!(answer, Ok(Answer::Applied { .. })), "{answer:?}");
    }

    let stop = nix::sys::signal::Signal::SIGTERM;
    flood.signal(stop).unwrap();
    let written =
        |name: &str| std::fs::read_to_string(file(name)).is_ok_and(|text| !text.is_empty());
    Wait::until(SOON, "the flood to end", || written("sent")).unwrap();
    let before = length();
    Wait::until(SOON, "the transfer to go on", || length() > before).unwrap();
    assert!(taker.is_running(), "the transfer was reset");
    taker.kill();
    let text = std::fs::read_to_string(&taken).unwrap();
    let numbers = text.lines().rev().skip(1).collect::<Vec<_>>();
    let all = numbers.iter().rev().enumerate().all(|(place, line)| line.parse() == Ok(place));
    assert!(all, "lines were lost");

    // what is under way has arrived when nothing new is counted any more
    let sent: u64 = std::fs::read_to_string(file("sent")).unwrap().parse().unwrap();
    assert!(sent > changes, "the flood was no flood: {sent}");
    let queued = || {
        vm1.sh("ss -Hlun sport = 7001 | { read state queued rest; echo $queued; }").check().unwrap()
    };
    Wait::until(SOON, "all to be taken", || queued().trim() == "0").unwrap();
    count.signal(stop).unwrap();
    Wait::until(SOON, "the count", || written("counted")).unwrap();
    let counted = std::fs::read_to_string(file("counted")).unwrap();
    assert_eq!(counted, format!("{sent} 0"), "of {sent} that are let in and as many that are not");
}
