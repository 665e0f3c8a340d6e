//! A machine that stood still: every process of it was stopped and goes on where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_api::report::Phase;
use sluice_lab::Wait;

use crate::SOON;
use crate::world::{World, config};

/// Longer than a service may be silent, and the moment that it has besides.
const STILL: Duration = Duration::from_secs(27);
/// How long who is doubted has to say something; whoever is not restarted by then is not.
const DOUBT: Duration = Duration::from_secs(8);

fn services(world: &World) -> BTreeMap<String, Option<u32>> {
    world.status().services.into_iter().map(|one| (one.name, one.pid)).collect()
}

fn signal(pids: &[u32], signal: Signal) {
    for pid in pids {
        kill(Pid::from_raw(i32::try_from(*pid).unwrap()), signal).unwrap();
    }
}

/// True while a process stands still (proc_pid_stat(5)).
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.starts_with('T')
}

#[test]
fn a_machine_that_stood_still_goes_on_without_restarting_a_service() {
    let world = World::new();
    world.push_and_confirm(&config());
    world.lease("vm1", "10.1.1.23");
    let before = services(&world);
    let others: Vec<u32> = before.values().copied().flatten().collect();
    assert_eq!(others.len(), 4, "{before:?}");
    signal(&others, Signal::SIGSTOP);
    signal(&[world.agent_pid()], Signal::SIGSTOP);
    // nothing to wait for: that nothing happens for so long is what is tried
    std::thread::sleep(STILL);
    // the agent wakes up first, and nobody has said anything to it for longer than is allowed
    signal(&[world.agent_pid()], Signal::SIGCONT);
    Wait::until(SOON, "the agent", || !is_stopped(world.agent_pid())).unwrap();
    signal(&others, Signal::SIGCONT);
    std::thread::sleep(DOUBT);
    let status = world.status();
    assert_eq!(services(&world), before, "{status:#?}");
    assert!(status.services.iter().all(|service| service.restarts == 0), "{status:#?}");
    assert_eq!((status.phase, status.alarms), (Phase::InForce, Vec::new()));
    world.lease("vm2", "10.1.1.24");
}
