//! Networks that lend addresses, and links with several ranges of them.

use super::*;

const POOL: &str = "10.1.1.100-10.1.1.101";
const MACHINES: [&str; 3] = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"];

fn lender() -> Server {
    let mut slice = example();
    slice.networks[0].pools = vec![POOL.parse().unwrap()];
    Server::new(&slice)
}

fn send_at(server: &mut Server, now: Duration, message: &v4::Message) -> Outcome {
    let (bytes, link) = (message.to_vec().unwrap(), link("guest0"));
    server.handle(now, Arrival { link: &link, source: Ipv4Addr::UNSPECIFIED, bytes: &bytes })
}

/// The address that `machine` was offered and took.
fn take(server: &mut Server, now: Duration, machine: &str) -> Ipv4Addr {
    let discover = client(MessageType::Discover, machine, &[]);
    let address = reply(send_at(server, now, &discover)).0.yiaddr();
    let options =
        [DhcpOption::ServerIdentifier(ip("10.1.1.1")), DhcpOption::RequestedIpAddress(address)];
    let request = client(MessageType::Request, machine, &options);
    assert_eq!(reply(send_at(server, now, &request)).0.yiaddr(), address);
    address
}

#[test]
fn a_declined_address_is_lent_again_when_nothing_else_is_left() {
    let [first, second, third] = MACHINES;
    let mut server = lender();
    let declined = take(&mut server, NOW, first);
    let decline = client(
        MessageType::Decline,
        first,
        &[DhcpOption::ServerIdentifier(ip("10.1.1.1")), DhcpOption::RequestedIpAddress(declined)],
    );
    let outcome = send_at(&mut server, NOW, &decline);
    assert_eq!(outcome.event, Event::Declined(mac(first), declined));
    assert_ne!(take(&mut server, NOW, second), declined);

    let discover = client(MessageType::Discover, third, &[]);
    let outcome = send_at(&mut server, NOW, &discover);
    assert_eq!(silence(&outcome), DropReason::Exhausted(mac(third)));
    assert_eq!(take(&mut server, NOW + QUARANTINE, third), declined);
}

/// What `machine`, which says that it has `address`, is answered; `source` is what it speaks from.
fn claim(server: &mut Server, machine: &str, address: Ipv4Addr, source: &str) -> Outcome {
    let asked = [DhcpOption::RequestedIpAddress(address)];
    let mut request = client(MessageType::Request, machine, &asked);
    if source != "0.0.0.0" {
        request = client(MessageType::Request, machine, &[]);
        request.set_ciaddr(address);
    }
    let (bytes, link) = (request.to_vec().unwrap(), link("guest0"));
    server.handle(NOW, Arrival { link: &link, source: ip(source), bytes: &bytes })
}

fn kind(outcome: Outcome) -> MessageType {
    reply(outcome).0.opts().msg_type().unwrap()
}

#[test]
fn what_the_link_was_not_asked_about_is_not_confirmed_at_the_next_try() {
    let [first, second, _] = MACHINES;
    let own = ip("10.1.1.100");
    let mut server = lender();
    // a router that remembers nothing; the question finds no socket, and no reply is sent
    for _ in 0..3 {
        let outcome = claim(&mut server, first, own, "0.0.0.0");
        assert_eq!((outcome.probe, outcome.reply.is_some()), (Some(own), true));
        assert_eq!((server.changes(), server.loans(NOW).count()), (vec![], 0), "nobody was told");
    }
    let offer = send_at(&mut server, NOW, &client(MessageType::Discover, first, &[]));
    assert_eq!(offer.probe, Some(own));
    let outcome = claim(&mut server, second, own, "0.0.0.0");
    assert_eq!((outcome.probe, kind(outcome)), (None, MessageType::Nak), "it is promised");
    // but for who speaks from it
    let mut user = server.clone();
    let outcome = claim(&mut user, second, own, "10.1.1.100");
    assert_eq!((outcome.probe, kind(outcome)), (None, MessageType::Ack));
    assert!(!user.prove(&link("guest0"), mac(first), own));

    assert!(!server.prove(&link("guest0"), mac(second), own), "another's");
    assert!(server.prove(&link("guest0"), mac(first), own));
    let [written] = <[Change; 1]>::try_from(server.changes()).unwrap();
    assert_eq!((written.mac, written.address), (mac(first), own));
    let outcome = claim(&mut server, first, own, "0.0.0.0");
    assert_eq!((outcome.probe, kind(outcome)), (None, MessageType::Ack));
    assert_eq!(server.loans(NOW).count(), 1);
}

#[test]
fn an_offer_that_was_not_sent_proves_nothing() {
    let [first, ..] = MACHINES;
    let mut server = lender();
    let discover = client(MessageType::Discover, first, &[]);
    let offered = send_at(&mut server, NOW, &discover).probe.unwrap();
    assert_eq!(claim(&mut server, first, offered, "0.0.0.0").probe, Some(offered));

    let mut server = lender();
    send_at(&mut server, NOW, &discover);
    assert!(server.prove(&link("guest0"), mac(first), offered));
    assert_eq!(claim(&mut server, first, offered, "0.0.0.0").probe, None, "offered and chosen");
    assert_eq!(server.changes().len(), 1);
}

#[test]
fn who_speaks_from_an_address_has_it_without_a_question() {
    let own = ip("10.1.1.100");
    let mut server = lender();
    let outcome = claim(&mut server, MACHINES[0], own, "10.1.1.100");
    assert_eq!((outcome.probe, kind(outcome)), (None, MessageType::Ack));
    assert_eq!(server.changes().len(), 1);
}

#[test]
fn a_decline_in_its_name_takes_no_address_from_whoever_uses_it() {
    let [user, other, _] = MACHINES;
    let mut server = lender();
    let own = take(&mut server, NOW, user);
    let decline = client(MessageType::Decline, user, &[DhcpOption::RequestedIpAddress(own)]);
    let discover = client(MessageType::Discover, user, &[]);
    let from = own.to_string();
    for forged in [vec![&decline], vec![&decline, &discover]] {
        for message in forged {
            send_at(&mut server, NOW, message);
        }
        assert_eq!(kind(claim(&mut server, other, own, "0.0.0.0")), MessageType::Nak);
        // it renews, or was started anew and remembers: then the link is asked
        let outcome = claim(&mut server, user, own, "0.0.0.0");
        assert_eq!((outcome.probe, kind(outcome)), (Some(own), MessageType::Ack));
        let outcome = claim(&mut server, user, own, &from);
        assert_eq!((outcome.probe, kind(outcome)), (None, MessageType::Ack));
    }
    assert_ne!(take(&mut server, NOW, other), own);
    assert!(server.loans(NOW).any(|loan| loan.mac == mac(user) && loan.address == own));
}

#[test]
fn full_ranges_are_searched_again_once_something_is_free() {
    let mut server = two_ranges();
    let relayed = |server: &mut Server, now: Duration, machine: &str| {
        let mut discover = client(MessageType::Discover, machine, &[]);
        discover.set_giaddr(ip("10.1.9.254"));
        send_at(server, now, &discover)
    };
    let [own, _] = [MACHINES[0], MACHINES[1]].map(|machine| {
        let [address, own, _] = offered(&mut server, machine, "10.1.9.254");
        reply(requested(&mut server, machine, address, own));
        address
    });
    for _ in 0..2 {
        let outcome = relayed(&mut server, NOW, MACHINES[2]);
        assert_eq!(silence(&outcome), DropReason::Exhausted(mac(MACHINES[2])));
    }
    let squatter = mac("02:00:00:00:00:09");
    server.occupied(NOW, &link("guest0"), own, squatter);
    let outcome = relayed(&mut server, NOW, MACHINES[2]);
    assert_eq!(silence(&outcome), DropReason::Exhausted(mac(MACHINES[2])));
    let (offer, _) = reply(relayed(&mut server, NOW + QUARANTINE, MACHINES[2]));
    assert_eq!(offer.yiaddr(), own);
}

const SECOND: &str = "10.1.9.100-10.1.9.101";

/// `guest0` with two ranges: vm1 is in the first and vm2 in the second, each lends two addresses.
fn two_ranges() -> Server {
    let mut slice = example();
    let mut second = slice.networks[0].clone();
    second.cidr = "10.1.9.0/24".parse().unwrap();
    (second.gateway, second.resolvers) = (ip("10.1.9.1"), vec![ip("10.1.9.1")]);
    second.routes.clear();
    second.guests.retain(|guest| guest.mac == mac(VM2));
    second.guests[0].address = ip("10.1.9.24");
    slice.networks[0].guests.retain(|guest| guest.mac == mac(VM1));
    slice.networks[0].pools = vec![POOL.parse().unwrap()];
    second.pools = vec![SECOND.parse().unwrap()];
    slice.networks.insert(1, second);
    Server::new(&slice)
}

/// Address, server identifier and router that `machine` is offered; `relay` is unspecified for none.
fn offered(server: &mut Server, machine: &str, relay: &str) -> [Ipv4Addr; 3] {
    let mut discover = client(MessageType::Discover, machine, &[]);
    discover.set_giaddr(ip(relay));
    let (offer, _) = reply(send(server, &discover));
    let Some(DhcpOption::ServerIdentifier(own)) = offer.opts().get(OptionCode::ServerIdentifier)
    else {
        panic!("{offer:?}");
    };
    let Some(DhcpOption::Router(routers)) = offer.opts().get(OptionCode::Router) else {
        panic!("{offer:?}");
    };
    [offer.yiaddr(), *own, routers[0]]
}

/// What a client that chose the offer of `server_id` is answered.
fn requested(
    server: &mut Server,
    machine: &str,
    address: Ipv4Addr,
    server_id: Ipv4Addr,
) -> Outcome {
    let options =
        [DhcpOption::ServerIdentifier(server_id), DhcpOption::RequestedIpAddress(address)];
    send(server, &client(MessageType::Request, machine, &options))
}

#[test]
fn each_client_of_a_link_with_two_ranges_hears_of_its_own_range() {
    let (mut server, no_relay) = (two_ranges(), "0.0.0.0");
    for (machine, expected) in
        [(VM1, ["10.1.1.23", "10.1.1.1", "10.1.1.1"]), (VM2, ["10.1.9.24", "10.1.9.1", "10.1.9.1"])]
    {
        let expected = expected.map(ip);
        assert_eq!(offered(&mut server, machine, no_relay), expected);
        // and so by whichever relay of the network
        assert_eq!(offered(&mut server, machine, "10.1.1.254"), expected);
        let (ack, _) = reply(requested(&mut server, machine, expected[0], expected[1]));
        assert_eq!((ack.opts().msg_type(), ack.yiaddr()), (Some(MessageType::Ack), expected[0]));
    }
    // the other range's router is another server to it
    let outcome = requested(&mut server, VM2, ip("10.1.9.24"), ip("10.1.1.1"));
    assert_eq!(silence(&outcome), DropReason::OtherServer(mac(VM2)));
    let moved =
        client(MessageType::Request, VM2, &[DhcpOption::RequestedIpAddress(ip("10.1.1.24"))]);
    assert_eq!(reply(send(&mut server, &moved)).0.opts().msg_type(), Some(MessageType::Nak));
}

#[test]
fn all_ranges_of_a_link_are_lent_from_and_no_address_twice() {
    let mut server = two_ranges();
    let mut seen = std::collections::BTreeSet::new();
    for number in 1..=4 {
        let machine = format!("02:00:00:00:00:0{number}");
        let [address, own, router] = offered(&mut server, &machine, "0.0.0.0");
        assert_eq!((own.octets()[2], router), (address.octets()[2], own), "of one range");
        let (ack, _) = reply(requested(&mut server, &machine, address, own));
        assert_eq!(ack.yiaddr(), address);
        // it renews what it has
        let mut renewal = client(MessageType::Request, &machine, &[]);
        renewal.set_ciaddr(address);
        let (ack, _) = reply(send(&mut server, &renewal));
        assert_eq!((ack.opts().msg_type(), ack.yiaddr()), (Some(MessageType::Ack), address));
        assert!(seen.insert(address), "{address} was lent before");
    }
    let fifth = client(MessageType::Discover, "02:00:00:00:00:05", &[]);
    assert_eq!(
        silence(&send(&mut server, &fifth)),
        DropReason::Exhausted(mac("02:00:00:00:00:05"))
    );
    assert_eq!((seen.len(), server.capacity()), (4, 4));
}

#[test]
fn who_comes_by_a_relay_of_one_range_is_lent_an_address_of_that_one() {
    let mut server = two_ranges();
    // what others have of the first range leaves it as it is
    for number in 7..=8 {
        let machine = format!("02:00:00:00:00:0{number}");
        let [address, own, _] = offered(&mut server, &machine, "10.1.1.254");
        reply(requested(&mut server, &machine, address, own));
        assert_eq!(own, ip("10.1.1.1"));
    }
    let mut last = Ipv4Addr::UNSPECIFIED;
    for machine in &MACHINES[..2] {
        let [address, own, _] = offered(&mut server, machine, "10.1.9.254");
        assert_eq!((&address.octets()[..3], own), ([10, 1, 9].as_slice(), ip("10.1.9.1")));
        assert_ne!(std::mem::replace(&mut last, address), address);
    }
    let mut foreign = client(MessageType::Discover, MACHINES[0], &[]);
    foreign.set_giaddr(ip("10.1.8.254"));
    let reason = silence(&send(&mut server, &foreign));
    assert_eq!(reason, DropReason::ForeignRelay(mac(MACHINES[0]), ip("10.1.8.254")));
}
