//! Packets of the field that a router between guests and the world must not get wrong (reports of other systems' users).

use std::collections::BTreeMap;

use sluice_lab::netns::Process;

use super::SOON;
use super::world::{World, config};

/// Headers of packets that the Internet sees and `filter` wants.
fn watch(world: &World, filter: &str) -> Process {
    let mut seen = world.inet.spawn(["tcpdump", "-nvl", "-i", "eth0", filter]).unwrap();
    seen.says("listening on", SOON).unwrap();
    seen
}

/// Packets of no connection, with the flags of a scan and of a reset.
const STRAY: &str = r#"
import socket, struct
def packet(flags, port):
    head = struct.pack("!HHIIBBHHH", 40000 + port, 8080, 1, 1, 0x50, flags, 1024, 0, 0)
    pseudo = socket.inet_aton("10.1.1.23") + socket.inet_aton("192.0.2.80") + struct.pack("!BBH", 0, 6, len(head))
    total = sum(struct.unpack("!16H", pseudo + head))
    total = (total & 0xffff) + (total >> 16)
    check = ~(total + (total >> 16)) & 0xffff
    return head[:16] + struct.pack("!H", check) + head[18:]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
for port, flags in enumerate((0x29, 0x04, 0x14, 0x01, 0x00, 0x3f)):
    raw.sendto(packet(flags, port), ("192.0.2.80", 0))
"#;

#[test]
fn no_packet_leaves_with_a_private_source() {
    let world = World::new();
    world.outside_has_web_and_names();
    world.push_and_confirm(&config());
    world.lease("vm1", "10.1.1.23");
    let mut seen = watch(&world, "src net 10.0.0.0/8 or tcp port 8080");
    let script = world.dir.path().join("stray.py");
    std::fs::write(&script, STRAY).unwrap();
    let vm1 = world.guest("vm1");
    vm1.command(["python3".as_ref(), script.as_os_str()]).check().unwrap();
    vm1.sh("curl -s --max-time 5 http://192.0.2.80:8080/").check().unwrap();
    // what came before it has been seen too
    seen.says("GET / HTTP/1.1", SOON).unwrap();
    assert!(!seen.output().contains("10.1.1."), "{}", seen.output());
}

#[test]
fn guests_hear_how_large_packets_may_be() {
    let world = World::new();
    world.outside_has_web_and_names();
    let mut config = config();
    config.links.iter_mut().filter(|link| link.name.as_str() == "pub0").for_each(|link| {
        link.mtu = 1450.try_into().unwrap();
    });
    world.push_and_confirm(&config);
    world.lease("vm1", "10.1.1.23");
    // a narrower link beyond the router says so to the router's address, and the router to the guest (RFC 5508 REQ-4)
    world.inet.sh("ip link set far0 mtu 1400").check().unwrap();
    let ping = world.guest("vm1").sh("ping -c3 -W2 -M do -s 1410 198.18.0.2").run().unwrap();
    let heard = format!("{}{}", ping.stdout, ping.stderr);
    assert!(heard.contains("mtu = 1400") || heard.contains("mtu=1400"), "{heard}");
    // and a connection begins with what the way to the outside takes
    let mut seen = watch(&world, "tcp[tcpflags] & tcp-syn != 0 and tcp port 8080");
    world.guest("vm1").sh("curl -s --max-time 5 http://192.0.2.80:8080/").check().unwrap();
    seen.says("mss 1410", SOON).unwrap();
}

#[test]
fn a_change_of_one_guest_is_in_force_without_restarting_anything() {
    let world = World::new();
    world.push_and_confirm(&config());
    world.lease("vm2", "10.1.1.24");
    let services = |world: &World| -> BTreeMap<_, _> {
        let services = world.status().services.into_iter();
        services.map(|one| (one.name, (one.pid, one.restarts, one.generation))).collect()
    };
    let before = services(&world);
    let mut next = config();
    next.generation = next.generation.next().unwrap();
    let guest = &mut next.role.networks[0].guests[1];
    guest.address = "10.1.1.77".parse().unwrap();
    guest.hostname = "renamed".parse().unwrap();
    world.push_and_confirm(&next);
    // what was pushed is in force in all of them when the push is answered
    let after = services(&world);
    for (name, (pid, restarts, generation)) in &before {
        assert_eq!(*generation, Some(config().generation), "{name}");
        assert_eq!(after[name], (*pid, *restarts, Some(next.generation)), "{name}");
    }
    world.lease("vm2", "10.1.1.77");
    world.lease("vm1", "10.1.1.23");
    let found =
        world.guest("vm1").sh("dig +short +time=2 +tries=3 @10.1.1.1 renamed.cs1.cloud.internal; \
         dig +short +time=2 +tries=3 @10.1.1.1 vm2.cs1.cloud.internal");
    assert_eq!(found.check().unwrap().trim(), "10.1.1.77");
    let own = world.guest("vm2").sh("curl -s --max-time 5 http://10.1.1.1/latest/local-hostname");
    assert_eq!(own.check().unwrap().trim(), "renamed");
}
