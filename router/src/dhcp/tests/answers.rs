//! Which message gets which answer, and where it goes (RFC 2131 3, 4.1 and 4.3).

use std::net::SocketAddrV4;

use super::*;

fn request(options: &[DhcpOption]) -> v4::Message {
    client(MessageType::Request, VM1, options)
}

fn selecting(server: &str, address: &str) -> v4::Message {
    request(&[
        DhcpOption::ServerIdentifier(ip(server)),
        DhcpOption::RequestedIpAddress(ip(address)),
    ])
}

fn init_reboot(address: &str) -> v4::Message {
    request(&[DhcpOption::RequestedIpAddress(ip(address))])
}

fn renewing(address: &str) -> v4::Message {
    let mut message = request(&[]);
    message.set_ciaddr(ip(address));
    message
}

fn kind(message: &v4::Message) -> MessageType {
    message.opts().msg_type().unwrap()
}

const VM1_UNICAST: fn() -> Destination =
    || Destination::Hardware { mac: mac(VM1), address: ip("10.1.1.23") };

#[test]
fn discover_is_offered_the_reserved_address() {
    let (offer, to) = reply(send(&mut server(), &client(MessageType::Discover, VM1, &[])));
    assert_eq!(kind(&offer), MessageType::Offer);
    assert_eq!(offer.yiaddr(), ip("10.1.1.23"));
    assert_eq!(offer.xid(), 0x0102_0304);
    assert_eq!(to, VM1_UNICAST());
}

#[test]
fn discover_that_asks_for_another_address_is_offered_the_reserved_one() {
    let wish = DhcpOption::RequestedIpAddress(ip("10.1.1.99"));
    let (offer, _) = reply(send(&mut server(), &client(MessageType::Discover, VM1, &[wish])));
    assert_eq!(offer.yiaddr(), ip("10.1.1.23"));
}

#[test]
fn selecting_is_acked() {
    let mut server = server();
    let (ack, to) = reply(send(&mut server, &selecting("10.1.1.1", "10.1.1.23")));
    assert_eq!(kind(&ack), MessageType::Ack);
    assert_eq!(ack.yiaddr(), ip("10.1.1.23"));
    assert_eq!(to, VM1_UNICAST());
    assert_eq!(server.active_leases(NOW), 1);
    assert_eq!(server.active_leases(NOW + Duration::from_hours(1)), 0);
}

#[test]
fn selecting_another_server_is_left_to_it() {
    let outcome = send(&mut server(), &selecting("10.1.1.2", "10.1.1.23"));
    assert_eq!(silence(&outcome), DropReason::OtherServer(mac(VM1)));
}

#[test]
fn a_wrong_address_is_refused_by_broadcast_in_every_state() {
    for message in
        [selecting("10.1.1.1", "10.1.1.99"), init_reboot("192.168.0.7"), renewing("10.1.1.99")]
    {
        let (nak, to) = reply(send(&mut server(), &message));
        assert_eq!(kind(&nak), MessageType::Nak, "{message:?}");
        assert_eq!(to, Destination::Broadcast);
        assert_eq!((nak.yiaddr(), nak.ciaddr()), (ip("0.0.0.0"), ip("0.0.0.0")));
        assert_eq!(codes(&nak), [53, 54, 56], "RFC 2131 table 3 allows nothing else");
    }
}

#[test]
fn a_server_that_remembers_nothing_confirms_what_is_reserved() {
    let (ack, to) = reply(send(&mut server(), &init_reboot("10.1.1.23")));
    assert_eq!((kind(&ack), to), (MessageType::Ack, VM1_UNICAST()));
    let (ack, to) = reply(send(&mut server(), &renewing("10.1.1.23")));
    assert_eq!((kind(&ack), ack.ciaddr()), (MessageType::Ack, ip("10.1.1.23")));
    assert_eq!(to, Destination::Routed(SocketAddrV4::new(ip("10.1.1.23"), 68)));
}

#[test]
fn request_without_any_address_is_dropped() {
    let outcome = send(&mut server(), &request(&[]));
    assert_eq!(silence(&outcome), DropReason::NoAddress(mac(VM1)));
}

#[test]
fn a_stranger_gets_nothing_whatever_it_sends() {
    let every = [
        client(MessageType::Discover, STRANGER, &[]),
        client(MessageType::Request, STRANGER, &[DhcpOption::RequestedIpAddress(ip("10.1.1.23"))]),
        client(MessageType::Inform, STRANGER, &[]),
        client(MessageType::Decline, STRANGER, &[DhcpOption::RequestedIpAddress(ip("10.1.1.23"))]),
        client(MessageType::Release, STRANGER, &[]),
    ];
    let mut server = server();
    for message in every {
        let outcome = send(&mut server, &message);
        assert_eq!(silence(&outcome), DropReason::UnknownClient(mac(STRANGER)));
    }
    assert_eq!(server.counters().dropped.get("unknown-client"), Some(&5));
}

#[test]
fn a_guest_is_answered_on_its_own_link_only() {
    let mut server = server();
    let discover = client(MessageType::Discover, DB1, &[]);
    let outcome = send_on(&mut server, "guest0", &discover);
    assert_eq!(silence(&outcome), DropReason::UnknownClient(mac(DB1)));
    let (offer, _) = reply(send_on(&mut server, "guest1", &discover));
    assert_eq!(offer.yiaddr(), ip("10.1.2.23"));
    let outcome = send_on(&mut server, "pub0", &discover);
    assert_eq!(silence(&outcome), DropReason::NoNetwork);
}

#[test]
fn the_broadcast_flag_is_obeyed() {
    let mut discover = client(MessageType::Discover, VM1, &[]);
    discover.set_flags(v4::Flags::default().set_broadcast());
    let (offer, to) = reply(send(&mut server(), &discover));
    assert_eq!(to, Destination::Broadcast);
    assert!(offer.flags().broadcast());
}

#[test]
fn a_relay_gets_the_replies_and_its_option_back() {
    let relay = ip("10.1.1.254");
    let mut info = v4::relay::RelayAgentInformation::default();
    info.insert(v4::relay::RelayInfo::AgentCircuitId(b"port 7".to_vec()));
    let option = DhcpOption::RelayAgentInformation(info);
    let wrong = DhcpOption::RequestedIpAddress(ip("10.1.1.99"));
    let messages = [
        client(MessageType::Discover, VM1, std::slice::from_ref(&option)),
        client(MessageType::Request, VM1, &[option.clone(), wrong]),
    ];
    for mut message in messages {
        message.set_giaddr(relay);
        let outcome = send(&mut server(), &message);
        let bytes = outcome.reply.as_ref().unwrap().bytes.clone();
        let (reply, to) = reply(outcome);
        assert_eq!(to, Destination::Routed(SocketAddrV4::new(relay, 67)));
        assert_eq!(reply.giaddr(), relay);
        assert_eq!(reply.opts().get(OptionCode::RelayAgentInformation), Some(&option));
        // RFC 2131 4.3.2: a relay broadcasts a NAK
        assert_eq!(reply.flags().broadcast(), kind(&reply) == MessageType::Nak);
        assert!(ends_with_relay_info(&bytes), "option 82 is not last: {bytes:?}");
    }
}

fn ends_with_relay_info(bytes: &[u8]) -> bool {
    let unpadded = bytes.iter().rposition(|byte| *byte == 255).unwrap();
    bytes[..unpadded].ends_with(b"\x52\x08\x01\x06port 7")
}

#[test]
fn a_relay_of_another_network_gets_nothing() {
    let mut message = client(MessageType::Discover, VM1, &[]);
    message.set_giaddr(ip("192.0.2.1"));
    let outcome = send(&mut server(), &message);
    assert_eq!(silence(&outcome), DropReason::ForeignRelay(mac(VM1), ip("192.0.2.1")));
}

#[test]
fn inform_gives_parameters_and_no_lease() {
    let mut message = client(MessageType::Inform, VM1, &[]);
    message.set_ciaddr(ip("10.1.1.77"));
    let mut server = server();
    let (ack, to) = reply(send(&mut server, &message));
    assert_eq!(kind(&ack), MessageType::Ack);
    assert_eq!((ack.yiaddr(), ack.ciaddr()), (ip("0.0.0.0"), ip("10.1.1.77")));
    assert_eq!(to, Destination::Routed(SocketAddrV4::new(ip("10.1.1.77"), 68)));
    assert!([51, 58, 59].iter().all(|code| !codes(&ack).contains(code)), "{:?}", codes(&ack));
    assert_eq!(server.active_leases(NOW), 0);
}

#[test]
fn inform_cannot_aim_replies_at_strangers() {
    let mut message = client(MessageType::Inform, VM1, &[]);
    message.set_ciaddr(ip("203.0.113.5"));
    let outcome = send(&mut server(), &message);
    assert_eq!(silence(&outcome), DropReason::ForeignAddress(mac(VM1)));
}

#[test]
fn release_ends_the_lease_and_is_not_answered() {
    let mut server = server();
    send(&mut server, &renewing("10.1.1.23"));
    let mut release = client(MessageType::Release, VM1, &[]);
    release.set_ciaddr(ip("10.1.1.23"));
    let outcome = send(&mut server, &release);
    assert_eq!(outcome.reply, None);
    assert_eq!(outcome.event, Event::Released(mac(VM1), ip("10.1.1.23")));
    assert_eq!(server.active_leases(NOW), 0);
}

#[test]
fn a_declined_address_is_offered_again_after_the_hold() {
    let mut server = server();
    let decline = client(
        MessageType::Decline,
        VM1,
        &[
            DhcpOption::ServerIdentifier(ip("10.1.1.1")),
            DhcpOption::RequestedIpAddress(ip("10.1.1.23")),
        ],
    );
    assert_eq!(send(&mut server, &decline).event, Event::Declined(mac(VM1), ip("10.1.1.23")));
    let bytes = client(MessageType::Discover, VM1, &[]).to_vec().unwrap();
    let link = link("guest0");
    let arrival = Arrival { link: &link, source: ip("0.0.0.0"), bytes: &bytes };
    let early = server.handle(NOW + Duration::from_secs(9), arrival);
    assert_eq!(silence(&early), DropReason::Held(mac(VM1)));
    let (offer, _) = reply(server.handle(NOW + DECLINE_HOLD, arrival));
    assert_eq!(offer.yiaddr(), ip("10.1.1.23"));
}

#[test]
fn a_decline_in_its_name_neither_stops_a_guests_renewals_nor_keeps_it_out_for_long() {
    let mut server = server();
    let (link, own) = (link("guest0"), ip("10.1.1.23"));
    let forged = client(MessageType::Decline, VM1, &[DhcpOption::RequestedIpAddress(own)]);
    let forged = forged.to_vec().unwrap();
    let (renewal, discover) = (renewing("10.1.1.23"), client(MessageType::Discover, VM1, &[]));
    let (renewal, discover) = (renewal.to_vec().unwrap(), discover.to_vec().unwrap());
    let mut offers = 0;
    for second in 0..120 {
        let now = NOW + Duration::from_secs(second);
        server.handle(now, Arrival { link: &link, source: ip("0.0.0.0"), bytes: &forged });
        let (ack, _) =
            reply(server.handle(now, Arrival { link: &link, source: own, bytes: &renewal }));
        assert_eq!(kind(&ack), MessageType::Ack);
        let asked = Arrival { link: &link, source: ip("0.0.0.0"), bytes: &discover };
        offers += u32::from(server.handle(now, asked).reply.is_some());
    }
    assert_eq!(offers, 100);
}

#[test]
fn declining_somebody_elses_address_changes_nothing() {
    let mut server = server();
    let decline =
        client(MessageType::Decline, VM1, &[DhcpOption::RequestedIpAddress(ip("10.1.1.24"))]);
    let outcome = send(&mut server, &decline);
    assert_eq!(silence(&outcome), DropReason::ForeignAddress(mac(VM1)));
    reply(send(&mut server, &client(MessageType::Discover, VM2, &[])));
    reply(send(&mut server, &client(MessageType::Discover, VM1, &[])));
}
