//! Diagnostics of the real agent, over its API, on real packets.

use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_api::report::{CaptureRequest, DiagnosticOutput, Probe, ProbeOutcome};
use sluice_lab::Wait;

use crate::world::{World, config};

const SOON: Duration = Duration::from_secs(15);

fn ask(world: &World, what: &str, request: &Value) -> DiagnosticOutput {
    let (status, body) = world.post(&format!("/v1/diagnostics/{what}"), request);
    assert_eq!(status, 200, "{what} {request}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn outcomes(output: &DiagnosticOutput) -> Vec<(ProbeOutcome, Option<IpAddr>)> {
    output.probes.iter().map(|probe| (probe.outcome, probe.from)).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What tcpdump reads in the file, one line a packet.
fn read(world: &World, pcap: &[u8], filter: &str) -> Vec<String> {
    let path = world.dir.path().join("read.pcap");
    fs::write(&path, pcap).unwrap();
    let line = format!("tcpdump -nn -e -r {} '{filter}' 2>/dev/null", path.display());
    world.inet.sh(&line).check().unwrap().lines().map(str::to_owned).collect()
}

fn capture(world: &World, request: Value) -> Vec<u8> {
    let request: CaptureRequest = serde_json::from_value(request).unwrap();
    world.call(|client| async move { client.capture(&request).await }).unwrap()
}

#[test]
fn ping_and_traceroute_tell_who_answers() {
    let world = World::new();
    world.push_and_confirm(&config());
    let there = ask(&world, "ping", &json!({"address": "198.51.100.1"}));
    assert!(there.reached, "{there:?}");
    assert_eq!(outcomes(&there), vec![(ProbeOutcome::Reply, Some(address("198.51.100.1"))); 3]);
    let timed = |probe: &Probe| probe.rtt_us.is_some_and(|rtt| rtt < 1_000_000);
    assert!(there.probes.iter().all(timed), "{there:?}");
    let by_link = json!({"address": "198.51.100.1", "count": 1, "link": "guest0"});
    assert!(!ask(&world, "ping", &by_link).reached, "it is not behind that link");
    let nobody = ask(&world, "ping", &json!({"address": "198.51.100.99", "count": 1}));
    assert!(!nobody.reached, "{nobody:?}");
    let refused = ask(&world, "ping", &json!({"address": "198.18.0.99", "count": 1}));
    assert_eq!(refused.probes[0].outcome, ProbeOutcome::Unreachable, "{refused:?}");
    assert_eq!(refused.probes[0].from, Some(address("198.51.100.1")), "{refused:?}");

    let path = ask(&world, "traceroute", &json!({"address": "198.18.0.2"}));
    let expected = [
        (ProbeOutcome::Expired, Some(address("198.51.100.1"))),
        (ProbeOutcome::Reply, Some(address("198.18.0.2"))),
    ];
    assert_eq!(outcomes(&path), expected, "{path:?}");
    assert!(path.reached);
    let short = ask(&world, "traceroute", &json!({"address": "198.18.0.2", "max_hops": 1}));
    assert_eq!((short.reached, short.probes.len()), (false, 1), "{short:?}");
}

/// The router on an uplink with IPv6, and a host two hops away over it.
fn with_ipv6(world: &World) -> RouterDocument {
    let lines = [
        (&world.inet, "sysctl -qw net.ipv6.conf.all.forwarding=1"),
        (&world.inet, "ip addr add 2001:db8:a::1/64 dev eth0 nodad"),
        (&world.inet, "ip addr add 2001:db8:b::1/64 dev far0 nodad"),
        (&world.inet, "ip -6 route add unreachable 2001:db8:c::/64"),
        (&world.far, "ip addr add 2001:db8:b::2/64 dev eth0 nodad"),
        (&world.far, "ip -6 route add default via 2001:db8:b::1"),
    ];
    for (namespace, line) in lines {
        namespace.sh(line).check().unwrap();
    }
    let mut document = json!(config());
    let links = document["links"].as_array_mut().unwrap();
    let uplink = links.iter_mut().find(|link| link["name"] == "pub0").unwrap();
    uplink["addresses"].as_array_mut().unwrap().push(json!("2001:db8:a::2/64"));
    document["routes"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "destination": "2001:db8::/32", "via": "2001:db8:a::1", "link": "pub0" }));
    RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
}

#[test]
fn ping_and_traceroute_tell_who_answers_over_ipv6() {
    let world = World::new();
    world.push_and_confirm(&with_ipv6(&world));
    let (near, far) = ("2001:db8:a::1", "2001:db8:b::2");
    // the router's own address is tried out first, and neighbours are found
    for host in [near, far] {
        let reached = || ask(&world, "ping", &json!({"address": host, "count": 1})).reached;
        Wait::until(SOON, host, reached).unwrap();
    }
    let there = ask(&world, "ping", &json!({"address": far}));
    assert_eq!(outcomes(&there), vec![(ProbeOutcome::Reply, Some(address(far))); 3], "{there:?}");
    let nobody = ask(&world, "ping", &json!({"address": "2001:db8:a::99", "count": 1}));
    assert!(!nobody.reached, "{nobody:?}");
    let refused = ask(&world, "ping", &json!({"address": "2001:db8:c::99", "count": 1}));
    assert_eq!(outcomes(&refused), [(ProbeOutcome::Unreachable, Some(address(near)))]);

    let path = ask(&world, "traceroute", &json!({"address": far}));
    let expected =
        [(ProbeOutcome::Expired, Some(address(near))), (ProbeOutcome::Reply, Some(address(far)))];
    assert_eq!(outcomes(&path), expected, "{path:?}");
    let short = ask(&world, "traceroute", &json!({"address": far, "max_hops": 1}));
    assert_eq!((short.reached, short.probes.len()), (false, 1), "{short:?}");
}

#[test]
fn arping_tells_who_has_an_address_and_whether_two_have() {
    let world = World::new();
    world.push_and_confirm(&config());
    let request = json!({"address": "10.1.1.23", "link": "guest0", "count": 1});
    assert!(!ask(&world, "arping", &request).reached, "nobody has it yet");
    let macs = |output: &DiagnosticOutput| {
        let mut macs: Vec<_> =
            output.probes.iter().filter_map(|probe| probe.mac).map(|mac| mac.to_string()).collect();
        macs.sort();
        macs
    };
    world.guest("vm1").sh("ip addr add 10.1.1.23/24 dev eth0").check().unwrap();
    assert_eq!(macs(&ask(&world, "arping", &request)), ["02:00:0a:01:01:17"]);
    world.guest("vm2").sh("ip addr add 10.1.1.23/24 dev eth0").check().unwrap();
    let twice = ask(&world, "arping", &request);
    assert_eq!(macs(&twice), ["02:00:0a:01:01:17", "02:00:0a:01:01:18"], "{twice:?}");
    world.guest("vm1").sh("ip addr add fd00::23/64 dev eth0 nodad").check().unwrap();
    let six = json!({"address": "fd00::23", "link": "guest0", "count": 1});
    assert_eq!(macs(&ask(&world, "arping", &six)), ["02:00:0a:01:01:17"]);
}

#[test]
fn a_capture_shows_what_the_firewall_drops_within_its_limits() {
    let world = World::new();
    world.push_and_confirm(&config());
    let mut pinging =
        world.inet.spawn(["ping", "-i", "0.1", "-c", "200", "198.51.100.10"]).unwrap();
    let mut asking = world
        .inet
        .spawn(["sh", "-c", "while :; do dig +tries=1 +time=1 -p 5353 @198.51.100.10 x; done"])
        .unwrap();
    let four = capture(&world, json!({"link": "pub0", "packets": 4, "protocol": "icmp"}));
    let lines = read(&world, &four, "");
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let request = |line: &String| line.contains("198.51.100.1 > 198.51.100.10: ICMP echo request");
    assert!(lines.iter().all(request), "{lines:#?}");
    let narrow = json!({"link": "pub0", "packets": 1, "port": 5353, "host": "198.51.100.1"});
    let lines = read(&world, &capture(&world, narrow), "");
    assert!(lines.len() == 1 && lines[0].contains("> 198.51.100.10.5353: "), "{lines:#?}");
    let other = json!({"link": "pub0", "seconds": 1, "host": "203.0.113.9"});
    assert_eq!(capture(&world, other).len(), 24, "an empty file has its header");
    asking.kill();
    pinging.kill();
    let flood = ["ping", "-q", "-i", "0.002", "-c", "5000", "-s", "1400", "198.51.100.10"];
    let mut flooding = world.inet.spawn(flood).unwrap();
    let bounded =
        capture(&world, json!({"link": "pub0", "packets": 10_000, "bytes": 65_600, "seconds": 5}));
    flooding.kill();
    assert!((60_000..=65_600).contains(&bounded.len()), "{} bytes", bounded.len());
    assert!(read(&world, &bounded, "icmp").len() > 40);
}

#[test]
fn a_capture_leaves_the_api_out_unless_it_is_asked_for() {
    let world = World::new();
    world.push_and_confirm(&config());
    let without = capture(&world, json!({"link": "ctl", "seconds": 2}));
    assert_eq!(read(&world, &without, "tcp port 3922"), [""; 0]);
    let with = capture(&world, json!({"link": "ctl", "seconds": 2, "include_api": true}));
    assert!(!read(&world, &with, "tcp port 3922").is_empty());
}

#[test]
fn more_than_a_few_at_once_are_told_to_come_back_and_leaving_makes_room() {
    let world = World::new();
    world.push_and_confirm(&config());
    let body = json!({"link": "guest0", "seconds": 60}).to_string().into_bytes();
    let busy = world.call(|client| async move {
        let path = "/v1/diagnostics/capture";
        let capture = |_| Box::pin(client.raw(reqwest::Method::POST, path, body.clone(), SOON));
        // four go on; the answer to the fifth, whichever that is, comes at once
        futures_util::future::select_all((0..5).map(capture)).await.0
    });
    let (status, body) = busy.unwrap();
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &said["findings"][0]["code"]), (503, &json!("busy")), "{said}");
    let again = || world.post("/v1/diagnostics/ping", &json!({"address": "198.51.100.1"})).0 == 200;
    Wait::until(SOON, "room after the captures' readers went away", again).unwrap();
}

#[test]
fn what_cannot_be_asked_is_refused_by_the_name_of_the_field() {
    let world = World::new();
    world.push_and_confirm(&config());
    let before = world.everything();
    for (what, request, field, code) in [
        ("ping", json!({"address": "198.51.100.1", "count": 11}), "count", "invalid-value"),
        ("traceroute", json!({"address": "198.51.100.1", "hops": 3}), "hops", "unknown-field"),
        ("arping", json!({"address": "10.1.1.2", "link": "tier-9"}), "link", "unknown-link"),
        ("capture", json!({"link": "pub0", "seconds": 61}), "seconds", "invalid-value"),
    ] {
        let (status, body) = world.post(&format!("/v1/diagnostics/{what}"), &request);
        let said: Value = serde_json::from_slice(&body).unwrap();
        let finding = &said["findings"][0];
        let expected = (422, &json!(field), &json!(code));
        assert_eq!((status, &finding["path"], &finding["code"]), expected, "{what}: {said}");
    }
    assert_eq!(world.everything(), before);
}

/// What reads packets for this agent.
fn readers(agent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let processes = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let read = |pid: &u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
    let is_one = |pid: &u32| {
        let words = read(pid, "cmdline").unwrap_or_default();
        let status = read(pid, "status").unwrap_or_default();
        words.ends_with("service\0reader\0") && status.contains(&format!("PPid:\t{agent}\n"))
    };
    processes.filter(is_one).collect()
}

/// Packet sockets that a process has open.
fn packet_sockets(pid: u32) -> usize {
    let table = fs::read_to_string(format!("/proc/{pid}/net/packet")).unwrap_or_default();
    let known: Vec<String> = table
        .lines()
        .filter_map(|line| Some(format!("socket:[{}]", line.split_whitespace().nth(8)?)))
        .collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| known.iter().any(|name| link.as_os_str() == name.as_str())).count()
}

/// A capture whose reading process is killed: its status and root directory, and how the capture was answered.
fn killed(world: &World, agent: u32) -> (String, Vec<OsString>, (u16, Vec<u8>)) {
    let body = json!({"link": "guest0", "seconds": 60}).to_string().into_bytes();
    world
        .call(|client| async move {
            let path = "/v1/diagnostics/capture";
            let mut capture = Box::pin(client.raw(reqwest::Method::POST, path, body, SOON));
            let deadline = std::time::Instant::now() + SOON;
            let reader = loop {
                tokio::select! {
                    ended = &mut capture => panic!("it ended: {ended:?}"),
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
                // the agent announces addresses by a packet socket of its own, for a moment
                match readers(agent)[..] {
                    [reader] if packet_sockets(reader) == 1 && packet_sockets(agent) == 0 => {
                        break reader;
                    }
                    _ => assert!(std::time::Instant::now() < deadline, "{:?}", readers(agent)),
                }
            };
            let status = fs::read_to_string(format!("/proc/{reader}/status")).unwrap();
            let root = fs::read_dir(format!("/proc/{reader}/root")).unwrap();
            let root: Vec<_> = root.map(|entry| entry.unwrap().file_name()).collect();
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(reader.try_into().unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            )
            .unwrap();
            let (code, file) = capture.await.unwrap();
            Ok((status, root, (code, file.to_vec())))
        })
        .unwrap()
}

#[test]
fn what_comes_from_outside_is_read_by_a_process_without_rights() {
    let world = World::new();
    world.push_and_confirm(&config());
    let agent = world.agent_pid();
    let (status, root, ended) = {
        // one that has not begun to read yet has nothing to answer with
        let mut tries = (0..20).map(|_| killed(&world, agent));
        tries.find(|(_, _, (answered, _))| *answered != 500).expect("it never began")
    };
    for line in [
        "Uid:\t64090\t64090\t64090\t64090",
        "Gid:\t64090\t64090\t64090\t64090",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
    ] {
        assert!(status.contains(line), "no {line:?} in\n{status}");
    }
    assert!(
        !root.iter().any(|name| ["proc", "etc", "sys"].iter().any(|no| name == no)),
        "{root:?}"
    );
    // killed, it takes nothing along but its capture
    let (status, file) = ended;
    assert_eq!((status, file.get(..4)), (200, Some(&[0xd4, 0xc3, 0xb2, 0xa1][..])), "{file:?}");
    assert!(ask(&world, "ping", &json!({"address": "198.51.100.1"})).reached);
    assert_eq!(world.agent_pid(), agent);
    let gone = || readers(agent).is_empty();
    Wait::until(SOON, "the processes that read packets to be gone", gone).unwrap();
}
