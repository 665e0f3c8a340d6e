//! Live connections obey a commit: of those that a router tracks exactly those end that the new configuration would judge
//! or translate otherwise. From pushed configurations, with packets, by IPv4; the same by IPv6 is proved on the rules
//! themselves (`t1_nft flows`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use sluice_api::RouterDocument;
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, Process};
use sluice_sys::kernel::{Kernel, RealKernel};
use sluice_sys::nft::Protocol;
use sluice_sys::nft::eval::Flow;

use crate::SOON;
use crate::policy::{changed, guests_with_addresses};
use crate::world::World;

/// One connection of each protocol to each of the hosts named, held open.
const OPEN: &str = r#"
import socket, struct, sys, time
held = []
for host in sys.argv[2:]:
    tcp = socket.create_connection((host, 8080), 10)
    # a reset at the end: nothing is sent again and again that would be tracked anew
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect((host, 5000))
    udp.send(b"?")
    icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    head = struct.pack("!BBHHH", 8, 0, 0, 77, 1)
    total = sum(struct.unpack("!4H", head))
    icmp.sendto(struct.pack("!BBHHH", 8, 0, ~total & 0xffff, 77, 1), (host, 0))
    held += [tcp, udp, icmp]
open(sys.argv[1], "w").close()
time.sleep(3600)
"#;

const NEAR: &str = "192.0.2.80";
/// What a second uplink takes over.
const FAR: &str = "192.0.2.200";
const PROTOCOLS: [Protocol; 3] = [Protocol::TCP, Protocol::UDP, Protocol::ICMP];

/// Two networks, each with source NAT of its own, and `change`.
fn two(generation: u64, change: impl FnOnce(&mut Value)) -> RouterDocument {
    changed(generation, |document| {
        document["links"].as_array_mut().unwrap().push(json!({
            "name": "guest1", "role": "guest", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
            "addresses": ["10.1.2.1/24"],
        }));
        let networks = document["role"]["router"]["networks"].as_array_mut().unwrap();
        networks.push(json!({
            "id": "net-2", "link": "guest1", "cidr": "10.1.2.0/24", "gateway": "10.1.2.1",
            "domain": "cs2.cloud.internal", "egress": "allow",
            "source_nat": { "link": "pub0", "address": "198.51.100.12" },
        }));
        change(document);
    })
}

/// One network, and a second uplink for a part of the Internet where the second network's link was.
fn uplinks(generation: u64, with: bool) -> RouterDocument {
    changed(generation, |document| {
        if !with {
            return;
        }
        document["links"].as_array_mut().unwrap().push(json!({
            "name": "pub1", "role": "public", "attach": { "nic": { "mac": "02:00:0a:01:02:01" } },
            "addresses": ["203.0.113.2/24"],
        }));
        document["routes"].as_array_mut().unwrap().push(json!({
            "destination": "192.0.2.128/25", "via": "203.0.113.1", "link": "pub1",
        }));
    })
}

/// Who opened a connection, and to whom.
type Ends = (&'static str, &'static str);

const VM1: &str = "10.1.1.23";
const VM2: &str = "10.1.1.24";
const VM3: &str = "10.1.2.23";

/// Connections of guests by their ends; the kernel's number tells one from another between the same ends.
fn tracked(world: &World) -> Vec<Flow> {
    let flows = world.router.enter_async(async || RealKernel::open().unwrap().flows().await);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let guests = [VM1, VM2, VM3].map(ip);
    let hosts = [NEAR, FAR].map(ip);
    let ours = |flow: &Flow| {
        let ends = &flow.original;
        guests.contains(&ends.source)
            && hosts.contains(&ends.destination)
            && PROTOCOLS.contains(&ends.protocol)
    };
    let mut flows: Vec<_> = flows.unwrap().unwrap().into_iter().filter(ours).collect();
    flows.sort_by_key(|flow| flow.original);
    flows
}

/// Opens connections of every protocol and waits until they are tracked.
fn open(world: &World, number: usize, all: &[(&Namespace, Ends)]) -> Vec<Process> {
    let script = world.dir.path().join("open.py");
    std::fs::write(&script, OPEN).unwrap();
    let each = all.iter().enumerate().map(|(place, (ns, (_, to)))| {
        let done = world.dir.path().join(format!("opened-{number}-{place}"));
        let words = ["python3".as_ref(), script.as_os_str(), done.as_os_str(), (*to).as_ref()];
        let process = ns.spawn(words).unwrap();
        let opened = Wait::until(SOON, "connections", || done.exists());
        assert!(opened.is_ok(), "{}\n{}", process.output(), world.log());
        process
    });
    each.collect()
}

/// What of `ends` was opened goes with the push of `after`, and nothing else.
fn check(
    world: &World,
    (number, what): (usize, &str),
    after: &RouterDocument,
    opened: &[(&Namespace, Ends)],
    ends: &[Ends],
) {
    let processes = open(world, number, opened);
    let before = tracked(world);
    assert_eq!(before.len(), 3 * opened.len(), "{what}: {before:#?}");
    world.push_and_confirm(after);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let ending: BTreeSet<_> = ends.iter().map(|(from, to)| (ip(from), ip(to))).collect();
    let is_ending =
        |flow: &Flow| ending.contains(&(flow.original.source, flow.original.destination));
    let stay: Vec<_> = before.iter().filter(|flow| !is_ending(flow)).cloned().collect();
    assert_eq!(stay.len(), before.len() - 3 * ends.len(), "{what}");
    let ended = || !tracked(world).iter().any(is_ending);
    let all = Wait::until(SOON, what, ended);
    assert!(all.is_ok(), "{what}: still there\n{:#?}\n{}", tracked(world), world.log());
    assert_eq!(tracked(world), stay, "{what}: not all that may go on does");
    drop(processes);
    // the next row begins with none
    for flow in tracked(world) {
        let ended = world.router.enter_async(async || RealKernel::open().unwrap().end(&flow).await);
        ended.unwrap().unwrap();
    }
}

#[test]
fn exactly_the_flows_end_that_a_commit_takes_away() {
    let world = World::new();
    world.outside_has_web_and_names();
    let inet = &world.inet;
    inet.ip(["addr", "add", &format!("{FAR}/32"), "dev", "lo"]).unwrap();
    inet.ip(["route", "add", "10.1.2.0/24", "via", "198.51.100.10"]).unwrap();
    // a row takes its time on a busy machine; what nobody answers is forgotten after half a minute otherwise
    let patient = "sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600 \
                   net.netfilter.nf_conntrack_icmp_timeout=600";
    world.push_and_confirm(&two(10, |_| {}));
    world.router.sh(patient).check().unwrap();
    guests_with_addresses(&world);
    let (vm1, vm2, vm3) = (world.guest("vm1"), world.guest("vm2"), &world.tier);
    let both = [(vm1, (VM1, NEAR)), (vm3, (VM3, NEAR))];

    let denied = two(11, |document| {
        document["role"]["router"]["networks"][0]["egress"] = json!("deny");
    });
    check(&world, (1, "egress denied"), &denied, &both, &[(VM1, NEAR)]);

    world.push_and_confirm(&two(12, |_| {}));
    let moved = two(13, |document| {
        document["role"]["router"]["networks"][0]["source_nat"]["address"] = json!("198.51.100.11");
    });
    check(&world, (2, "source NAT moved"), &moved, &both, &[(VM1, NEAR)]);

    world.push_and_confirm(&two(14, |_| {}));
    let reused = two(15, |document| {
        let guest = &mut document["role"]["router"]["networks"][0]["guests"][0];
        assert_eq!(guest["address"], VM1);
        guest["mac"] = json!("02:00:0a:01:01:77");
    });
    let three = [(vm1, (VM1, NEAR)), (vm2, (VM2, NEAR)), (vm3, (VM3, NEAR))];
    check(&world, (3, "guest's address reused"), &reused, &three, &[(VM1, NEAR)]);

    world.push_and_confirm(&uplinks(16, false));
    let parts = [(vm1, (VM1, NEAR)), (vm1, (VM1, FAR)), (vm2, (VM2, NEAR))];
    check(&world, (4, "link added"), &uplinks(17, true), &parts, &[(VM1, FAR)]);
}
