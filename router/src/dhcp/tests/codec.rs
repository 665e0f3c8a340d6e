//! What dhcproto's owning types write, our reading of it finds; what we write, they read.

use proptest::prelude::*;

use super::*;

fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..most)
}

fn option() -> impl Strategy<Value = DhcpOption> {
    prop_oneof![
        address().prop_map(DhcpOption::RequestedIpAddress),
        address().prop_map(DhcpOption::ServerIdentifier),
        any::<u16>().prop_map(DhcpOption::MaxMessageSize),
        bytes(255).prop_map(DhcpOption::ClientIdentifier),
        bytes(60)
            .prop_map(|codes| asked(&codes.into_iter().map(OptionCode::from).collect::<Vec<_>>())),
        "[a-z]{1,63}".prop_map(DhcpOption::Hostname),
        bytes(255).prop_map(DhcpOption::ClassIdentifier),
        any::<u32>().prop_map(DhcpOption::AddressLeaseTime),
    ]
}

fn kind() -> impl Strategy<Value = MessageType> {
    prop::sample::select(vec![
        MessageType::Discover,
        MessageType::Request,
        MessageType::Decline,
        MessageType::Release,
        MessageType::Inform,
    ])
}

prop_compose! {
    fn message()(
        kind in kind(),
        xid in any::<u32>(),
        flags in any::<u16>(),
        addresses in [address(), address(), address(), address()],
        mac in any::<[u8; 6]>().prop_map(|mut mac| { mac[0] = mac[0] & 0xfc | 2; mac }),
        options in prop::collection::vec(option(), 0..8),
    ) -> v4::Message {
        let [ciaddr, yiaddr, siaddr, giaddr] = addresses;
        let mut message = v4::Message::new_with_id(xid, ciaddr, yiaddr, siaddr, giaddr, &mac);
        message.set_flags(v4::Flags::from(flags));
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        for option in options {
            message.opts_mut().insert(option);
        }
        message
    }
}

fn same_set(ours: Option<options::OptionSet>, theirs: Option<&DhcpOption>) -> bool {
    match (ours, theirs) {
        (None, None) => true,
        (Some(set), Some(DhcpOption::ParameterRequestList(list))) => {
            (0..=255).all(|code| set.contains(code) == list.contains(&OptionCode::from(code)))
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_message_reads_the_same_to_both(message in message()) {
        let bytes = message.to_vec().unwrap();
        let ours = decode(&bytes).unwrap();
        let get = |code| message.opts().get(code);
        prop_assert_eq!(ours.xid, message.xid());
        prop_assert_eq!(ours.flags, message.flags());
        prop_assert_eq!((ours.ciaddr, ours.giaddr), (message.ciaddr(), message.giaddr()));
        prop_assert_eq!(&ours.chaddr.bytes()[..], message.chaddr());
        let requested = ours.requested.map(DhcpOption::RequestedIpAddress);
        prop_assert_eq!(requested.as_ref(), get(OptionCode::RequestedIpAddress));
        let server = ours.server_id.map(DhcpOption::ServerIdentifier);
        prop_assert_eq!(server.as_ref(), get(OptionCode::ServerIdentifier));
        let size = ours.max_size.map(DhcpOption::MaxMessageSize);
        prop_assert_eq!(size.as_ref(), get(OptionCode::MaxMessageSize));
        let id = ours.client_id().map(|id| DhcpOption::ClientIdentifier(id.to_vec()));
        prop_assert_eq!(id.as_ref(), get(OptionCode::ClientIdentifier));
        prop_assert!(same_set(ours.asked, get(OptionCode::ParameterRequestList)));
    }

    #[test]
    fn every_reply_is_one_that_the_client_can_read(message in message(), known in any::<bool>()) {
        let mut message = message;
        if known {
            message.set_chaddr(&mac(VM1).bytes());
        }
        let outcome = send(&mut server(), &message);
        prop_assert!(known || outcome.reply.is_none());
        if let Some(sent) = outcome.reply {
            let reply = v4::Message::from_bytes(&sent.bytes).unwrap();
            prop_assert_eq!(reply.opcode(), v4::Opcode::BootReply);
            prop_assert_eq!((reply.xid(), reply.chaddr()), (message.xid(), message.chaddr()));
            prop_assert!(sent.bytes.len() >= 300 && sent.bytes.len() <= 1472);
            prop_assert_eq!(reply.yiaddr(), match reply.opts().msg_type().unwrap() {
                MessageType::Offer => ip("10.1.1.23"),
                MessageType::Ack if !outcome_is_inform(outcome.event) => ip("10.1.1.23"),
                _ => ip("0.0.0.0"),
            });
            // nothing that a client writes in a message can aim the reply outside of its own network
            if let Destination::Routed(to) = sent.destination {
                prop_assert!(ip("10.1.1.0").octets()[..3] == to.ip().octets()[..3], "{}", to);
            }
        }
    }
}

fn outcome_is_inform(event: Event) -> bool {
    matches!(event, Event::Informed(..))
}
