//! `service dns` as the agent starts it: without privilege, in its sandbox, fed over its control channel.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use sluice_sys::process::{Capability, Sandbox, spawn};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::bench::{BOUND, Bench, dig, slice};

/// The agent's end of the channel.
struct Agent {
    said: tokio::io::Lines<BufReader<tokio::net::unix::OwnedReadHalf>>,
    writer: tokio::net::unix::OwnedWriteHalf,
}

impl Agent {
    fn new(channel: UnixStream) -> Self {
        channel.set_nonblocking(true).unwrap();
        let (reader, writer) = tokio::net::UnixStream::from_std(channel).unwrap().into_split();
        Self { said: BufReader::new(reader).lines(), writer }
    }

    async fn configure(&mut self, generation: u64, slice: &Value) -> Value {
        let message = json!({ "generation": generation, "slice": slice });
        self.writer.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        self.says(|said| said.get("generation").is_some()).await
    }

    /// The next message of this kind.
    async fn says(&mut self, kind: impl Fn(&Value) -> bool) -> Value {
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

async fn scenario(bench: &Bench) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sandbox = Sandbox {
        arguments: ["service", "dns"].map(Into::into).into(),
        capabilities: vec![Capability::NetBindService],
        ..Sandbox::new(sluice_tests::bin("sluice-router"), 64_053)
    };
    let mut child = spawn(&sandbox, OwnedFd::from(theirs).into()).unwrap();
    let mut agent = Agent::new(ours);
    assert_eq!(agent.configure(7, &slice()).await["say"], "in-force");
    // asked the moment it is said to be in force
    dig(&bench.first, "@10.1.1.1 vm1.cs1.cloud.internal").expect("10.1.1.23");
    dig(&bench.second, "+tcp @10.1.2.1 db1.cs2.cloud.internal").expect("10.1.2.23");
    dig(&bench.first, "@10.1.1.1 cs1.cloud.internal SOA").expect(" 7 3600 ");
    dig(&bench.first, "@10.1.1.1 www.example.test").expect("192.0.2.80");
    let refused = agent.configure(8, &json!({ "router": "r-1", "nets": [] })).await;
    assert_eq!(refused["say"], "refused", "{refused}");
    dig(&bench.first, "@10.1.1.1 vm1.cs1.cloud.internal").expect("10.1.1.23");
    let mut changed = slice();
    changed["networks"][0]["hosts"][0]["address"] = json!("10.1.1.77");
    assert_eq!(agent.configure(9, &changed).await["say"], "in-force");
    dig(&bench.first, "@10.1.1.1 vm1.cs1.cloud.internal").expect("10.1.1.77");
    let counters = agent.says(|said| said["counters"]["queries"].as_u64() >= Some(6)).await;
    assert_eq!(counters["counters"]["addresses_missing"], 0, "{counters}");
    drop(agent);
    let status = timeout(BOUND, child.wait()).await.expect("it ends with the channel").unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn the_service_answers_from_its_sandbox_and_ends_with_the_agent() {
    let bench = Bench::wired("dns-service");
    let _unbound = bench.unbound();
    bench.router.enter_async(|| scenario(&bench)).unwrap();
}
