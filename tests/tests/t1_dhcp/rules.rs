//! What RFC 2131 asks of each message, seen on the wire.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Flags, MessageType, OptionCode};

use super::bench::{Bench, DB1, STRANGER, VM1, mac};
use super::raw::{RawClient, Seen};

const BROADCAST: [u8; 6] = [0xff; 6];

fn kind(seen: &Seen) -> MessageType {
    seen.message.opts().msg_type().unwrap()
}

fn requested(address: &str) -> DhcpOption {
    DhcpOption::RequestedIpAddress(ip(address))
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn a_client_without_an_address_is_reached_without_arp() {
    let (bench, guest, _) = Bench::new("noarp");
    let mut client = RawClient::new(&guest);
    let discover = client.message(MessageType::Discover, VM1, &[]);
    let offer = client.ask(&discover);
    assert_eq!((offer.to_mac, offer.to), (mac(VM1).bytes(), "10.1.1.23:68".parse().unwrap()));
    let neighbours = bench.router.ip(["neigh", "show", "dev", "guest0"]).unwrap();
    assert!(!neighbours.contains("10.1.1.23"), "{neighbours}");
}

#[test]
fn the_broadcast_flag_is_obeyed() {
    let (_bench, guest, _) = Bench::new("flag");
    let mut client = RawClient::new(&guest);
    let mut discover = client.message(MessageType::Discover, VM1, &[]);
    discover.set_flags(Flags::default().set_broadcast());
    let offer = client.ask(&discover);
    assert_eq!((offer.to_mac, offer.to), (BROADCAST, "255.255.255.255:68".parse().unwrap()));
}

#[test]
fn a_wrong_address_is_refused_by_broadcast() {
    let (_bench, guest, _) = Bench::new("nak");
    let mut client = RawClient::new(&guest);
    let request = client.message(MessageType::Request, VM1, &[requested("192.168.7.7")]);
    let nak = client.ask(&request);
    assert_eq!(kind(&nak), MessageType::Nak);
    assert_eq!((nak.to_mac, nak.to), (BROADCAST, "255.255.255.255:68".parse().unwrap()));
}

#[test]
fn a_stranger_and_a_guest_of_another_link_get_nothing() {
    let (mut bench, guest, _) = Bench::new("strange");
    let mut client = RawClient::new(&guest);
    for who in [STRANGER, DB1] {
        for kind in [MessageType::Discover, MessageType::Request, MessageType::Inform] {
            let message = client.message(kind, who, &[requested("10.1.1.23")]);
            client.ask_in_vain(&message, VM1);
        }
    }
    let counters = bench.counters();
    assert_eq!(counters["dropped"], serde_json::json!({ "unknown-client": 6 }));
    assert_eq!(counters["sent"], serde_json::json!({ "offer": 6 }));
}

#[test]
fn a_request_for_another_server_is_left_to_it() {
    let (_bench, guest, _) = Bench::new("other");
    let mut client = RawClient::new(&guest);
    let options = [DhcpOption::ServerIdentifier(ip("10.1.1.2")), requested("10.1.1.23")];
    let message = client.message(MessageType::Request, VM1, &options);
    client.ask_in_vain(&message, VM1);
}

#[test]
fn declined_is_counted_and_held() {
    let (mut bench, guest, _) = Bench::new("decline");
    let mut client = RawClient::new(&guest);
    let options = [DhcpOption::ServerIdentifier(ip("10.1.1.1")), requested("10.1.1.23")];
    let decline = client.message(MessageType::Decline, VM1, &options);
    client.send(&decline);
    let discover = client.message(MessageType::Discover, VM1, &[]);
    client.ask_in_vain(&discover, super::bench::VM2);
    bench.await_log("dhcp decline");
    let counters = bench.counters();
    assert_eq!(counters["received"]["decline"], 1);
    assert_eq!(counters["dropped"], serde_json::json!({ "declined-before": 1 }));
}

#[test]
fn inform_is_answered_to_the_address_the_client_has() {
    let (_bench, guest, _) = Bench::new("inform");
    guest.ip(["addr", "add", "10.1.1.77/24", "dev", "eth0"]).unwrap();
    let mut client = RawClient::new(&guest);
    let mut inform = client.message(MessageType::Inform, VM1, &[]);
    inform.set_ciaddr(ip("10.1.1.77"));
    let ack = client.ask(&inform);
    assert_eq!(kind(&ack), MessageType::Ack);
    assert_eq!(ack.to, "10.1.1.77:68".parse().unwrap());
    assert_eq!(ack.message.yiaddr(), ip("0.0.0.0"));
    assert_eq!(ack.message.opts().get(OptionCode::AddressLeaseTime), None);
    assert_eq!(
        ack.message.opts().get(OptionCode::DomainName),
        Some(&DhcpOption::DomainName("cs1.cloud.internal".into()))
    );
}

#[test]
fn a_relay_gets_the_reply_on_the_servers_port() {
    let (_bench, guest, _) = Bench::new("giaddr");
    guest.ip(["addr", "add", "10.1.1.254/24", "dev", "eth0"]).unwrap();
    let mut client = RawClient::new(&guest);
    let mut discover = client.message(MessageType::Discover, VM1, &[]);
    discover.set_giaddr(ip("10.1.1.254"));
    let offer = client.ask(&discover);
    assert_eq!((kind(&offer), offer.to), (MessageType::Offer, "10.1.1.254:67".parse().unwrap()));
}

#[test]
fn who_says_to_be_a_relay_of_another_network_gets_nothing() {
    let (mut bench, guest, _) = Bench::new("spoofed");
    let mut client = RawClient::new(&guest);
    // of the other network, of the Internet, and the router itself
    for relay in ["10.1.2.254", "192.0.2.7", "127.0.0.1"] {
        for who in [VM1, DB1] {
            let mut discover = client.message(MessageType::Discover, who, &[]);
            discover.set_giaddr(ip(relay));
            client.ask_in_vain(&discover, VM1);
        }
    }
    let counters = bench.counters();
    let dropped = serde_json::json!({ "foreign-relay": 3, "unknown-client": 3 });
    assert_eq!(counters["dropped"], dropped);
}

#[test]
fn noise_is_survived_and_counted() {
    let (mut bench, guest, _) = Bench::new("noise");
    let mut client = RawClient::new(&guest);
    for noise in [&[][..], &[1; 10], &[1; 239], &[0; 300], &[0xff; 1400]] {
        client.send_bytes(noise);
    }
    let discover = client.message(MessageType::Discover, VM1, &[]);
    client.ask(&discover);
    assert_eq!(bench.counters()["dropped"]["malformed"], 5);
}
