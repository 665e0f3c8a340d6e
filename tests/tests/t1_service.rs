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
struct WithDaemon;

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
            files: vec![("conf/peer.conf".into(), "INFO made for the peer\n".to_owned())],
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
    let launch = SandboxLaunch::of_this_binary(Arc::new(WithDaemon)).unwrap();
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
