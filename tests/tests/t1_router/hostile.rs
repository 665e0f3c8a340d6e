//! One guest against all services of its router at a time: its neighbour and the manager are served on.

use serde_json::json;
use sluice_api::report::Phase;
use sluice_api::types::BlobDigest;
use sluice_lab::Wait;

use super::world::{World, config};

/// 1,100 connections to each service that are never used, as fast as the kernel makes them.
const GREEDY: &str = r#"
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
held = []
for port in (80, 53, 8080):
    for _ in range(1100):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("10.1.1.1", port))
        held.append(one)
print("all open", flush=True)
time.sleep(600)
"#;

/// Kilobytes that all services have.
fn memory(world: &World) -> u64 {
    let of = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    world.status().services.iter().map(|service| of(service.pid.unwrap())).sum()
}

#[test]
fn its_neighbour_and_the_manager_are_served_on() {
    let world = World::new();
    let mut config = config();
    config.role.networks[0].dhcp.pools = vec!["10.1.1.100-10.1.1.199".parse().unwrap()];
    world.push_and_confirm(&config);
    world.lease("vm1", "10.1.1.23");
    world.lease("vm2", "10.1.1.24");
    let before = memory(&world);
    let (script, names) = (world.dir.path().join("greedy.py"), world.dir.path().join("names"));
    std::fs::write(&script, GREEDY).unwrap();
    std::fs::write(&names, "vm1.cs1.cloud.internal A\nmissing.cs1.cloud.internal A\n").unwrap();
    let hostile = world.guest("vm2");
    let mut held = hostile.spawn(["python3".as_ref(), script.as_os_str()]).unwrap();
    held.says("all open", super::SOON).unwrap();
    let flood = format!("exec dnsperf -s 10.1.1.1 -d {} -l 300 -q 2000 -c 8 -T 1", names.display());
    let _flood = hostile.spawn(["sh", "-c", &flood]).unwrap();
    // ten thousand clients with a MAC each, for a hundred addresses
    let starve = "exec perfdhcp -4 -l eth0 -r 500 -R 10000 -p 300";
    let _starve = hostile.spawn(["sh", "-c", starve]).unwrap();

    let served = |line: &str| world.guest("vm1").sh(line).check().unwrap();
    for _ in 0..3 {
        world.lease("vm1", "10.1.1.23");
        let found = served("dig +short +time=2 +tries=5 @10.1.1.1 vm2.cs1.cloud.internal");
        assert_eq!(found.trim(), "10.1.1.24");
        let found = served("dig +short +tcp +time=4 +tries=3 @10.1.1.1 vm2.cs1.cloud.internal");
        assert_eq!(found.trim(), "10.1.1.24");
        let own = served("curl -s --max-time 10 http://10.1.1.1/latest/instance-id");
        assert_eq!(own.trim(), "vm1-0");
        // there is none to be had any more, which is an answer
        let word = served(
            "wget -qO- -T 10 -t 1 --header 'DomU_Request: send_my_password' http://10.1.1.1:8080/",
        );
        assert_eq!(word.trim(), "saved_password");
        assert_eq!(world.status().phase, Phase::InForce);
    }
    let services = world.status().services;
    assert!(services.iter().all(|service| service.restarts == 0), "{services:#?}");
    let now = memory(&world);
    assert!(now < before + 32 * 1024, "{before} KiB before, {now} KiB now");
}

#[test]
fn a_password_that_cannot_be_handed_out_is_an_alarm_with_its_guest_and_its_reason() {
    let world = World::new();
    let give = |generation: u64, blob: &'static [u8]| {
        let mut config = config();
        config.generation = generation.try_into().unwrap();
        let digest = BlobDigest::of(blob);
        config.role.networks[0].guests[0].metadata.password =
            serde_json::from_value(json!({ "blob": digest.to_string() })).unwrap();
        world.call(|client| async move { client.put_blob(&digest, blob.to_vec()).await }).unwrap();
        world.push_and_confirm(&config);
    };
    let alarms = |wanted: &[&str]| {
        let is = || world.status().alarms == wanted;
        Wait::until(super::SOON, "the alarm", is)
            .unwrap_or_else(|error| panic!("{error}: {:?}", world.status().alarms));
    };
    give(101, b"random\nhunter2\nlines");
    alarms(&[
        "the password of guest vm1-0 cannot be handed out: must have no control characters, \
              such as a line end",
    ]);
    let (status, log) = (serde_json::to_string(&world.status()).unwrap(), world.log());
    assert!(!status.contains("hunter2") && !log.contains("hunter2"), "nothing of it is told");
    give(102, b"random\ns3cret-One");
    alarms(&[]);
    world.lease("vm1", "10.1.1.23");
    let line =
        "wget -qO- -T 10 -t 1 --header 'DomU_Request: send_my_password' http://10.1.1.1:8080/";
    assert_eq!(world.guest("vm1").sh(line).check().unwrap().trim(), "s3cret-One");
}
