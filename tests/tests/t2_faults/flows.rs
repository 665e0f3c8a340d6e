//! Live connections obey a commit also when the process is killed before it has seen to it.

use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluice_api::report::{Answer, Phase};
use sluice_sys::kernel::{Fault, Held, Kernel};
use sluice_sys::nft::Protocol;
use sluice_sys::nft::eval::{Flow, Parts as FlowParts, Tuple};
use sluice_tests::faults::{FileFault, Running, World, changed, example};

use crate::{before, copy, push, rested};

/// A connection of a guest to the Internet by the public address that its network had at first.
fn guests() -> Flow {
    connection("10.1.1.23", "192.0.2.1", "198.51.100.10", 443, 1)
}

/// The manager's connection to the API.
fn managers() -> Flow {
    connection("169.254.0.1", "169.254.0.10", "169.254.0.1", 3922, 2)
}

fn connection(source: &str, destination: &str, seen_as: &str, port: u16, id: u32) -> Flow {
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let tuple = |source, destination, parts| Tuple {
        source: ip(source),
        destination: ip(destination),
        protocol: Protocol::TCP,
        parts,
    };
    Flow {
        original: tuple(source, destination, FlowParts::Ports(40_000, port)),
        reply: tuple(destination, seen_as, FlowParts::Ports(port, 40_000)),
        mark: 0,
        master: None,
        id: Some(id),
    }
}

/// The connections once the engine has judged them; the clock may be paused, so the bound costs nothing.
async fn settled(running: &Running, wanted: &[Flow]) -> Vec<Flow> {
    for _ in 0..500 {
        if running.kernel.inner().flows().await.unwrap() == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.kernel.inner().flows().await.unwrap()
}

/// The child that is killed at its operation number `number`; false when it was not.
fn child(dir: &Path, kind: &str, number: u32) -> bool {
    let status = Command::new(sluice_tests::bin("sluice-fault-child"))
        .args([dir.to_str().unwrap(), "new", kind, &number.to_string()])
        .status()
        .unwrap();
    assert!(status.success() || status.signal().is_some(), "{kind} {number}: {status}");
    status.signal().is_some()
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_no_connection_that_was_to_end_and_no_other() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    running.kernel.inner().track([guests(), managers()]).unwrap();
    drop(running);
    let mut ended = 0;
    for kind in ["before", "after", "file-before", "file-after"] {
        for number in 1.. {
            let dir = copy(before.dir.path());
            let killed = child(dir.path(), kind, number);
            let running = World::in_dir(dir.path()).start(Fault::None, FileFault::None).await;
            rested(&running).await;
            let is_new = running.state() == before.new;
            let wanted = if is_new { vec![managers()] } else { vec![guests(), managers()] };
            let left = settled(&running, &wanted).await;
            assert_eq!(left, wanted, "{kind} {number}, the new one in force: {is_new}");
            ended += u32::from(is_new && killed);
            if !killed {
                assert!(is_new, "{kind} {number}");
                break;
            }
        }
    }
    assert!(ended >= 4, "the new one was in force after {ended} kills only");
}

#[tokio::test(start_paused = true)]
async fn what_a_configuration_let_in_that_was_never_confirmed_ends_after_a_kill_too() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let within = Some(Duration::from_secs(30));
    assert!(matches!(push(&running, &changed(), within).await, Answer::Applied { .. }));
    // by the address that the pending one gives
    let pendings = connection("10.1.1.23", "192.0.2.1", "198.51.100.11", 443, 3);
    running.kernel.inner().track([pendings, managers()]).unwrap();
    drop(running);
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    assert_eq!(rested(&running).await, Phase::InForce);
    assert_eq!(running.handle.status().current.unwrap().generation, example().generation);
    assert_eq!(settled(&running, &[managers()]).await, [managers()]);
    // judged once: what has come since is not judged by what was before
    let later = connection("10.1.1.23", "192.0.2.1", "198.51.100.11", 443, 4);
    running.kernel.inner().track([later.clone()]).unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    drop(running);
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    rested(&running).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(running.kernel.inner().flows().await.unwrap(), [managers(), later]);
}

/// The example again and again, each time with another address for its guests' connections.
fn another(number: u64) -> sluice_api::RouterDocument {
    let mut config = if number.is_multiple_of(2) { changed() } else { example() };
    config.generation = number.try_into().unwrap();
    config
}

#[tokio::test(start_paused = true)]
async fn changes_that_connections_were_not_judged_by_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let running = World::in_dir(dir.path()).start(Fault::None, FileFault::None).await;
    assert!(matches!(push(&running, &another(100), None).await, Answer::Applied { .. }));
    running.connections_judged().await;
    running.kernel.hold(Some(Held::Flows));
    let mut applied = 0;
    let busy = loop {
        match push(&running, &another(101 + applied), None).await {
            Answer::Applied { .. } => applied += 1,
            other => break other,
        }
        assert!(applied < 20, "they pile up");
    };
    assert!(matches!(busy, Answer::Busy(_)), "{busy:?}");
    assert_eq!(applied, 8);
    running.kernel.hold(None);
    running.connections_judged().await;
    let answer = push(&running, &another(101 + applied), None).await;
    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
}
