//! Both services as the agent runs them: in their sandboxes, without privilege, fed over standard input.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::{Value, json};
use sluice_sys::process::{Capability, Sandbox, spawn};
use tokio::process::Child;
use tokio::time::timeout;

use crate::bench::{BOUND, Bench, get, metadata, passwords};

struct Agent {
    child: Child,
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Agent {
    /// Must be called in the router's namespace; the service ends with the calling thread.
    fn start(service: &str, user: u32, capabilities: Vec<Capability>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(BOUND)).unwrap();
        let sandbox = Sandbox {
            arguments: ["service", service].map(Into::into).into(),
            capabilities,
            ..Sandbox::new(sluice_tests::bin("sluice-router"), user)
        };
        let child = spawn(&sandbox, OwnedFd::from(theirs).into()).unwrap();
        let from = BufReader::new(ours.try_clone().unwrap());
        Self { child, to: ours, from }
    }

    fn configure(&mut self, generation: u64, slice: &Value) -> Value {
        writeln!(self.to, "{}", json!({ "generation": generation, "slice": slice })).unwrap();
        self.hear(|said| said["say"] != "counters")
    }

    fn hear(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line).unwrap();
            let said =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            if wanted(&said) {
                return said;
            }
        }
    }

    async fn ends(mut self) {
        self.to.shutdown(std::net::Shutdown::Both).unwrap();
        // a busy machine takes its time to end a process
        let status = timeout(BOUND * 3, self.child.wait()).await.expect("it ends with its agent");
        assert!(status.unwrap().success());
    }
}

async fn talk(bench: &Bench) {
    let ports = vec![Capability::NetBindService];
    let mut service = Agent::start("metadata", 64_003, ports);
    let in_force = |generation| json!({ "say": "in-force", "generation": generation });
    assert_eq!(service.configure(1, &metadata()), in_force(1));
    assert_eq!(get(&bench.first, "/latest/instance-id").1, "i-2-7-VM");
    let refused = service.configure(2, &json!({ "networks": "none" }));
    assert_eq!(refused["say"], "refused", "{refused}");
    assert_eq!(get(&bench.first, "/latest/instance-id").1, "i-2-7-VM");
    service.hear(|said| said["counters"]["served"] == 2);

    let mut server = Agent::start("password", 64_004, Vec::new());
    assert_eq!(server.configure(1, &passwords("s3cret-One")), in_force(1));
    let pid = server.child.id().unwrap();
    assert!(holds(pid, b"vm1-0"), "what it has can be found");
    // it says so before it has wiped the line
    let began = Instant::now();
    while holds(pid, b"s3cret-One") {
        assert!(began.elapsed() < BOUND, "a password lies open in memory");
    }
    let header = ["-H", "DomU_Request: send_my_password", "http://10.1.1.1:8080"];
    assert_eq!(crate::bench::curl(&bench.first, &header).1, "s3cret-One");
    server.hear(|said| said["counters"]["passwords_sent"] == 1);
    let header = ["-H", "DomU_Request: saved_password", "http://10.1.1.1:8080"];
    crate::bench::curl(&bench.first, &header);
    server.hear(|said| said["report"]["over"] == json!({ "vm1-0": "acknowledged" }));
    service.ends().await;
    server.ends().await;
}

/// Whether these bytes are anywhere in what a process can write to.
fn holds(pid: u32, wanted: &[u8]) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let range = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-').filter(|_| rest.starts_with("rw"))?;
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        let length = memory.read_at(&mut bytes, from).ok()?;
        bytes.truncate(length);
        Some(bytes)
    };
    let first = wanted[0];
    let found = |bytes: Vec<u8>| {
        let mut places = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
        places.any(|(at, _)| bytes[at..].starts_with(wanted))
    };
    maps.lines().filter_map(range).any(found)
}

#[test]
fn both_serve_from_their_sandboxes_and_end_with_the_agent() {
    let bench = Bench::wired("md-process");
    bench.router.enter_async(|| talk(&bench)).unwrap();
}
