//! Changes of configuration while queries pour in: none is lost, and each answer is of one configuration.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, dig, lines, network, slice};

const SWAPS: u8 = 200;

/// Configuration `number`: vm1 and vm2 change places, the rest stays.
fn numbered(number: u8) -> Value {
    let (one, two) = if number.is_multiple_of(2) { (23, 24) } else { (24, 23) };
    let mut hosts = vec![
        json!({ "name": "vm1", "address": format!("10.1.1.{one}") }),
        json!({ "name": "vm2", "address": format!("10.1.1.{two}") }),
    ];
    hosts.extend(
        (0..200)
            .map(|n| json!({ "name": format!("x{n}"), "address": format!("10.1.1.{}", 30 + n) })),
    );
    let mut slice = slice();
    slice["networks"][0] = network("guest0", 1, &json!(hosts));
    // the load is all of one client, which asks as fast as it is answered
    slice["settings"] = json!({ "client_rate": 1_000_000 });
    slice
}

/// Asks for vm1 until told to stop; how often each answer came.
fn poll(stop: &AtomicBool) -> BTreeMap<[u8; 4], usize> {
    let socket = UdpSocket::bind("10.1.1.23:0").unwrap();
    socket.connect("10.1.1.1:53").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let query = b"\x07\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03vm1\x03cs1\x05cloud\x08internal\x00\x00\x01\x00\x01";
    let mut seen = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        socket.send(query).unwrap();
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).expect("each query is answered");
        assert_eq!(buffer[3] & 15, 0, "the name exists in both configurations");
        *seen.entry(buffer[length - 4..length].try_into().unwrap()).or_default() += 1;
    }
    seen
}

#[test]
fn two_hundred_changes_under_load_lose_nothing() {
    let mut bench = Bench::wired("dns-swap");
    bench.write(&numbered(0));
    bench.start();
    let queries = lines(200, |n| format!("x{n}.cs1.cloud.internal A"));
    let file = bench.path("queries");
    std::fs::write(&file, queries).unwrap();
    let guest = bench.first.clone();
    let line = format!("exec dnsperf -s 10.1.1.1 -d {} -l 600 -Q 4000 -c 8 -q 200", file.display());
    let load = guest.spawn(["sh", "-c", &line]).unwrap();
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let poller = scope.spawn(|| guest.enter(|| poll(&stop)).unwrap());
        for number in 1..=SWAPS {
            bench.write(&numbered(number));
            bench.reload();
        }
        stop.store(true, Ordering::Relaxed);
        poller.join().unwrap()
    });
    load.signal(nix::sys::signal::Signal::SIGINT).unwrap();
    let mut load = load;
    load.says("Average Latency", crate::bench::BOUND).unwrap();
    let output = load.output();
    assert!(figure(&output, "Queries sent:") > 1000, "{output}");
    assert_eq!(figure(&output, "Queries lost:"), 0, "{output}");
    assert!(output.contains("NOERROR") && !output.contains("NXDOMAIN"), "{output}");
    let kinds: Vec<_> = seen.keys().copied().collect();
    assert_eq!(
        kinds,
        [[10, 1, 1, 23], [10, 1, 1, 24]],
        "the old or the new, nothing else: {seen:?}"
    );
    dig(&bench.first, "@10.1.1.1 cs1.cloud.internal SOA")
        .expect(&format!(" {} 3600", u32::from(SWAPS) + 1));
}

fn figure(output: &str, title: &str) -> u64 {
    let line = output.lines().find(|line| line.contains(title)).expect("dnsperf's summary");
    let after = line.split(title).nth(1).and_then(|rest| rest.split_whitespace().next());
    after.and_then(|number| number.parse().ok()).expect("a number")
}
