//! IPv4 and UDP headers around a reply, for frames to clients that have no address yet.
//!
//! The kernel cannot send these as datagrams: it would ask by ARP for an address that nobody holds.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes that [`frame`] adds.
pub const FRAME_OVERHEAD: usize = 28;
const UDP: u8 = 17;

/// The IPv4 packet that carries `payload`; `None` if it would exceed 65,535 bytes.
pub fn frame(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(payload.len() + 8).ok()?;
    let length = udp_length.checked_add(20)?;
    let mut packet = Vec::with_capacity(usize::from(length));
    packet.extend(ip_header(length, *source.ip(), *destination.ip()));
    let pseudo = pseudo_header(udp_length, *source.ip(), *destination.ip());
    let mut udp = [0; 8];
    let fields = [source.port(), destination.port(), udp_length].map(u16::to_be_bytes);
    for (place, byte) in udp.iter_mut().zip(fields.as_flattened()) {
        *place = *byte;
    }
    let sum = checksum(&[&pseudo, &udp, payload]);
    // RFC 768: zero means "no checksum", so a sum of zero is sent as its other form
    let [.., high, low] = &mut udp;
    [*high, *low] = if sum == 0 { [0xff; 2] } else { sum.to_be_bytes() };
    packet.extend(udp);
    packet.extend_from_slice(payload);
    Some(packet)
}

fn ip_header(length: u16, source: Ipv4Addr, destination: Ipv4Addr) -> [u8; 20] {
    let [a, b] = length.to_be_bytes();
    let [s0, s1, s2, s3] = source.octets();
    let [d0, d1, d2, d3] = destination.octets();
    // no options, low delay as dhcpd and dnsmasq send it, don't fragment, so that the id may stay 0 (RFC 6864 4.1)
    let mut header =
        [0x45, 0x10, a, b, 0, 0, 0x40, 0, 64, UDP, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3];
    let [high, low] = checksum(&[&header]).to_be_bytes();
    header[10] = high;
    header[11] = low;
    header
}

fn pseudo_header(udp_length: u16, source: Ipv4Addr, destination: Ipv4Addr) -> [u8; 12] {
    let [a, b] = udp_length.to_be_bytes();
    let [s0, s1, s2, s3] = source.octets();
    let [d0, d1, d2, d3] = destination.octets();
    [s0, s1, s2, s3, d0, d1, d2, d3, 0, UDP, a, b]
}

/// The Internet checksum (RFC 1071). Every part but the last must have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        let (words, rest) = part.as_chunks::<4>();
        sum += words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum::<u64>();
        sum += match *rest {
            [a] => u64::from(a) << 24,
            [a, b] => u64::from(a) << 24 | u64::from(b) << 16,
            [a, b, c] => u64::from(a) << 24 | u64::from(b) << 16 | u64::from(c) << 8,
            _ => 0,
        };
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
