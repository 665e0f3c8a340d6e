//! `service console` as the agent starts it: without privilege, in its sandbox, fed over its control channel.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use sluice_sys::process::{Capability, Sandbox, spawn};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::bench::{BOUND, free, grant};
use sluice_tests::console::client::{Outcome, look};
use sluice_tests::console::qemu::{Qemu, Server};

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

#[tokio::test]
async fn the_service_shows_screens_from_its_sandbox_and_ends_with_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let qemu = Qemu::start(folder.path(), &[Server::Open]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sandbox = Sandbox {
        arguments: ["service", "console"].map(Into::into).into(),
        capabilities: vec![Capability::NetBindService],
        ..Sandbox::new(sluice_tests::bin("sluice-proxy"), 64_011)
    };
    let mut child = spawn(&sandbox, OwnedFd::from(theirs).into()).unwrap();
    let mut agent = Agent::new(ours);
    let address = free();
    let mut slice = json!({
        "listen": [address], "hosts": ["127.0.0.1"], "grants": [grant("g-1", qemu.ports[0])],
    });
    assert_eq!(agent.configure(7, &slice).await["say"], "in-force");
    assert!(matches!(look(address, "g-1").await, Outcome::Shown(..)));
    slice["hosts"] = json!([]);
    let refused = agent.configure(8, &slice).await;
    assert_eq!(refused["say"], "refused", "{refused}");
    assert!(matches!(look(address, "g-1").await, Outcome::Shown(..)));
    let counters = agent.says(|said| said["counters"]["sessions_begun"].as_u64() >= Some(2)).await;
    assert_eq!(counters["counters"]["grants"], 1, "{counters}");
    drop(agent);
    let status = timeout(BOUND, child.wait()).await.expect("it ends with the channel").unwrap();
    assert!(status.success(), "{status}");
}
