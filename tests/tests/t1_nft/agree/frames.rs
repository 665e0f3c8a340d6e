//! Ethernet frames of the packets that the evaluator judges, written and read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_api::types::MacAddr;
use sluice_sys::nft::Protocol;
use sluice_sys::nft::eval::{Header, Packet};

/// What of a packet can be seen on a wire.
pub(crate) type Sight = (IpAddr, IpAddr, Protocol, Header);

pub(crate) fn sight(packet: &Packet) -> Sight {
    let header = match packet.header {
        Header::Ports { source, destination, .. } => {
            Header::Ports { source, destination, opens: false }
        }
        other => other,
    };
    (packet.source, packet.destination, packet.protocol, header)
}

fn sum(bytes: &[u8], start: u32) -> u32 {
    bytes.chunks(2).fold(start, |sum, pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        sum + u32::from(u16::from_be_bytes([pair[0], low]))
    })
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// The part after the IP header; `id` tells ICMP exchanges apart, `answer` makes TCP an answer to an opening.
fn transport(packet: &Packet, id: u16, answer: bool) -> Vec<u8> {
    match packet.header {
        Header::Ports { source, destination, .. } => {
            let mut bytes = Vec::from(source.to_be_bytes());
            bytes.extend(destination.to_be_bytes());
            if packet.protocol == Protocol::TCP {
                let flags = if answer { 0x12 } else { 0x02 };
                bytes.extend([0, 0, 0, 9, 0, 0, 0, if answer { 10 } else { 0 }]);
                bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            } else {
                bytes.extend([0, 16, 0, 0]);
                bytes.extend([7; 8]);
            }
            bytes
        }
        Header::Icmp { kind, code } => {
            let mut bytes = vec![kind, code, 0, 0];
            bytes.extend(id.to_be_bytes());
            bytes.extend([0, 1]);
            bytes.extend([7; 8]);
            bytes
        }
        Header::Other => vec![0; 16],
    }
}

/// Where the check sum of a protocol's header is.
fn check_at(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::TCP => Some(16),
        Protocol::UDP => Some(6),
        Protocol::ICMP | Protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

/// The frame of a packet from one station to another.
pub(crate) fn frame(packet: &Packet, from: MacAddr, to: MacAddr, id: u16, answer: bool) -> Vec<u8> {
    let mut body = transport(packet, id, answer);
    let length = u16::try_from(body.len()).unwrap();
    let protocol = packet.protocol.number();
    let pseudo = match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut bytes = source.octets().to_vec();
            bytes.extend(destination.octets());
            bytes
        }
        (source, destination) => [source, destination]
            .into_iter()
            .flat_map(|ip| match ip {
                IpAddr::V6(ip) => ip.octets().to_vec(),
                IpAddr::V4(_) => Vec::new(),
            })
            .collect(),
    };
    if let Some(at) = check_at(packet.protocol) {
        // ICMP of IPv4 has no pseudo header (RFC 792)
        let start = if packet.protocol == Protocol::ICMP {
            0
        } else {
            sum(&pseudo, u32::from(protocol) + u32::from(length))
        };
        let check = folded(sum(&body, start)).to_be_bytes();
        body[at..at + 2].copy_from_slice(&check);
    }
    let mut frame = to.bytes().to_vec();
    frame.extend(from.bytes());
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([0x08, 0x00]);
            let mut header = vec![0x45, 0];
            header.extend((length + 20).to_be_bytes());
            header.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            let check = folded(sum(&header, 0)).to_be_bytes();
            header[10..12].copy_from_slice(&check);
            frame.extend(header);
        }
        _ => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend(pseudo);
        }
    }
    frame.extend(body);
    frame
}

/// The packet in a frame that `from` sent, if it is one of IP; and what identifies its ICMP exchange.
pub(crate) fn read(frame: &[u8], from: MacAddr) -> Option<(Sight, u16)> {
    if frame.get(6..12)? != from.bytes() {
        return None;
    }
    let (source, destination, protocol, body): (IpAddr, IpAddr, u8, &[u8]) =
        match frame.get(12..14)? {
            [0x08, 0x00] => {
                let ip = |at: usize| {
                    Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?).into())
                };
                (ip(26)?, ip(30)?, *frame.get(23)?, frame.get(34..)?)
            }
            [0x86, 0xdd] => {
                let ip = |at: usize| {
                    Some(Ipv6Addr::from(<[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?).into())
                };
                (ip(22)?, ip(38)?, *frame.get(20)?, frame.get(54..)?)
            }
            _ => return None,
        };
    let protocol = Protocol::new(protocol);
    let number = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let (header, id) = match protocol {
        Protocol::TCP | Protocol::UDP => {
            (Header::Ports { source: number(0)?, destination: number(2)?, opens: false }, 0)
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            (Header::Icmp { kind: *body.first()?, code: *body.get(1)? }, number(4)?)
        }
        _ => (Header::Other, 0),
    };
    Some(((source, destination, protocol, header), id))
}
