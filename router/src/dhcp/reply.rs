//! The encoder of replies: a fixed header, then options until the client's room is used up.
//!
//! Guarantees: a reply is never longer than the client takes; options 53, 54 and 82 always fit, 61 unless it is absurdly
//! long; option 82 is last (RFC 3046 2.1) but for the end option.

use std::net::Ipv4Addr;

use super::index::Encoded;
use super::options;
use super::wire::{COOKIE, HEADER, Message};

/// What a server can send (RFC 2132 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    Offer,
    Ack,
    Nak,
}

impl ReplyKind {
    const fn number(self) -> u8 {
        match self {
            Self::Offer => 2,
            Self::Ack => 5,
            Self::Nak => 6,
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
const LEAST_MESSAGE: usize = 300;

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
pub(crate) struct Head {
    pub(crate) kind: ReplyKind,
    pub(crate) server: Ipv4Addr,
    pub(crate) yiaddr: Ipv4Addr,
    pub(crate) ciaddr: Ipv4Addr,
    /// Largest packet on the link in bytes.
    pub(crate) mtu: u16,
}

impl<'a> Writer<'a> {
    /// A reply to `request` that begins as `head` says.
    pub(crate) fn new(request: &'a Message<'a>, head: &Head) -> Self {
        let mut bytes = Vec::with_capacity(LEAST_MESSAGE + 64);
        bytes.extend([2, 1, 6, 0]);
        bytes.extend(request.xid);
        bytes.extend([0, 0]);
        bytes.extend(request.flags);
        bytes.extend(head.ciaddr.octets());
        bytes.extend(head.yiaddr.octets());
        bytes.extend([0; 4]);
        bytes.extend(request.giaddr.octets());
        bytes.extend(request.chaddr.bytes());
        bytes.resize(HEADER - COOKIE.len(), 0);
        bytes.extend(COOKIE);
        bytes.extend([options::MESSAGE_TYPE, 1, head.kind.number()]);
        bytes.extend([options::SERVER_ID, 4]);
        bytes.extend(head.server.octets());
        let most = MOST_PACKET.min(head.mtu).max(LEAST_PACKET);
        let room = request.max_size.unwrap_or(LEAST_PACKET).clamp(LEAST_PACKET, most);
        let room = usize::from(room) - IP_UDP - 1;
        let relay = length(request.relay_info);
        let fits = |id: &&[u8]| bytes.len() + relay + id.len() + 2 <= room;
        let client_id = request.client_id.filter(fits);
        let limit = room.saturating_sub(relay + length(client_id));
        Self { bytes, limit, request, client_id, omitted: 0 }
    }

    /// Sets the broadcast flag: a relay must broadcast a NAK (RFC 2131 4.3.2).
    pub(crate) fn set_broadcast(&mut self) {
        if let Some(flags) = self.bytes.get_mut(10) {
            *flags |= 0x80;
        }
    }

    /// Adds what the client asked for, or everything if it did not say what it wants.
    pub(crate) fn all_asked(&mut self, options: &[Encoded]) {
        for option in options {
            if self.request.asked.is_none_or(|asked| asked.contains(option.code)) {
                self.raw(&option.bytes);
            }
        }
    }

    /// Adds one option of up to 255 bytes, asked for or not, if there is room.
    pub(crate) fn value(&mut self, code: u8, value: &[u8]) {
        let Ok(length) = u8::try_from(value.len()) else { return };
        if self.fits(value.len() + 2) {
            self.bytes.extend([code, length]);
            self.bytes.extend_from_slice(value);
        }
    }

    /// Adds encoded options if there is room.
    pub(crate) fn raw(&mut self, encoded: &[u8]) {
        if self.fits(encoded.len()) {
            self.bytes.extend_from_slice(encoded);
        }
    }

    fn fits(&mut self, length: usize) -> bool {
        let fits = self.bytes.len() + length <= self.limit;
        self.omitted += u64::from(!fits);
        fits
    }

    /// The finished message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.tail_option(options::CLIENT_ID, self.client_id);
        self.tail_option(options::RELAY_INFO, self.request.relay_info);
        self.bytes.push(options::END);
        if self.bytes.len() < LEAST_MESSAGE {
            self.bytes.resize(LEAST_MESSAGE, options::PAD);
        }
        self.bytes
    }

    fn tail_option(&mut self, code: u8, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        self.bytes.extend([code, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
        self.bytes.extend_from_slice(value);
    }
}

/// Bytes that an echoed option takes.
fn length(echoed: Option<&[u8]>) -> usize {
    echoed.map_or(0, |value| value.len() + 2)
}
