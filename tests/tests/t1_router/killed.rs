//! Services that are killed in the middle of their work: what they say afterwards is as right as before.

use std::collections::BTreeSet;

use sluice_lab::Wait;

use super::SOON;
use super::world::{World, config};

/// Ends each service the hard way and waits until all are back.
fn kill_all(world: &World, round: u64) {
    for service in world.status().services {
        let pid = service.pid.unwrap();
        world.router.sh(&format!("kill -9 {pid}")).check().unwrap();
    }
    Wait::until(SOON, "all services", || {
        let now = world.status().services;
        now.iter().all(|it| it.restarts == round && it.generation == Some(config().generation))
    })
    .unwrap();
}

#[test]
fn under_load_no_answer_is_wrong_and_no_address_is_lent_twice() {
    let world = World::new();
    let mut config = config();
    config.role.networks[0].dhcp.pools = vec!["10.1.1.100-10.1.1.219".parse().unwrap()];
    world.push_and_confirm(&config);
    world.lease("vm1", "10.1.1.23");
    world.lease("vm2", "10.1.1.24");
    let file = world.dir.path().join("queries");
    std::fs::write(&file, "vm1.cs1.cloud.internal A\nvm2.cs1.cloud.internal A\n").unwrap();
    let line = format!("exec dnsperf -s 10.1.1.1 -d {} -l 12 -Q 500 -t 1", file.display());
    let mut names = world.guest("vm1").spawn(["sh", "-c", &line]).unwrap();
    let line = "i=0; while [ $i -lt 200 ]; do \
        curl -s --max-time 1 http://10.1.1.1/latest/instance-id; echo; i=$((i+1)); done; echo end";
    let mut pages = world.guest("vm2").spawn(["sh", "-c", line]).unwrap();
    // a hundred machines that nobody knows, each with a MAC of its own
    let line = "exec perfdhcp -4 -u -l eth0 -r 10 -R 100 -n 100 -W 5000000";
    let mut loans = world.guest("vm2").spawn(["sh", "-c", line]).unwrap();
    for round in 1..=2 {
        kill_all(&world, round);
    }
    names.says("Average Latency", SOON * 4).unwrap();
    let told = names.output();
    assert!(told.contains("NOERROR") && !told.contains("NXDOMAIN"), "{told}");
    assert!(!told.contains("SERVFAIL") && !told.contains("REFUSED"), "{told}");
    pages.says("end", SOON * 8).unwrap();
    let output = pages.output();
    let said: BTreeSet<&str> = output.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(said, BTreeSet::from(["end", "vm2-0"]));
    loans.says("non unique addresses", SOON * 8).unwrap();
    let told = loans.output();
    assert!(told.contains("non unique addresses: 0"), "{told}");
}
