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

/// Port 7001 of UDP and ports 7000 and 7004 of TCP are let in, whatever else changes; port 7002 never is.
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
            forward("pf-4", "tcp", 7004),
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
        rules.push(rule("fw-4".to_owned(), json!({ "tcp": { "ports": "7004" } })));
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

/// Sends numbered lines to whoever connects to either port.
const FEED: &str = "\
import socket, threading, time
def feed(port):
    to = socket.create_server(('0.0.0.0', port)).accept()[0]
    n = 0
    while True:
        to.sendall(f'{n}\\n'.encode())
        n += 1
        time.sleep(0.001)
for port in (7000, 7004):
    threading.Thread(target=feed, args=(port,)).start()
";

/// All lines that came are there, in order; the last one may be on its way.
fn whole(taken: &std::path::Path) -> bool {
    let text = std::fs::read_to_string(taken).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let Some((_, lines)) = lines.split_last() else { return false };
    lines.iter().enumerate().all(|(place, line)| line.parse() == Ok(place))
}

#[test]
#[allow(clippy::too_many_lines)] // one story: what is open and what is new, through all changes and the last one
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
    let taken = [7000, 7004].map(|port| {
        let serves = || vm1.sh(&format!("ss -Hltn sport = {port} | grep -q .")).run().unwrap().ok();
        Wait::until(SOON, "the feed", serves).unwrap();
        let taken = file(&format!("taken-{port}"));
        let line = format!("exec nc -d 198.51.100.11 {port} > {}", taken.display());
        (inet.spawn(["sh", "-c", &line]).unwrap(), taken)
    });
    let [(mut taker, taken), (mut other, others)] = taken;
    let mut count = vm1.spawn(python("count.py", "counted")).unwrap();
    count.says("counting", SOON).unwrap();
    let mut flood = inet.spawn(python("flood.py", "sent")).unwrap();
    flood.says("flooding", SOON).unwrap();
    let length = |taken: &std::path::Path| std::fs::metadata(taken).map_or(0, |is| is.len());
    let goes_on = |taken: &std::path::Path| {
        let before = length(taken);
        Wait::until(SOON, "the transfer to go on", || length(taken) > before + 100).unwrap();
    };
    goes_on(&taken);
    goes_on(&others);

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
    goes_on(&taken);
    goes_on(&others);
    assert!(taker.is_running() && other.is_running(), "a transfer was reset");
    assert!(whole(&taken) && whole(&others), "lines were lost");

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

    // the rule of one of the two is deleted
    let mut last = json!(config(11 + changes, 0));
    let rules = last["role"]["router"]["firewall"].as_array_mut().unwrap();
    rules.retain(|rule| rule["id"] != "fw-1");
    let last = RouterDocument::decode(last.to_string().as_bytes()).unwrap().0;
    let answer = world.push(&last, 0);
    assert!(matches!(answer, Ok(Answer::Applied { .. })), "{answer:?}");
    let ended = || {
        let before = length(&taken);
        goes_on(&others);
        goes_on(&others);
        length(&taken) == before
    };
    // each change before it is worked off first, for all connections of the flood
    let patience = SOON + std::time::Duration::from_secs(changes);
    Wait::until(patience, "the transfer to end with its rule", ended).unwrap();
    assert!(ended(), "it goes on after a pause");
    assert!(other.is_running() && whole(&others), "the other one was disturbed");
}
