//! The slice and its replacement while serving.

use std::time::Instant;

use sluice_api::config::GuestDhcp;

use super::*;

#[test]
fn the_slice_has_the_defaults_filled_in() {
    let slice = example();
    let [first, second] = slice.networks.as_slice() else { panic!("{slice:?}") };
    assert_eq!(first.resolvers, [ip("10.1.1.1")]);
    assert_eq!((first.mtu.get(), second.mtu.get()), (1500, 1400));
    assert_eq!(second.lease_seconds.get(), 86_400);
    let text = serde_json::to_string(&slice).unwrap();
    assert_eq!(serde_json::from_str::<DhcpSlice>(&text).unwrap(), slice);
}

fn discover(server: &mut Server) -> Outcome {
    send(server, &client(MessageType::Discover, VM1, &[]))
}

fn decline(server: &mut Server) {
    let own = DhcpOption::RequestedIpAddress(ip("10.1.1.23"));
    send(server, &client(MessageType::Decline, VM1, &[own]));
}

#[test]
fn a_new_slice_answers_at_once_and_keeps_what_still_holds() {
    let mut server = server();
    decline(&mut server);
    let mut next = example();
    server.replace(&next);
    assert_eq!(silence(&discover(&mut server)), DropReason::Held(mac(VM1)));

    next.networks[0].guests[0].address = ip("10.1.1.50");
    server.replace(&next);
    assert_eq!(reply(discover(&mut server)).0.yiaddr(), ip("10.1.1.50"));

    next.networks[0].guests.remove(0);
    server.replace(&next);
    assert_eq!(silence(&discover(&mut server)), DropReason::UnknownClient(mac(VM1)));
}

#[test]
fn ten_thousand_guests_are_each_answered() {
    let mut slice = example();
    let network = &mut slice.networks[0];
    network.cidr = "10.1.0.0/16".parse().unwrap();
    network.guests = (0..10_000_u32)
        .map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            Reservation {
                mac: MacAddr::from_bytes([2, 0, 0, 0, high, low]).unwrap(),
                address: Ipv4Addr::from(0x0a01_1000 + number),
                hostname: format!("vm{number}").parse().unwrap(),
                default_nic: true,
                dhcp: GuestDhcp::default(),
            }
        })
        .collect();
    let before = Instant::now();
    let mut server = Server::new(&slice);
    eprintln!("index of 10,000 guests: {:?}", before.elapsed());
    for guest in &slice.networks[0].guests {
        let message = client(MessageType::Discover, &guest.mac.to_string(), &[]);
        let (offer, _) = reply(send(&mut server, &message));
        assert_eq!(offer.yiaddr(), guest.address);
    }
}
