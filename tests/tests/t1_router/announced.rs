//! Field case 12: an address that comes to a router is announced, so that nobody goes on sending to whoever had it.

use sluice_lab::Wait;
use sluice_lab::netns::Process;

use super::SOON;
use super::world::{World, config};

/// The MAC address of the router's public link, and that of the machine which had the address.
const OURS: &str = "02:00:c6:33:64:0a";
const FORMER: &str = "02:00:c6:33:64:99";
const MOVED: &str = "198.51.100.77";
const MOVED_V6: &str = "2001:db8:77::10";

/// ARP requests for the sender's own address, and neighbour advertisements to all, that the provider's gateway sees.
fn watch(world: &World) -> Process {
    let filter = "(arp[14:4] = arp[24:4]) or (icmp6 and ip6[40] = 136 and dst host ff02::1)";
    let mut seen = world.inet.spawn(["tcpdump", "-nel", "-i", "eth0", filter]).unwrap();
    seen.says("listening on", SOON).unwrap();
    seen
}

/// Lines about `address` from the router's MAC address.
fn said(seen: &Process, address: &str) -> usize {
    let output = seen.output();
    output.lines().filter(|line| line.contains(address) && line.contains(OURS)).count()
}

/// The MAC address that the gateway sends to for the address that moved.
fn believed(world: &World) -> String {
    world.inet.sh(&format!("ip neigh show {MOVED} dev eth0")).check().unwrap()
}

#[test]
fn an_address_that_moves_to_a_router_is_announced_and_again_when_its_link_comes_up() {
    let world = World::new();
    world.push_and_confirm(&config());
    let line = format!("ip neigh replace {MOVED} lladdr {FORMER} nud reachable dev eth0");
    world.inet.sh(&line).check().unwrap();
    let seen = watch(&world);
    let mut next = config();
    next.generation = next.generation.next().unwrap();
    let public = next.links.iter_mut().find(|link| link.name.as_str() == "pub0").unwrap();
    public.addresses.push(format!("{MOVED}/24").parse().unwrap());
    public.addresses.push(format!("{MOVED_V6}/64").parse().unwrap());
    world.push_and_confirm(&next);
    let announced = || said(&seen, MOVED) > 0 && said(&seen, MOVED_V6) > 0;
    Wait::until(SOON, "both announcements", announced)
        .unwrap_or_else(|error| panic!("{error}\n{}", seen.output()));
    Wait::until(SOON, "the gateway to know", || believed(&world).contains(OURS))
        .unwrap_or_else(|error| panic!("{error}\n{}", believed(&world)));
    // the second time of each, after which nothing more comes by itself (RFC 5227 1.1)
    Wait::until(SOON, "the second ones", || said(&seen, MOVED) > 1 && said(&seen, MOVED_V6) > 1)
        .unwrap_or_else(|error| panic!("{error}\n{}", seen.output()));

    let before = said(&seen, MOVED);
    world.router.sh("ip link set pub0 down; ip link set pub0 up").check().unwrap();
    Wait::until(SOON, "an announcement of the link", || said(&seen, MOVED) > before)
        .unwrap_or_else(|error| panic!("{error}\n{}", seen.output()));
}
