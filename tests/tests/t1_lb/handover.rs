//! A newer process takes over from one that runs, and nobody feels it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::bench::{BOUND, Client, free, get, rule, until};
use crate::live::{Tally, long, requests, short};
use crate::origin::Origin;
use crate::service::Agent;

/// `sluice-router lb`.
pub(crate) struct Desk {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    _slice: tempfile::NamedTempFile,
}

impl Desk {
    /// One that takes over from the one before it.
    fn start(slice: &Value) -> Self {
        Self::with(slice, &["--hand-over"])
    }

    /// One with these arguments.
    pub(crate) fn with(slice: &Value, arguments: &[&str]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), slice.to_string()).unwrap();
        let mut child = tokio::process::Command::new(sluice_tests::bin("sluice-router"))
            .args(["lb", "--workers", "2", "--slice"])
            .arg(file.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said, _slice: file }
    }

    /// Its report, once it has its configuration; `None` when it has ended.
    pub(crate) async fn report(&mut self) -> Option<Value> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()?).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
        let line = timeout(BOUND, self.said.next_line()).await.expect("a report in time");
        line.unwrap().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// The most memory that it had so far, in bytes.
    pub(crate) fn peak(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    async fn ended(mut self) {
        let status = timeout(BOUND, self.child.wait()).await.expect("it ends by itself").unwrap();
        assert!(status.success(), "{status}");
    }
}

/// Until something listens there.
pub(crate) async fn listened(at: SocketAddr) {
    let wait = async {
        while tokio::net::TcpStream::connect(at).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, wait).await.expect("it listens in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_counts_and_bindings_go_on_in_the_next_process() {
    let echo = Origin::echo("e").await;
    let webs = [Origin::http("m1").await, Origin::http("m2").await];
    let (tcp, http, bound) = (free(), free(), free());
    let webs_at = [webs[0].at, webs[1].at];
    let mut slice = json!({ "balancers": [
        rule(tcp, "tcp", &[echo.at]), rule(http, "http", &webs_at), rule(bound, "http", &webs_at),
        rule(free(), "tcp", &[echo.at]),
    ] });
    for (number, id) in ["echo", "web", "bound", "fresh"].into_iter().enumerate() {
        slice["balancers"][number]["id"] = json!(id);
    }
    slice["balancers"][2]["stickiness"] = json!({ "source-based": {} });
    let mut current = Desk::start(&slice);
    for at in [tcp, http, bound] {
        listened(at).await;
    }
    current.report().await.expect("it serves");
    assert_eq!(get(bound, "/").await.by(), "m1");
    // a process that knows of no binding would begin with the other one
    slice["balancers"][2]["members"].as_array_mut().unwrap().reverse();

    let tally = Arc::<Tally>::default();
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..60 {
        match number % 4 {
            0 | 1 => crowd.spawn(short(tcp, Arc::clone(&tally))),
            2 => crowd.spawn(long(tcp, Arc::clone(&tally))),
            _ => crowd.spawn(requests(http, Arc::clone(&tally))),
        };
    }
    let mut former = Vec::new();
    for _ in 0..3 {
        // where nobody listened before the next one does
        let fresh = free();
        slice["balancers"][3] = rule(fresh, "tcp", &[echo.at]);
        slice["balancers"][3]["id"] = json!("fresh");
        let next = Desk::start(&slice);
        former.push(std::mem::replace(&mut current, next));
        listened(fresh).await;
        // it answers once it lets the one after it take over
        current.report().await.expect("it serves");
        let served = tally.served.load(Ordering::Relaxed);
        let go_on = || tally.served.load(Ordering::Relaxed) >= served + 200;
        until(go_on, "clients are served").await;
        while let Some(ended) = crowd.try_join_next() {
            ended.expect("a client was harmed");
        }
    }
    assert_eq!(get(bound, "/").await.by(), "m1", "the binding has come along");
    tally.stop.store(true, Ordering::Relaxed);
    timeout(BOUND, crowd.join_all()).await.expect("all clients end");
    for process in former {
        process.ended().await;
    }
    let report = current.report().await.expect("the last one serves");
    let requests: u64 = report["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["counts"]["requests"].as_u64())
        .sum();
    let sessions: u64 = report["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["counts"]["sessions"].as_u64())
        .sum();
    let served = tally.served.load(Ordering::Relaxed);
    assert!(
        sessions > 60 && requests > 0 && sessions + requests > served / 4,
        "{sessions} sessions, {requests} requests, {served} served: {report}"
    );
}

#[tokio::test]
async fn a_service_takes_over_within_its_sandbox() {
    let echo = Origin::echo("e").await;
    let at = free();
    let slice = json!({ "balancers": [rule(at, "tcp", &[echo.at])] });
    let (mut first, mut its_agent) = Agent::of(64_055);
    assert_eq!(its_agent.configure(7, &slice).await["say"], "in-force");
    let mut open = Client::to(at).await;
    open.send("1").await;
    let (mut second, mut agent) = Agent::of(64_055);
    assert_eq!(agent.configure(7, &slice).await["say"], "in-force");
    let mut fresh = Client::to(at).await;
    fresh.send("2").await;
    fresh.stream.shutdown().await.unwrap();
    assert_eq!(fresh.rest().await, b"e2");
    open.send("3").await;
    open.stream.shutdown().await.unwrap();
    assert_eq!(open.rest().await, b"e13", "the connection of the first goes on");
    let status = timeout(BOUND, first.wait()).await.expect("it ends with its last connection");
    assert!(status.unwrap().success());
    let both = |said: &Value| said["counters"]["sessions"].as_u64() >= Some(2);
    agent.says(both).await;
    drop((agent, its_agent));
    timeout(BOUND, second.wait()).await.expect("it ends with the channel").unwrap();
}

/// Until the process that listens at `at` has accepted the connection of `client`: before, its socket has no inode.
async fn accepted(at: SocketAddr, client: &Client) {
    let peer = client.stream.local_addr().unwrap();
    let port = |field: &str| u16::from_str_radix(field.split(':').nth(1).unwrap(), 16).unwrap();
    let is_accepted = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().skip(1).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            [port(fields[1]), port(fields[2])] == [at.port(), peer.port()] && fields[9] != "0"
        })
    };
    until(is_accepted, "the connection is accepted").await;
}

#[tokio::test]
async fn who_waits_for_room_is_served_by_the_process_that_accepted_them() {
    let echo = Origin::echo("e").await;
    let at = free();
    let mut full = rule(at, "tcp", &[echo.at]);
    full["max_connections"] = json!(1);
    let slice = json!({ "balancers": [full] });
    let (mut first, mut its_agent) = Agent::of(64_056);
    assert_eq!(its_agent.configure(7, &slice).await["say"], "in-force");
    let mut inside = Client::to(at).await;
    inside.send("1").await;
    accepted(at, &inside).await;
    let mut waiting = Client::to(at).await;
    waiting.send("2").await;
    accepted(at, &waiting).await;
    let (mut second, mut agent) = Agent::of(64_056);
    assert_eq!(agent.configure(7, &slice).await["say"], "in-force");
    // the first accepts no more, and still there is no room in it
    inside.stream.shutdown().await.unwrap();
    assert_eq!(inside.rest().await, b"e1");
    waiting.stream.shutdown().await.unwrap();
    assert_eq!(waiting.rest().await, b"e2", "it has come in, and is served");
    let status = timeout(BOUND, first.wait()).await.expect("it ends with its last connection");
    assert!(status.unwrap().success());
    drop((agent, its_agent));
    timeout(BOUND, second.wait()).await.expect("it ends with the channel").unwrap();
}
