//! A client made of bare packets, for what real clients do not do on demand.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use dhcproto::v4::{self, DhcpOption, MessageType};
use dhcproto::{Decodable, Encodable};
use sluice_lab::netns::Namespace;
use sluice_router::dhcp::frame;
use sluice_sys::packet::{EthernetSender, Frame};
use socket2::{Domain, Protocol, Socket, Type};

use super::bench::{link, mac};

const ETH_P_ALL: u16 = 3;

/// Sends messages and sees every frame on `eth0` of its namespace.
pub(crate) struct RawClient {
    sender: EthernetSender,
    capture: Socket,
    xid: u32,
}

/// A reply as it was on the wire.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Destination of the frame.
    pub(crate) to_mac: [u8; 6],
    /// Source of the packet.
    pub(crate) from: Ipv4Addr,
    /// Destination of the packet.
    pub(crate) to: SocketAddrV4,
    /// The UDP checksum is right, or there is none.
    pub(crate) sum_is_good: bool,
    pub(crate) message: v4::Message,
    /// The message as it came.
    bytes: Vec<u8>,
}

impl Seen {
    /// The bytes of an option, whatever dhcproto makes of its number.
    pub(crate) fn option(&self, wanted: u8) -> Option<Vec<u8>> {
        let mut options = &self.bytes[240..];
        while let [code, length, rest @ ..] = options {
            let (data, after) = rest.split_at(usize::from(*length).min(rest.len()));
            if *code == wanted {
                return Some(data.to_vec());
            }
            options = after;
        }
        None
    }
}

impl RawClient {
    pub(crate) fn new(guest: &Namespace) -> Self {
        let opened = guest.enter(|| {
            let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
            let capture = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
            capture.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            (EthernetSender::open(&link("eth0")).unwrap(), capture)
        });
        let (sender, capture) = opened.unwrap();
        Self { sender, capture, xid: 0x1000 }
    }

    /// A message of `kind` from `client` with an id of its own.
    pub(crate) fn message(
        &mut self,
        kind: MessageType,
        client: &str,
        options: &[DhcpOption],
    ) -> v4::Message {
        self.xid += 1;
        let zero = Ipv4Addr::UNSPECIFIED;
        let mut message =
            v4::Message::new_with_id(self.xid, zero, zero, zero, zero, &mac(client).bytes());
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        for option in options {
            message.opts_mut().insert(option.clone());
        }
        message
    }

    /// Broadcasts `message`, as a client without an address does.
    pub(crate) fn send(&self, message: &v4::Message) {
        let bytes = message.to_vec().unwrap();
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        let from = "0.0.0.0:68".parse().unwrap();
        let packet = frame(from, "255.255.255.255:67".parse().unwrap(), bytes).unwrap();
        let sent = self.sender.send([Frame { to: [0xff; 6], packet: &packet }]);
        assert_eq!(sent.sent, 1, "{sent:?}");
    }

    /// The next reply of the server.
    pub(crate) fn next(&mut self) -> Seen {
        let end = Instant::now() + super::bench::BOUND;
        let mut buffer = [0; 2048];
        while Instant::now() < end {
            let Ok(length) = self.capture.read(&mut buffer) else { continue };
            if let Some(seen) = parse(&buffer[..length]) {
                // clients that read raw frames, all BSDs among them, throw away what has a wrong one
                assert!(seen.sum_is_good, "a wrong UDP checksum: {seen:?}");
                return seen;
            }
        }
        panic!("no reply");
    }

    /// The reply to `message`.
    pub(crate) fn ask(&mut self, message: &v4::Message) -> Seen {
        self.send(message);
        let seen = self.next();
        assert_eq!(seen.message.xid(), message.xid(), "a reply to something else: {seen:?}");
        seen
    }

    /// Proves that `message` is not answered: the server takes messages of a link in order, so if the answer to a
    /// question asked after it comes first, none will come.
    pub(crate) fn ask_in_vain(&mut self, message: &v4::Message, known: &str) {
        self.send(message);
        let marker = self.message(MessageType::Discover, known, &[]);
        self.ask(&marker);
    }
}

/// A server's reply in an Ethernet frame.
fn parse(bytes: &[u8]) -> Option<Seen> {
    let (to_mac, rest) = bytes.split_first_chunk::<6>()?;
    let (_, packet) = rest.split_at_checked(8)?;
    let is_udp = packet.first()? >> 4 == 4 && packet.get(9) == Some(&17);
    let header = usize::from(packet.first()? & 15) * 4;
    let [from_ip, to_ip]: [[u8; 4]; 2] =
        [packet.get(12..16)?.try_into().ok()?, packet.get(16..20)?.try_into().ok()?];
    let (udp, payload) = packet.get(header..)?.split_first_chunk::<8>()?;
    let [from, to] = [[udp[0], udp[1]], [udp[2], udp[3]]].map(u16::from_be_bytes);
    if !is_udp || from != 67 || payload.first() != Some(&2) {
        return None;
    }
    let message = v4::Message::from_bytes(payload).ok()?;
    let sum_is_good = udp[6..] == [0, 0] || sum_of(packet, header) == 0xffff;
    Some(Seen {
        to_mac: *to_mac,
        from: from_ip.into(),
        to: SocketAddrV4::new(to_ip.into(), to),
        sum_is_good,
        message,
        bytes: payload.to_vec(),
    })
}

/// The Internet checksum (RFC 1071) over pseudo header and datagram, its own field included.
fn sum_of(packet: &[u8], header: usize) -> u32 {
    let length = usize::from(u16::from_be_bytes([packet[header + 4], packet[header + 5]]));
    let datagram = &packet[header..header + length];
    let words = packet[12..20].chunks(2).chain(datagram.chunks(2));
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let mut sum = words.map(word).sum::<u32>() + 17 + u32::try_from(length).unwrap();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}
