//! The encoder of replies: dhcproto's header, then options until the client's room is used up.
//!
//! Guarantees: a reply is never longer than the client takes; options 53, 54 and 82 always fit, 61 unless it is absurdly
//! long; option 82 is last (RFC 3046 2.1) but for the end option. dhcproto writes every field and option; ours are the order
//! and the room, which its map of options knows nothing of.

use std::net::Ipv4Addr;

use dhcproto::v4::{self, DhcpOption, MessageType, Opcode, OptionCode, encode_long_opt_bytes};
use dhcproto::{Encodable as _, Encoder};

use super::options::Encoded;
use super::wire::Message;

/// What a server can send (RFC 2132 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    Offer,
    Ack,
    Nak,
}

impl ReplyKind {
    const fn message_type(self) -> MessageType {
        match self {
            Self::Offer => MessageType::Offer,
            Self::Ack => MessageType::Ack,
            Self::Nak => MessageType::Nak,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Ack => "ack",
            Self::Nak => "nak",
        }
    }
}

/// IP and UDP headers, which option 57 counts in.
const IP_UDP: usize = 28;
/// The least IP packet that every client takes (RFC 2131 2).
const LEAST_PACKET: u16 = 576;
/// More is never sent: an Ethernet frame's worth, whatever a client with a larger MTU asks.
const MOST_PACKET: u16 = 1500;
/// BOOTP's own size; relays and clients of its age drop what is shorter (RFC 1542 2.1).
const LEAST_MESSAGE: usize = v4::MIN_PACKET_SIZE;
const PAD: u8 = 0;

/// A reply under construction.
pub(crate) struct Writer<'a> {
    bytes: Vec<u8>,
    /// How long the message may get before its tail (options 61 and 82 and the end) is added.
    limit: usize,
    request: &'a Message<'a>,
    client_id: Option<&'a [u8]>,
    pub(crate) omitted: u64,
}

/// The fixed values of a reply.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) kind: ReplyKind,
    pub(crate) server: Ipv4Addr,
    pub(crate) yiaddr: Ipv4Addr,
    pub(crate) ciaddr: Ipv4Addr,
    /// Where a client that boots from the network goes next: a server and a file there.
    pub(crate) boot: Boot<'a>,
    /// Largest packet on the link in bytes.
    pub(crate) mtu: u16,
    /// The client is told to broadcast further (RFC 2131 4.3.2).
    pub(crate) broadcast: bool,
}

/// The header's own fields for booting from the network (RFC 2131 2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boot<'a> {
    /// `siaddr`; 0.0.0.0 is none.
    pub(crate) server: Ipv4Addr,
    /// `file`, at most 127 bytes; empty is none.
    pub(crate) file: &'a [u8],
}

impl Default for Boot<'_> {
    fn default() -> Self {
        Self { server: Ipv4Addr::UNSPECIFIED, file: &[] }
    }
}

impl<'a> Writer<'a> {
    /// A reply to `request` that begins as `head` says.
    pub(crate) fn new(request: &'a Message<'a>, head: &Head<'_>) -> Self {
        let mut bytes = header(request, head);
        append(&mut bytes, &DhcpOption::MessageType(head.kind.message_type()));
        append(&mut bytes, &DhcpOption::ServerIdentifier(head.server));
        let most = MOST_PACKET.min(head.mtu).max(LEAST_PACKET);
        let room = request.max_size.unwrap_or(LEAST_PACKET).clamp(LEAST_PACKET, most);
        let room = usize::from(room) - IP_UDP - 1;
        let relay = length(request.relay_info());
        let fits = |id: &&[u8]| bytes.len() + relay + length(Some(id)) <= room;
        let client_id = request.client_id().filter(fits);
        let limit = room.saturating_sub(relay + length(client_id));
        Self { bytes, limit, request, client_id, omitted: 0 }
    }

    /// Adds what the client asked for, or everything if it did not say what it wants.
    pub(crate) fn all_asked<'o>(&mut self, options: impl IntoIterator<Item = &'o Encoded>) {
        for option in options {
            if self.request.asked.is_none_or(|asked| asked.contains(option.code)) {
                self.add(option);
            }
        }
    }

    /// Adds an option, asked for or not, if there is room.
    pub(crate) fn add(&mut self, option: &Encoded) {
        if self.bytes.len() + option.bytes.len() <= self.limit {
            self.bytes.extend_from_slice(&option.bytes);
        } else {
            self.omitted += 1;
        }
    }

    /// The finished message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        echo(&mut self.bytes, OptionCode::ClientIdentifier, self.client_id);
        echo(&mut self.bytes, OptionCode::RelayAgentInformation, self.request.relay_info());
        append(&mut self.bytes, &DhcpOption::End);
        if self.bytes.len() < LEAST_MESSAGE {
            self.bytes.resize(LEAST_MESSAGE, PAD);
        }
        self.bytes
    }
}

/// The fixed part and the magic cookie.
fn header(request: &Message<'_>, head: &Head<'_>) -> Vec<u8> {
    let (yiaddr, siaddr) = (head.yiaddr, head.boot.server);
    let mac = request.chaddr.bytes();
    let mut message =
        v4::Message::new_with_id(request.xid, head.ciaddr, yiaddr, siaddr, request.giaddr, &mac);
    let flags = if head.broadcast { request.flags.set_broadcast() } else { request.flags };
    message.set_opcode(Opcode::BootReply).set_flags(flags);
    if !head.boot.file.is_empty() && head.boot.file.len() < 128 {
        message.set_fname(head.boot.file);
    }
    let mut bytes = Vec::with_capacity(LEAST_MESSAGE + 64);
    // the fields have fixed lengths, which were kept to above
    let _fits = message.encode(&mut Encoder::new(&mut bytes));
    bytes
}

/// Adds an option of a few bytes.
fn append(bytes: &mut Vec<u8>, option: &DhcpOption) {
    let mut encoded = Vec::with_capacity(8);
    // a short value always fits its length
    let _fits = option.encode(&mut Encoder::new(&mut encoded));
    bytes.extend_from_slice(&encoded);
}

/// Gives back what the client or its relay sent, byte for byte.
fn echo(bytes: &mut Vec<u8>, code: OptionCode, value: Option<&[u8]>) {
    let Some(value) = value else { return };
    let mut encoded = Vec::with_capacity(length(Some(value)));
    let _fits = encode_long_opt_bytes(code, value, &mut Encoder::new(&mut encoded));
    bytes.extend_from_slice(&encoded);
}

/// Bytes that an echoed option takes: a code and a length in front of every 255 of its own.
fn length(echoed: Option<&[u8]>) -> usize {
    echoed.map_or(0, |value| value.len() + 2 * value.len().div_ceil(255))
}
