//! The whole router in a network namespace: agent, services and rules, real clients, the manager's own client.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

mod alpine;
mod announced;
mod balance;
mod diagnostics;
mod field;
mod flows;
mod frames;
mod guest_field;
mod helpers;
mod hostile;
mod in_force;
mod ipv6;
mod killed;
mod outlive;
mod paused;
mod policy;
mod ranges;
mod refusals;
mod spoofed;
mod steady;
mod table;
mod uplinks;
mod usage;
mod world;

use std::time::Duration;

use sluice_api::report::{Answer, ConfirmAnswer, Phase};
use sluice_lab::Wait;
use world::{World, config};

const SOON: Duration = Duration::from_secs(15);
/// A service may be silent for 20 s; then it is started again.
const HUNG: Duration = Duration::from_secs(40);

/// Waits for what the agent does by itself within five seconds on a machine that has nothing else to do, and says how long
/// it took.
pub(crate) fn repaired(what: &str, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    Wait::until(SOON, what, &mut done).unwrap();
    eprintln!("{what}: {:.1} s", start.elapsed().as_secs_f64());
}

#[test]
fn a_guest_gets_its_address_its_names_and_the_internet() {
    let world = World::new();
    world.outside_has_web_and_names();
    world.push_and_confirm(&config());
    world.lease("vm1", "10.1.1.23");
    world.lease("vm2", "10.1.1.24");
    let dig = |line: &str| {
        world
            .guest("vm1")
            .sh(&format!("dig +short +time=2 +tries=2 @10.1.1.1 {line}"))
            .check()
            .unwrap()
    };
    assert_eq!(dig("vm2.cs1.cloud.internal").trim(), "10.1.1.24");
    assert_eq!(dig("-x 10.1.1.24").trim(), "vm2.cs1.cloud.internal.");
    assert_eq!(dig("www.example.org").trim(), "192.0.2.80");
    assert_eq!(dig("+tcp www.example.org").trim(), "192.0.2.80");
    let page =
        world.guest("vm1").sh("curl -s --max-time 5 http://192.0.2.80:8080/").check().unwrap();
    assert_eq!(page.trim(), "seen from 198.51.100.10", "source NAT");
    let intruder = world.inet.sh("ping -c1 -W1 10.1.1.23").run().unwrap();
    assert!(!intruder.ok(), "an unsolicited packet reached a guest");
    let stranger = world.stranger_asks_for_a_lease();
    assert!(!stranger, "a guest that is not configured got a lease");
}

#[test]
fn before_the_first_configuration_everything_is_dropped_but_the_manager() {
    let world = World::new();
    let router = &world.router;
    // somebody else's doing, so that there is something to reach
    router.sh("ip addr add 198.51.100.10/24 dev eth8 && ip link set eth8 up").check().unwrap();
    let script = world.web_script();
    let _web = router.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
    let reached =
        || world.inet.sh("curl -s --max-time 1 http://198.51.100.10:8080/").run().unwrap();
    Wait::until(SOON, "the web server on the router", || {
        router.sh("ss -Hltn sport = 8080 | grep -q .").run().unwrap().ok()
    })
    .unwrap();
    assert!(!reached().ok(), "the router answers before it has a configuration");
    let ping = world.inet.sh("ping -c1 -W1 198.51.100.10").run().unwrap();
    assert!(!ping.ok(), "the router answers before it has a configuration");
    // without the rules it would have been reached; they come back so fast that it takes some tries to see it
    let without = || {
        let _gone_already = router.sh("nft delete table inet sluice_early").run().unwrap();
        reached().ok()
    };
    Wait::until(SOON, "the web server to be reached without the rules", without).unwrap();
    repaired("everything to be dropped again", || !reached().ok());
    assert_eq!(world.status().phase, Phase::Unconfigured);
}

#[test]
fn foreign_changes_are_repaired_and_foreign_objects_stay() {
    let world = World::new();
    world.push_and_confirm(&config());
    let router = &world.router;
    router
        .sh("nft add table inet foreign && nft add chain inet foreign own-chain")
        .check()
        .unwrap();
    router.sh("ip route add 203.0.113.0/24 dev pub0").check().unwrap();
    for (damage, seen) in [
        ("nft delete table inet sluice", "nft list table inet sluice | grep -q filter-input"),
        (
            "nft flush chain inet sluice filter-input",
            "nft list chain inet sluice filter-input | grep -q input/api",
        ),
        ("ip addr del 10.1.1.1/24 dev guest0", "ip addr show guest0 | grep -q 10.1.1.1/24"),
        ("ip route del default", "ip route show default | grep -q 198.51.100.1"),
        ("ip link set guest0 mtu 1300", "ip link show guest0 | grep -q 'mtu 1500'"),
        ("sysctl -qw net.ipv4.ip_forward=0", "sysctl -n net.ipv4.ip_forward | grep -q 1"),
    ] {
        router.sh(damage).check().unwrap();
        repaired(damage, || router.sh(seen).run().unwrap().ok());
    }
    router.sh("nft list table inet foreign").check().unwrap();
    router.sh("ip route show 203.0.113.0/24 | grep -q pub0").check().unwrap();
    let status = world.status();
    assert!(status.repairs.len() >= 5, "{:#?}", status.repairs);
    assert_eq!(status.phase, Phase::InForce);
}

#[test]
fn a_configuration_that_cuts_the_manager_off_reverts_by_itself() {
    let world = World::new();
    world.push_and_confirm(&config());
    let mut cut = config();
    cut.generation = cut.generation.next().unwrap();
    cut.control.managers = vec!["203.0.113.0/24".parse().unwrap()];
    let answer = world.push(&cut, 4);
    // the connection that brought it is established and may carry the answer
    assert!(matches!(answer, Ok(Answer::Applied { confirm_within: Some(4), .. })), "{answer:?}");
    assert!(world.try_confirm(&cut).is_err(), "the manager still gets in");
    let back = || world.try_status().is_ok_and(|status| status.phase == Phase::InForce);
    Wait::until(SOON, "the revert", back).unwrap();
    assert_eq!(world.status().current.unwrap().generation, config().generation);
}

#[test]
fn killed_at_any_time_it_comes_back_with_its_configuration() {
    let mut world = World::new();
    world.push_and_confirm(&config());
    world.lease("vm1", "10.1.1.23");
    world.restart_agent();
    let status = world.status();
    assert_eq!(status.current.unwrap().generation, config().generation);
    assert!(status.alarms.is_empty(), "{:?}", status.alarms);
    world.lease("vm1", "10.1.1.23");
}

#[test]
fn the_agent_is_the_last_that_the_kernel_ends_for_want_of_memory() {
    let world = World::new();
    world.push_and_confirm(&config());
    let score = |pid: u32| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    // to go below what one was started with takes CAP_SYS_RESOURCE, which a container may lack
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let rights = u64::from_str_radix(rights.trim(), 16).unwrap();
    let wanted = if rights & (1 << 24) == 0 { score(std::process::id()) } else { -900 };
    assert_eq!(score(world.agent_pid()), wanted);
    let services = world.status().services;
    assert!(!services.is_empty() && wanted < 300);
    for service in services {
        assert_eq!(score(service.pid.unwrap()), 300, "{}", service.name);
    }
}

#[test]
fn services_are_processes_without_privilege_and_come_back_when_killed() {
    let world = World::new();
    world.push_and_confirm(&config());
    let services = world.status().services;
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["dhcp", "dns", "metadata", "password"]);
    for service in &services {
        let pid = service.pid.unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert!(!status.contains("Uid:\t0"), "{status}");
        world.router.sh(&format!("kill -9 {pid}")).check().unwrap();
    }
    Wait::until(SOON, "all services", || {
        let now = world.status().services;
        now.iter()
            .all(|service| service.restarts == 1 && service.generation == Some(config().generation))
    })
    .unwrap();
    world.lease("vm1", "10.1.1.23");
}

#[test]
fn services_send_nothing_into_the_control_network() {
    let world = World::new();
    world.push_and_confirm(&config());
    let script = world.web_script();
    let _web = world.manager.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
    let reaches = |user: u32| {
        let line = format!(
            "setpriv --reuid {user} --clear-groups curl -s --max-time 1 http://169.254.0.1:8080/"
        );
        world.router.sh(&line).run().unwrap().ok()
    };
    Wait::until(SOON, "the manager's web server", || reaches(0)).unwrap();
    for user in sluice_router::USERS {
        assert!(!reaches(user), "user {user}");
    }
    // whoever is none of them, which nobody is on an appliance
    assert!(reaches(65_000));
}

#[test]
fn a_service_that_hangs_is_started_again() {
    let world = World::new();
    world.push_and_confirm(&config());
    let dns = || {
        let services = world.status().services;
        services.into_iter().find(|service| service.name == "dns").unwrap()
    };
    let hung = dns().pid.unwrap();
    world.router.sh(&format!("kill -STOP {hung}")).check().unwrap();
    Wait::until(HUNG, "another process", || {
        let now = dns();
        now.pid.is_some_and(|pid| pid != hung) && now.generation == Some(config().generation)
    })
    .unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{hung}")).exists(), "it was left behind");
}

#[test]
fn what_cannot_be_repaired_shows_until_it_can() {
    let world = World::new();
    world.push_and_confirm(&config());
    let (here, elsewhere) = (world.router.full_name(), world.manager.full_name());
    // the MAC stays, so this is the same NIC pulled and put back
    world.router.sh(&format!("ip link set guest0 netns {elsewhere}")).check().unwrap();
    let degraded = || world.status().phase == Phase::Degraded;
    repaired("the alarm", degraded);
    assert_eq!(world.status().alarms.len(), 1, "{:#?}", world.status().alarms);
    world.manager.sh(&format!("ip link set guest0 netns {here}")).check().unwrap();
    let whole = || {
        let status = world.status();
        status.phase == Phase::InForce && status.alarms.is_empty()
    };
    Wait::until(SOON, "all to be well", whole).unwrap();
    world.lease("vm1", "10.1.1.23");
}

#[test]
fn a_dry_run_changes_nothing_and_the_same_again_is_answered_already() {
    let world = World::new();
    world.push_and_confirm(&config());
    let mut next = config();
    next.generation = next.generation.next().unwrap();
    next.role.networks[0].egress = sluice_api::config::EgressPolicy::Deny;
    let before =
        world.router.sh("nft -s list ruleset; ip -4 -brief addr; ip route").check().unwrap();
    let dry = world.dry_run(&next);
    assert!(dry.plan.steps.iter().any(|step| step.contains("egress-links -1")), "{dry:#?}");
    let after =
        world.router.sh("nft -s list ruleset; ip -4 -brief addr; ip route").check().unwrap();
    assert_eq!(before, after);
    assert!(matches!(world.push(&config(), 0), Ok(Answer::Already { .. })));
    assert!(matches!(world.push(&next, 0), Ok(Answer::Applied { .. })));
    assert!(matches!(world.push(&config(), 0), Ok(Answer::Stale { .. })));
    let findings = world.dry_run(&config()).findings;
    assert!(findings.iter().any(|finding| finding.code == "generation"), "{findings:#?}");
    let confirmed = world.try_confirm(&next);
    assert!(matches!(confirmed, Ok(ConfirmAnswer::Committed { .. })), "{confirmed:?}");
}
