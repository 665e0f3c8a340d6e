//! The server as the agent runs it: slices and counters over a socket on standard input, in its sandbox.

use std::fs::{Permissions, set_permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use dhcproto::v4::MessageType;
use serde_json::{Value, json};
use sluice_sys::packet::{ETHERNET, EthernetSender};
use sluice_sys::process::{Capability, Handed, Sandbox, spawn};
use tokio::process::Child;
use tokio::time::timeout;

use super::bench::{BOUND, Bench, STRANGER, VM1, reservation, slice};
use super::raw::RawClient;

/// Any user but root.
const USER: u32 = 64_067;

struct Agent {
    child: Child,
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Agent {
    /// Must be called in the router's namespace; the service ends with the calling thread.
    fn start(program: PathBuf) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(BOUND)).unwrap();
        let sandbox = Sandbox {
            arguments: vec!["service".into(), "dhcp".into()],
            capabilities: vec![Capability::NetBindService],
            sockets: vec![Handed {
                name: ETHERNET,
                socket: EthernetSender::deaf_socket().unwrap().into(),
            }],
            ..Sandbox::new(program, USER)
        };
        let child = spawn(&sandbox, OwnedFd::from(theirs).into()).unwrap();
        let from = BufReader::new(ours.try_clone().unwrap());
        Self { child, to: ours, from }
    }

    fn configure(&mut self, generation: u64, slice: Option<&Value>) -> Value {
        let line = match slice {
            Some(slice) => json!({ "generation": generation, "slice": slice }),
            None => json!({ "generation": generation }),
        };
        writeln!(self.to, "{line}").unwrap();
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
}

/// The binary where a user without rights can run it, wherever the sources are.
fn program(bench: &Bench) -> PathBuf {
    let path = bench.path("sluice-router");
    std::fs::copy(sluice_tests::bin("sluice-router"), &path).unwrap();
    set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_agent_gives_slices_and_hears_counters() {
    let mut bench = Bench::empty("process");
    let guest = bench.guest("process-a", "guest0", 1, VM1);
    let (program, mut client) = (program(&bench), RawClient::new(&guest));
    bench.router.enter_async(async || talk(Agent::start(program), &mut client).await).unwrap();
}

async fn talk(mut agent: Agent, client: &mut RawClient) {
    let mut wanted = slice();
    let said = agent.configure(1, serde_json::to_value(&wanted).ok().as_ref());
    assert_eq!(said, json!({ "say": "in-force", "generation": 1 }));
    agent.hear(|said| said["counters"]["links_open"] == 1);
    let discover = client.message(MessageType::Discover, VM1, &[]);
    client.ask(&discover);

    let said = agent.configure(2, Some(&json!({ "networks": "none" })));
    assert_eq!((&said["say"], &said["generation"]), (&json!("refused"), &json!(2)), "{said}");
    wanted.networks[0].guests.push(reservation((STRANGER, "10.1.1.99", "vm99")));
    agent.configure(3, serde_json::to_value(&wanted).ok().as_ref());
    let said = agent.configure(4, None);
    assert_eq!(said, json!({ "say": "in-force", "generation": 4 }));
    let discover = client.message(MessageType::Discover, STRANGER, &[]);
    assert_eq!(client.ask(&discover).message.yiaddr().to_string(), "10.1.1.99");
    agent.hear(|said| said["counters"]["sent_offer"] == 2);

    agent.to.shutdown(std::net::Shutdown::Both).unwrap();
    let status = timeout(BOUND, agent.child.wait()).await.expect("the service ends with its agent");
    assert!(status.unwrap().success());
}
