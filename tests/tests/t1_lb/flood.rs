//! Far more connections than a rule takes: they wait in the kernel's queue, and no other rule is harmed.
//!
//! The clients are processes of their own, as no process may have so many files open. The rule is one of HTTP, where a
//! connection between two requests is one file of the balancer's and not two.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::bench::{BOUND, Client, free, get, rule};
use crate::handover::{Desk, listened};
use crate::origin::Origin;

/// Open files of a process besides those that are counted here.
const OTHER_FILES: usize = 500;
/// Seconds that those have who came too late for the kernel's queue: it hears them again when they repeat themselves.
const PATIENCE: u8 = 30;

/// What is offered to what.
struct Sizes {
    limit: usize,
    crowds: u8,
    /// Clients of one crowd.
    each: usize,
}

impl Sizes {
    /// 100,000 connections and a limit of 10,000 with `SLUICE_FULL=1`, else 2,000 and 200.
    fn of_this_run() -> Self {
        let full = std::env::var_os("SLUICE_FULL").is_some();
        let (limit, crowds, each) = if full { (10_000, 5, 18_000) } else { (200, 2, 900) };
        let files = usize::try_from(sluice_sys::process::raise_open_files().unwrap()).unwrap();
        assert!(files >= limit.max(each) + OTHER_FILES, "{files} open files are too few");
        Self { limit, crowds, each }
    }

    fn waiting(&self) -> usize {
        usize::from(self.crowds) * self.each
    }
}

/// Clients that all ask at once, from two addresses of their own, since one has no more than 28,000 ports.
struct Crowd {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Crowd {
    fn start(at: SocketAddr, number: u8, clients: usize) -> Self {
        let address = |second: u8| format!("127.0.{}.{second}", number + 1);
        let mut child = tokio::process::Command::from(sluice_programs::command("python3").unwrap())
            .args(["-c", CROWD, &at.ip().to_string(), &at.port().to_string()])
            .args([clients.to_string(), address(1), address(2)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said }
    }

    /// Each of them has begun.
    async fn offered(&mut self) {
        let line = timeout(BOUND * 2, self.said.next_line()).await.expect("they begin in time");
        assert_eq!(line.unwrap().as_deref(), Some("offered"));
    }

    /// How their connections ended, by status or error; `unserved` are those that nobody heard.
    async fn ends(mut self) -> BTreeMap<String, usize> {
        let mut told = self.child.stdin.take().unwrap();
        told.write_all(format!("{PATIENCE}\n").as_bytes()).await.unwrap();
        let line = timeout(BOUND * 5, self.said.next_line()).await.expect("they end in time");
        serde_json::from_str(&line.unwrap().expect("what they went through")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_a_rule_takes_wait_and_harm_no_other() {
    let sizes = Sizes::of_this_run();
    let origin = Origin::http("m1").await;
    let (at, elsewhere) = (free(), free());
    let mut rules = [at, elsewhere].map(|at| rule(at, "http", &[origin.at]));
    for rule in &mut rules {
        rule["health"] = json!({ "check": "none" });
        rule["timeouts"] =
            json!({ "request_seconds": 60, "idle_seconds": 600, "keep_alive_seconds": 600 });
    }
    rules[0]["max_connections"] = json!(sizes.limit);
    rules[1]["id"] = json!("other");
    let mut desk = Desk::with(&json!({ "balancers": rules }), &[]);
    for at in [at, elsewhere] {
        listened(at).await;
    }
    // by then it listens for signals, too
    assert_eq!(get(elsewhere, "/").await.status, 200);
    until_counts(&mut desk, "current", 0).await;
    let before = desk.peak();
    let mut held = Vec::with_capacity(sizes.limit);
    for _ in 0..sizes.limit {
        let mut client = Client::to(at).await;
        assert_eq!(client.ask("GET", "/", &[]).await.status, 200);
        held.push(client);
    }
    let start = |number| Crowd::start(at, number, sizes.each);
    let mut crowds: Vec<Crowd> = (1..=sizes.crowds).map(start).collect();
    for crowd in &mut crowds {
        crowd.offered().await;
    }
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(get(elsewhere, "/").await.status, 200);
        assert!(began.elapsed() < BOUND, "the other rule serves meanwhile");
    }
    let full = counts(&mut desk, "rule").await;
    let told = ["current", "current_most", "request_errors", "no_member"];
    assert_eq!(told.map(|name| number(&full, name)), [sizes.limit, sizes.limit, 0, 0]);

    // some go, and who waits gets in as others end
    held.truncate(sizes.limit / 5 * 4);
    let mut ends = BTreeMap::new();
    let all = futures_util::future::join_all(crowds.into_iter().map(Crowd::ends)).await;
    for (how, count) in all.into_iter().flatten() {
        *ends.entry(how).or_insert(0) += count;
    }
    eprintln!("{} offered to a limit of {}: {ends:?}", sizes.limit + sizes.waiting(), sizes.limit);
    let of = |how: &str| ends.get(how).copied().unwrap_or(0);
    // the kernel gives up on some whose handshake ended when its queue was full: they are reset
    let told = ["200", "unserved", "ECONNRESET"].map(of);
    assert_eq!(told.into_iter().sum::<usize>(), sizes.waiting(), "nothing else is told: {ends:?}");
    assert!(told[0] >= sizes.waiting().min(queue()), "who is in the queue is served: {ends:?}");
    drop(held);
    let flooded = until_counts(&mut desk, "current", 0).await;
    assert!(number(&flooded, "current_most") <= sizes.limit, "{flooded}");
    // whom the balancer let in it served, in either rule, but for those that had gone
    for counts in [flooded, counts(&mut desk, "other").await] {
        let harm = ["request_errors", "response_errors", "connect_errors", "no_member"];
        assert_eq!(harm.map(|name| number(&counts, name)), [0; 4], "{counts}");
    }
    // what waits is the kernel's: memory goes with what is let in, in an unoptimised build as well
    let (grown, bound) = (desk.peak() - before, sizes.limit * 32_768 + (16 << 20));
    assert!(grown < bound, "{grown} bytes more, {bound} allowed");
}

/// Connections that the kernel keeps for a listening socket of ours.
fn queue() -> usize {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    most.trim().parse::<usize>().unwrap().min(4096)
}

/// What the rule called `id` counted.
async fn counts(desk: &mut Desk, id: &str) -> Value {
    let report = desk.report().await.expect("it runs");
    let rules = report["rules"].as_array().unwrap();
    rules.iter().find(|it| it["id"] == id).unwrap()["counts"].clone()
}

fn number(counts: &Value, name: &str) -> usize {
    // what is nought is left out
    usize::try_from(counts[name].as_u64().unwrap_or(0)).unwrap()
}

async fn until_counts(desk: &mut Desk, name: &str, wanted: usize) -> Value {
    let wait = async {
        loop {
            let counts = counts(desk, "rule").await;
            if number(&counts, name) == wanted {
                return counts;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    // some of those that went unserved are let in when they are gone, and stay for as long as a request may take
    timeout(BOUND * 5, wait).await.expect("all of them are gone")
}

/// Begins all connections, says so, waits for a number on its input, and for as many seconds at most for the answers.
const CROWD: &str = r#"
import collections, errno, json, resource, selectors, socket, struct, sys, time
host, port, number, sources = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
IP_BIND_ADDRESS_NO_PORT = 24
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
waiting = selectors.DefaultSelector()
ends = collections.Counter()

def over(client, how):
    waiting.unregister(client)
    # with a reset the port is free at once
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    ends[how] += 1

def go_on(client, connected):
    try:
        if connected:
            client.send(REQUEST)
            waiting.modify(client, selectors.EVENT_READ)
        else:
            words = client.recv(4096).split(b" ", 2)
            over(client, words[1].decode() if len(words) > 2 else "closed")
    except OSError as error:
        over(client, errno.errorcode[error.errno])

def serve(patience):
    for key, events in waiting.select(patience):
        if key.fileobj is sys.stdin:
            return int(sys.stdin.readline())
        go_on(key.fileobj, events & selectors.EVENT_WRITE)

for at in range(number):
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    client.bind((sources[at % len(sources)], 0))
    begun = client.connect_ex((host, port))
    assert begun in (0, errno.EINPROGRESS), errno.errorcode[begun]
    waiting.register(client, selectors.EVENT_WRITE)
    if at % 100 == 0:
        serve(0)
print("offered", flush=True)
waiting.register(sys.stdin, selectors.EVENT_READ)
while (patience := serve(None)) is None:
    pass
waiting.unregister(sys.stdin)
end = time.monotonic() + patience
while waiting.get_map() and time.monotonic() < end:
    serve(end - time.monotonic())
ends["unserved"] = len(waiting.get_map())
print(json.dumps(ends), flush=True)
"#;
