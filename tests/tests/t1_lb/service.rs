//! `service lb` as the agent starts it: without privilege, in its sandbox, fed over its control channel; and the desk
//! command.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use serde_json::{Value, json};
use sluice_sys::process::{Capability, Sandbox, spawn};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::bench::{BOUND, free, get, member, rule};
use crate::origin::Origin;

/// The agent's end of the channel.
pub(crate) struct Agent {
    said: tokio::io::Lines<BufReader<tokio::net::unix::OwnedReadHalf>>,
    writer: tokio::net::unix::OwnedWriteHalf,
}

impl Agent {
    /// A service in its sandbox, as `user`.
    pub(crate) fn of(user: u32) -> (tokio::process::Child, Self) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sandbox = Sandbox {
            arguments: ["service", "lb"].map(Into::into).into(),
            capabilities: vec![Capability::NetBindService],
            ..Sandbox::new(sluice_tests::bin("sluice-router"), user)
        };
        let child = spawn(&sandbox, OwnedFd::from(theirs).into()).unwrap();
        (child, Self::new(ours))
    }

    fn new(channel: UnixStream) -> Self {
        channel.set_nonblocking(true).unwrap();
        let (reader, writer) = tokio::net::UnixStream::from_std(channel).unwrap().into_split();
        Self { said: BufReader::new(reader).lines(), writer }
    }

    pub(crate) async fn configure(&mut self, generation: u64, slice: &Value) -> Value {
        let message = json!({ "generation": generation, "slice": slice });
        self.writer.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        self.says(|said| said.get("generation").is_some()).await
    }

    pub(crate) async fn says(&mut self, kind: impl Fn(&Value) -> bool) -> Value {
        let listen = async {
            loop {
                let line = self.said.next_line().await.unwrap().expect("the service runs");
                let said: Value = serde_json::from_str(&line).unwrap();
                if kind(&said) {
                    return said;
                }
            }
        };
        timeout(BOUND, listen).await.expect("the service says so in time")
    }
}

#[tokio::test]
async fn the_service_balances_from_its_sandbox_and_ends_with_the_agent() {
    let (one, two) = (Origin::http("m1").await, Origin::http("m2").await);
    let (mut child, mut agent) = Agent::of(64_054);
    let at = free();
    let slice = |members: Value| {
        let mut rule = rule(at, "http", &[]);
        rule["members"] = members;
        json!({ "balancers": [rule] })
    };
    let in_force = agent.configure(7, &slice(json!([member(1, one.at)]))).await;
    assert_eq!(in_force["say"], "in-force", "{in_force}");
    // asked the moment it is said to be in force
    assert_eq!(get(at, "/").await.by(), "m1");
    let refused = agent.configure(8, &json!({ "balancers": [{ "id": "x" }] })).await;
    assert_eq!(refused["say"], "refused", "{refused}");
    assert_eq!(get(at, "/").await.by(), "m1");
    let in_force = agent.configure(9, &slice(json!([member(2, two.at)]))).await;
    assert_eq!(in_force["say"], "in-force", "{in_force}");
    assert_eq!(get(at, "/").await.by(), "m2");
    // a long answer goes by splice(2) or not, but within the system calls allowed
    assert_eq!(get(at, "/size/3000000").await.body.len(), 3_000_000);
    let counters = agent.says(|said| said["counters"]["requests"].as_u64() >= Some(4)).await;
    assert_eq!(counters["counters"]["rules"], 1, "{counters}");
    drop(agent);
    let status = timeout(BOUND, child.wait()).await.expect("it ends with the channel").unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn the_desk_command_takes_a_new_slice_and_prints_haproxys_columns() {
    let origin = Origin::http("m1").await;
    let at = free();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "balancers": [rule(at, "http", &[])] }).to_string())
        .unwrap();
    let child = tokio::process::Command::new(sluice_tests::bin("sluice-router"))
        .args(["lb", "--csv", "--slice"])
        .arg(file.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let wait = async {
        while tokio::net::TcpStream::connect(at).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, wait).await.unwrap();
    assert_eq!(get(at, "/").await.status, 503);
    let changed = json!({ "balancers": [rule(at, "http", &[origin.at])] });
    std::fs::write(file.path(), changed.to_string()).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    let wait = async { while get(at, "/").await.status != 200 {} };
    timeout(BOUND, wait).await.unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = timeout(BOUND, child.wait_with_output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert!(text.starts_with("# pxname,svname,qcur,"), "{text}");
    let of = |row: usize, column: &str| {
        let at = lines[0].iter().position(|name| name.trim_start_matches("# ") == column).unwrap();
        lines[row][at]
    };
    assert_eq!([of(1, "svname"), of(2, "svname"), of(3, "svname")], ["FRONTEND", "m1", "BACKEND"]);
    assert_eq!([of(2, "status"), of(2, "hrsp_2xx"), of(3, "act")], ["UP", "1", "1"]);
    assert_ne!(of(1, "hrsp_5xx"), "0");
}
