//! Addresses that are lent: to clients that no configuration names, on a segment where others may sit on an address.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, MessageType, OptionCode};
use sluice_lab::Wait;
use sluice_lab::netns::{Namespace, VethEnd};
use sluice_router::dhcp::DhcpSlice;

use super::bench::{BOUND, Bench, STRANGER, VM1, link, mac, reservation, slice};
use super::raw::{RawClient, Seen};

const OTHER: &str = "02:00:00:00:00:98";

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn requested(address: &str) -> DhcpOption {
    DhcpOption::RequestedIpAddress(ip(address))
}

fn kind(seen: &Seen) -> MessageType {
    seen.message.opts().msg_type().unwrap()
}

/// The example's first network, which also lends these addresses.
fn lending(ranges: &[&str]) -> DhcpSlice {
    let mut slice = slice();
    slice.networks.truncate(1);
    slice.networks[0].pools = ranges.iter().map(|range| range.parse().unwrap()).collect();
    slice
}

/// A router whose `guest0` is a segment with two machines that no configuration names.
fn shared(test: &str, slice: &DhcpSlice) -> (Bench, Namespace, Namespace) {
    let mut bench = Bench::empty(test);
    let machines =
        [("a", STRANGER, "port0"), ("b", OTHER, "port1")].map(|(role, address, port)| {
            let machine = bench.namespace(&format!("{test}-{role}"));
            let outside = VethEnd::new(&machine, link("eth0")).mac(mac(address));
            bench.veth(&VethEnd::new(&bench.router, link(port)), &outside);
            machine
        });
    bench.router.bridge(&link("guest0"), &[link("port0"), link("port1")]).unwrap();
    bench.router.address(&link("guest0"), "10.1.1.1/24".parse().unwrap()).unwrap();
    bench.write(slice);
    bench.start();
    bench.await_link("guest0");
    let [first, second] = machines;
    (bench, first, second)
}

/// The four messages by which `who` gets an address; `wish` is one that it would like.
fn lease(client: &mut RawClient, who: &str, wish: &str) -> Ipv4Addr {
    let discover = client.message(MessageType::Discover, who, &[requested(wish)]);
    let offer = client.ask(&discover);
    let address = offer.message.yiaddr();
    let server = offer.message.opts().get(OptionCode::ServerIdentifier).cloned().unwrap();
    let options = [server, DhcpOption::RequestedIpAddress(address)];
    let request = client.message(MessageType::Request, who, &options);
    let ack = client.ask(&request);
    assert_eq!((kind(&ack), ack.message.yiaddr()), (MessageType::Ack, address));
    address
}

/// Whether `who` is confirmed in an address that it says it has.
fn renew(client: &mut RawClient, who: &str, address: Ipv4Addr) -> MessageType {
    let mut request = client.message(MessageType::Request, who, &[]);
    request.set_ciaddr(address);
    kind(&client.ask(&request))
}

#[test]
fn a_stock_client_that_nobody_knows_is_lent_an_address_of_either_range() {
    let ranges = ["10.1.1.100-10.1.1.101", "10.1.1.150-10.1.1.151"];
    let (mut bench, machine, _) = shared("lend", &lending(&ranges));
    let script =
        bench.script("script", "#!/bin/sh\necho \"$1 ip=$ip router=$router lease=$lease\"\n");
    let mut client = machine.spawn(["udhcpc", "-f", "-i", "eth0", "-s", script.as_str()]).unwrap();
    client.says("bound ip=10.1.1.1", BOUND).unwrap();
    assert!(client.output().contains("router=10.1.1.1 lease=3600"), "{}", client.output());
    let counters = bench.counters();
    assert_eq!((&counters["lent"], &counters["lendable"]), (&1.into(), &4.into()), "{counters}");
}

#[test]
fn an_address_that_somebody_sits_on_is_not_offered() {
    let (mut bench, machine, squatter) = shared("squat", &lending(&["10.1.1.100-10.1.1.101"]));
    squatter.address(&link("eth0"), "10.1.1.100/24".parse().unwrap()).unwrap();
    let mut client = RawClient::new(&machine);
    assert_eq!(lease(&mut client, STRANGER, "10.1.1.100"), ip("10.1.1.101"));
    bench.await_log("dhcp address is in use by another host link=guest0 address=10.1.1.100");
    // who remembers the address from before is told that it is another's
    let remembered = client.message(MessageType::Request, NOBODY, &[requested("10.1.1.100")]);
    assert_eq!(kind(&client.ask(&remembered)), MessageType::Nak);
}

/// A machine that is not there.
const NOBODY: &str = "02:00:00:00:00:97";

#[test]
fn what_was_lent_is_known_after_a_kill_and_confirmed_by_a_router_that_was_rebuilt() {
    let (mut bench, machine, other) = shared("kept", &lending(&["10.1.1.100-10.1.1.103"]));
    std::fs::create_dir(bench.path("leases")).unwrap();
    bench.crash();
    bench.start();
    bench.await_link("guest0");
    let (mut first, mut second) = (RawClient::new(&machine), RawClient::new(&other));
    let own = lease(&mut first, STRANGER, "10.1.1.102");
    machine.address(&link("eth0"), format!("{own}/24").parse().unwrap()).unwrap();
    bench.crash();
    bench.start();
    bench.await_link("guest0");
    assert_ne!(lease(&mut second, OTHER, &own.to_string()), own, "it is another's");
    assert_eq!(renew(&mut first, STRANGER, own), MessageType::Ack);

    // nothing is left: whoever says what it has is right, and the others find it out from the segment
    std::fs::remove_dir_all(bench.path("leases")).unwrap();
    bench.crash();
    bench.start();
    bench.await_link("guest0");
    assert_ne!(lease(&mut second, OTHER, &own.to_string()), own, "it answers for it");
    assert_eq!(renew(&mut first, STRANGER, own), MessageType::Ack);
}

#[test]
fn a_guest_that_is_given_a_lent_address_gets_it() {
    let mut slice = lending(&["10.1.1.100-10.1.1.103"]);
    let (mut bench, machine, other) = shared("yield", &slice);
    let mut first = RawClient::new(&machine);
    let own = lease(&mut first, STRANGER, "10.1.1.101");
    slice.networks[0].guests.push(reservation((OTHER, &own.to_string(), "new")));
    bench.reload(&slice);
    let mut second = RawClient::new(&other);
    assert_eq!(lease(&mut second, OTHER, "10.1.1.1"), own, "the intended owner's");
    assert_eq!(renew(&mut first, STRANGER, own), MessageType::Nak);
    assert_ne!(lease(&mut first, STRANGER, &own.to_string()), own);
}

#[test]
fn a_declined_address_is_lent_to_nobody_for_a_while() {
    let (_bench, machine, other) = shared("declined", &lending(&["10.1.1.100-10.1.1.101"]));
    let mut client = RawClient::new(&machine);
    let own = lease(&mut client, STRANGER, "10.1.1.100");
    let server = DhcpOption::ServerIdentifier(ip("10.1.1.1"));
    let options = [server, DhcpOption::RequestedIpAddress(own)];
    let decline = client.message(MessageType::Decline, STRANGER, &options);
    client.send(&decline);
    assert_eq!(lease(&mut client, STRANGER, &own.to_string()), ip("10.1.1.101"));
    let mut second = RawClient::new(&other);
    let discover = second.message(MessageType::Discover, OTHER, &[]);
    second.ask_in_vain(&discover, VM1);
}

/// Kilobytes that the server has.
fn memory(bench: &mut Bench) -> u64 {
    let status = format!("/proc/{}/status", bench.server().pid());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_client_with_ten_thousand_names_takes_the_pool_and_nothing_else() {
    let (mut bench, machine, _) = shared("starve", &lending(&["10.1.1.100-10.1.1.139"]));
    let mut client = RawClient::new(&machine);
    let before = memory(&mut bench);
    for number in 0..10_000_u16 {
        let [high, low] = number.to_be_bytes();
        let who = format!("02:00:00:01:{high:02x}:{low:02x}");
        let discover = client.message(MessageType::Discover, &who, &[]);
        client.send(&discover);
    }
    // a guest of the configuration is served as ever
    let offer = Wait::until_some(BOUND, "the guest's offer", || {
        let discover = client.message(MessageType::Discover, VM1, &[]);
        client.send(&discover);
        let seen = client.next();
        (seen.message.yiaddr() == ip("10.1.1.23")).then_some(seen)
    });
    offer.unwrap();
    let counters = bench.counters();
    assert_eq!(counters["lent"], 0, "an offer is no loan: {counters}");
    assert!(memory(&mut bench) < before + 8192, "{before} KiB before");
}

#[test]
fn perfdhcp_is_served_from_a_pool() {
    let (mut bench, machine, _) = shared("perf", &lending(&["10.1.1.30-10.1.1.254"]));
    // perfdhcp wants an address of its own
    machine.address(&link("eth0"), "10.1.1.29/24".parse().unwrap()).unwrap();
    let words =
        ["perfdhcp", "-4", "-l", "eth0", "-r", "20", "-R", "100", "-n", "100", "-W", "3000000"];
    let output = machine.command(words).run().unwrap();
    assert!(output.stdout.contains("drops ratio: 0 %"), "{}{}", output.stdout, output.stderr);
    assert_eq!(bench.counters()["lent"], 100);
}
