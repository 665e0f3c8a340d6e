//! The core against RFC 2131, with dhcproto as the other party's codec.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod codec;
mod hostile;
mod lending;
mod slices;
mod wire_format;

use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{self, DhcpOption, MessageType, OptionCode};
use dhcproto::{Decodable, Encodable};
use sluice_api::types::{LinkName, MacAddr};

use super::*;

const VM1: &str = "02:00:0a:01:01:17";
const VM2: &str = "02:00:0a:01:01:18";
const DB1: &str = "02:00:0a:01:02:17";
const STRANGER: &str = "02:00:00:00:00:99";
const NOW: Duration = Duration::from_secs(1000);

fn example() -> DhcpSlice {
    slice(&serde_json::from_str(include_str!("../../../../examples/router.json")).unwrap())
}

fn server() -> Server {
    Server::new(&example())
}

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// A client message of `kind` from `client` with the given options.
fn client(kind: MessageType, client: &str, options: &[DhcpOption]) -> v4::Message {
    let zero = Ipv4Addr::UNSPECIFIED;
    let mut message =
        v4::Message::new_with_id(0x0102_0304, zero, zero, zero, zero, &mac(client).bytes());
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    for option in options {
        message.opts_mut().insert(option.clone());
    }
    message
}

fn asked(codes: &[OptionCode]) -> DhcpOption {
    DhcpOption::ParameterRequestList(codes.to_vec())
}

fn send_on(server: &mut Server, name: &str, message: &v4::Message) -> Outcome {
    let bytes = message.to_vec().unwrap();
    let link = link(name);
    server.handle(NOW, Arrival { link: &link, source: message.ciaddr(), bytes: &bytes })
}

fn send(server: &mut Server, message: &v4::Message) -> Outcome {
    send_on(server, "guest0", message)
}

/// The reply as the client reads it, and where it went.
fn reply(outcome: Outcome) -> (v4::Message, Destination) {
    let reply = outcome.reply.unwrap_or_else(|| panic!("no reply: {:?}", outcome.event));
    (v4::Message::from_bytes(&reply.bytes).unwrap(), reply.destination)
}

fn silence(outcome: &Outcome) -> DropReason {
    assert_eq!(outcome.reply, None);
    match outcome.event {
        Event::Dropped(reason) => reason,
        other => panic!("not dropped but {other:?}"),
    }
}

fn codes(message: &v4::Message) -> Vec<u8> {
    message.opts().iter().map(|(code, _)| u8::from(*code)).collect()
}
