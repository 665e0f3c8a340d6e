//! Daemons that others wrote, as services: with their own folder and files, ready when their socket is there.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluice_agent::engine::Services;
use sluice_agent::service::{Program, Readiness, ServiceSpec, state_folder};
use sluice_agent::supervisor::{SandboxLaunch, Supervisor};
use sluice_agent::{Appliance, Blobs, ServiceName, ServiceSlice};
use sluice_api::RouterDocument;
use sluice_api::boot::Role;
use sluice_api::report::{ServiceState, ServiceStatus};
use sluice_lab::Wait;
use sluice_sys::model::Desired;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PEER: ServiceName = ServiceName("t1-peer");
const USER: u32 = 64_078;

/// An appliance with one daemon: netcat, which takes its message from a file in its folder.
struct WithDaemon {
    /// What it is called; its folder follows from that.
    name: &'static str,
    /// What stands in its file.
    message: &'static str,
}

const FIRST: WithDaemon = WithDaemon { name: PEER.0, message: "made for the peer" };

impl Appliance for WithDaemon {
    type Config = RouterDocument;
    const ROLE: Role = Role::Router;

    fn desired(&self, _: &RouterDocument) -> Desired {
        Desired::default()
    }

    fn services(&self, _: &RouterDocument, _: &Blobs) -> BTreeMap<ServiceName, ServiceSlice> {
        BTreeMap::new()
    }

    fn service(&self, name: ServiceName) -> ServiceSpec {
        assert_eq!(name.0, self.name);
        let folder = state_folder(name);
        let socket = folder.join("socket");
        let script = format!(
            "rm -f {0}; cat {1}; exec nc -lkU {0} >{2}",
            socket.display(),
            folder.join("conf/peer.conf").display(),
            folder.join("heard").display()
        );
        let arguments = vec!["-c".into(), format!("({script}) 1>&2").into()];
        ServiceSpec {
            program: Program::Foreign("/bin/sh".into(), arguments),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            reads: ["/usr/bin", "/bin", "/etc/alternatives"].map(Into::into).into(),
            files: vec![("conf/peer.conf".into(), format!("INFO {}\n", self.message))],
            readiness: Readiness::Socket(socket),
            ..ServiceSpec::foreign("/bin/sh", USER, "")
        }
    }
}

fn status(supervisor: &Supervisor) -> ServiceStatus {
    supervisor.status().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_daemon_is_ready_when_its_socket_is_there_and_ends_when_told() {
    let launch = SandboxLaunch::of_this_binary(Arc::new(FIRST)).unwrap();
    let supervisor = Supervisor::new(Arc::new(launch));
    let folder = state_folder(PEER);
    let slice = || ServiceSlice::of(&"anything");
    supervisor.configure(PEER, 1.try_into().unwrap(), slice()).await.unwrap();
    let mut socket = tokio::net::UnixStream::connect(folder.join("socket")).await.unwrap();
    socket.write_all(b"hello").await.unwrap();
    let heard = || std::fs::read_to_string(folder.join("heard")).unwrap_or_default();
    Wait::until(Duration::from_secs(10), "the daemon to hear", || heard() == "hello").unwrap();
    let first = status(&supervisor);
    assert_eq!(
        (first.state, first.generation),
        (ServiceState::Running, Some(1.try_into().unwrap()))
    );
    // another slice leaves it alone
    supervisor.configure(PEER, 2.try_into().unwrap(), ServiceSlice::of(&"other")).await.unwrap();
    let second = status(&supervisor);
    assert_eq!((second.pid, second.restarts), (first.pid, 0));
    // its files are root's, its folder its own
    let account = std::fs::read_to_string(format!("/proc/{}/status", first.pid.unwrap())).unwrap();
    assert!(
        account.contains(&format!("Uid:\t{USER}")) && account.contains("NoNewPrivs:\t1"),
        "{account}"
    );
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(&folder).unwrap().uid(), USER);
    assert_eq!(std::fs::metadata(folder.join("conf/peer.conf")).unwrap().uid(), 0);
    supervisor.stop(PEER).await;
    assert!(!Path::new(&format!("/proc/{}", first.pid.unwrap())).exists());
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0, "the connection ends with it");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// An agent as far as services are concerned; dropping it is what a kill of the agent is to them.
struct Agent {
    // dropped first: a supervisor that is dropped while its tasks run dismisses its services
    runtime: tokio::runtime::Runtime,
    supervisor: Supervisor,
}

impl Agent {
    fn start(appliance: WithDaemon, folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let launch = SandboxLaunch::of_this_binary(Arc::new(appliance)).unwrap();
        let launch = launch.keeping(folder.to_owned()).unwrap();
        Self { runtime, supervisor: Supervisor::new(Arc::new(launch)) }
    }

    fn configure(&self, name: ServiceName) -> ServiceStatus {
        let done = self.supervisor.configure(name, 1.try_into().unwrap(), ServiceSlice::of(&()));
        self.runtime.block_on(done).unwrap();
        status(&self.supervisor)
    }
}

#[test]
fn a_daemon_of_others_outlives_the_agent_unless_it_is_specified_otherwise_or_not_wanted() {
    const NAME: ServiceName = ServiceName("t1-outlives");
    let appliance = |message| WithDaemon { name: NAME.0, message };
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let agent = Agent::start(appliance("one"), &run);
    let first = agent.configure(NAME).pid.unwrap();
    let socket = state_folder(NAME).join("socket");
    let mut peer = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    drop(agent);

    let agent = Agent::start(appliance("one"), &run);
    let second = agent.configure(NAME);
    assert_eq!((second.pid, second.restarts), (Some(first), 0));
    use std::io::Write;
    peer.write_all(b"still").unwrap();
    let heard = || std::fs::read_to_string(state_folder(NAME).join("heard")).unwrap_or_default();
    Wait::until(Duration::from_secs(10), "the connection to live", || heard() == "still").unwrap();
    drop(agent);

    // another specification
    let agent = Agent::start(appliance("two"), &run);
    let third = agent.configure(NAME).pid.unwrap();
    assert_ne!(third, first);
    assert!(!runs(first), "the former one was left");
    drop(agent);

    // not wanted any more
    let agent = Agent::start(appliance("two"), &run);
    agent.runtime.block_on(agent.supervisor.keep_only(&std::collections::BTreeSet::new()));
    assert!(!runs(third), "it was left");
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0, "so were its notes");

    // one that ended meanwhile is started anew, by whoever waits for it
    let fourth = agent.configure(NAME).pid.unwrap();
    drop(agent);
    let pid = nix::unistd::Pid::from_raw(fourth.try_into().unwrap());
    nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    Wait::until(Duration::from_secs(10), "its end", || !runs(fourth)).unwrap();
    let agent = Agent::start(appliance("two"), &run);
    let fifth = agent.configure(NAME).pid.unwrap();
    assert!(runs(fifth) && fifth != fourth);
    agent.runtime.block_on(agent.supervisor.stop(NAME));
    assert!(!runs(fifth));
    std::fs::remove_dir_all(state_folder(NAME)).unwrap();
}

/// True when a process runs, and not merely waits for its parent to take note of its end.
fn runs(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}
