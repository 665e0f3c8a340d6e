//! What the scenarios share: a balancer in this process, and a client that sees every byte.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_router::lb::{LbSlice, Report, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long anything may take before a test fails.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// A balancer with what it was told last.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) slice: Value,
}

impl Bench {
    /// A balancer with one rule.
    pub(crate) async fn with(rule: Value) -> Self {
        Self::of(json!([rule])).await
    }

    pub(crate) async fn of(rules: Value) -> Self {
        let slice = json!({ "balancers": rules });
        let mut bench = Self { server: Server::start(2).unwrap(), slice };
        bench.apply().await.unwrap();
        bench
    }

    /// Brings what `slice` says now into force.
    pub(crate) async fn apply(&mut self) -> Result<(), String> {
        let slice: LbSlice = serde_json::from_value(self.slice.clone()).unwrap();
        self.server.apply(&slice).await
    }

    /// The first rule, to be changed.
    pub(crate) fn rule(&mut self) -> &mut Value {
        &mut self.slice["balancers"][0]
    }

    pub(crate) fn report(&self) -> Report {
        self.server.report()
    }

    /// Waits until the first rule has so many members that are well.
    pub(crate) async fn healthy(&self, number: usize) {
        let is = || self.report().rules[0].members_healthy == number;
        until(is, "members are as well as expected").await;
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(condition: impl Fn() -> bool, what: &str) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// `began` was so many seconds ago: never more than half a second less, and later by what a busy machine may take. With
/// `SLUICE_FULL=1` by a second at most.
pub(crate) fn about(began: Instant, seconds: f32) {
    let late = if std::env::var_os("SLUICE_FULL").is_some() { 1.0 } else { BOUND.as_secs_f32() };
    let took = began.elapsed().as_secs_f32();
    assert!((seconds - 0.5..=seconds + late).contains(&took), "{seconds} s, took {took} s");
}

/// A rule at `at` of `mode` with `members` called m1, m2, ...; checks are quick.
pub(crate) fn rule(at: SocketAddr, mode: &str, members: &[SocketAddr]) -> Value {
    let members: Vec<Value> =
        members.iter().enumerate().map(|(number, it)| member(number + 1, *it)).collect();
    json!({
        "id": "rule", "address": at.ip(), "port": at.port(), "mode": mode, "members": members,
        "health": { "interval_milliseconds": 100, "fall": 1, "rise": 1 },
    })
}

/// The member `mNUMBER`.
pub(crate) fn member(number: usize, at: SocketAddr) -> Value {
    json!({ "id": format!("m{number}"), "address": at.ip(), "port": at.port() })
}

/// An address on loopback that nobody listens on.
pub(crate) fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An answer as it came over the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// All values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Which server answered.
    pub(crate) fn by(&self) -> &str {
        self.header("x-served-by").unwrap_or("nobody")
    }
}

/// A client's connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) async fn to(at: SocketAddr) -> Self {
        Self::over(timeout(BOUND, TcpStream::connect(at)).await.unwrap().unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A request with these header lines, and its answer.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, lines: &[&str]) -> Answer {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).await;
        self.answer().await.expect("an answer")
    }

    /// The next answer; `None` at the end.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(BOUND, self.read_answer()).await.expect("an answer in time")
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        answer.body = self.read_body(&answer).await;
        Some(answer)
    }

    async fn read_body(&mut self, answer: &Answer) -> String {
        if answer.header("transfer-encoding") == Some("chunked") {
            return self.read_chunks().await;
        }
        let without = answer.status < 200 || answer.status == 204 || answer.status == 304;
        let length = match answer.header("content-length") {
            _ if without => 0,
            Some(length) => length.parse().unwrap(),
            None => usize::MAX,
        };
        while self.read.len() < length && self.more().await {}
        let length = length.min(self.read.len());
        String::from_utf8_lossy(&self.read.drain(..length).collect::<Vec<_>>()).into_owned()
    }

    async fn read_chunks(&mut self) -> String {
        let mut body = Vec::new();
        loop {
            while !self.read.windows(2).any(|it| it == b"\r\n") {
                assert!(self.more().await, "a whole chunk");
            }
            let end = self.read.windows(2).position(|it| it == b"\r\n").unwrap();
            let size = String::from_utf8(self.read.drain(..end + 2).collect()).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            while self.read.len() < size + 2 {
                assert!(self.more().await, "a whole chunk");
            }
            body.extend(self.read.drain(..size + 2).take(size));
            if size == 0 {
                return String::from_utf8_lossy(&body).into_owned();
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16384];
        let length = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.read.extend_from_slice(&buffer[..length]);
        length > 0
    }

    /// What comes until the end, which may be a reset.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        timeout(BOUND, async { while self.more().await {} }).await.expect("an end in time");
        std::mem::take(&mut self.read)
    }
}

/// One request over a connection of its own.
pub(crate) async fn ask(at: SocketAddr, method: &str, path: &str, lines: &[&str]) -> Answer {
    let mut client = Client::to(at).await;
    client.ask(method, path, &[lines, &["Connection: close"]].concat()).await
}

/// GET over a connection of its own.
pub(crate) async fn get(at: SocketAddr, path: &str) -> Answer {
    ask(at, "GET", path, &[]).await
}
