//! Telling the neighbours that an address is ours now: ARP announcement (RFC 5227 2.3) and unsolicited neighbour
//! advertisement (RFC 4861 7.2.6). Without it a gateway goes on sending to whoever had the address, for up to an hour.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sluice_api::types::{LinkName, MacAddr};

use super::{FrameSocket, Hear, PacketError};

/// How often it is said, and how far apart (ANNOUNCE_NUM and ANNOUNCE_INTERVAL of RFC 5227).
const TIMES: u32 = 2;
const APART: Duration = Duration::from_secs(2);

const BROADCAST: [u8; 6] = [0xff; 6];
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Says on `link`, whose MAC is `mac`, that these addresses are ours: at once, and once more. Needs `CAP_NET_RAW`.
pub async fn announce(
    link: LinkName,
    mac: MacAddr,
    addresses: &BTreeSet<IpAddr>,
) -> Result<(), PacketError> {
    for time in 0..TIMES {
        if time > 0 {
            tokio::time::sleep(APART).await;
        }
        // a socket of its own each time: the device may be another one by then
        let socket = FrameSocket::open(&link, Hear::Arp)?;
        let action = "announce an address";
        for address in addresses {
            let sent = socket.send(&frame(mac, *address));
            sent.map_err(|source| PacketError { device: link.clone(), action, source })?;
        }
        // the kernel waits for every processor before it lets go of such a socket, some milliseconds
        tokio::task::spawn_blocking(move || drop(socket));
    }
    Ok(())
}

fn frame(mac: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac.bytes(), address),
        IpAddr::V6(address) => advertisement(mac.bytes(), address),
    }
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    [to.as_slice(), &from, &kind.to_be_bytes()].concat()
}

/// An ARP request whose two protocol addresses are the same (RFC 826, RFC 5227).
fn arp(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, 0x0806);
    // Ethernet, IPv4, their lengths, request
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An advertisement that overrides what neighbours know; of a router, since that is what announces.
fn advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    const ROUTER_OVERRIDE: u8 = 0xa0;
    let mut body = vec![136, 0, 0, 0, ROUTER_OVERRIDE, 0, 0, 0];
    body.extend(address.octets());
    // target link-layer address, in units of eight bytes
    body.extend([2, 1]);
    body.extend(mac);
    let length = u16::try_from(body.len()).unwrap_or(0);
    let sum = checksum(address, length, &body);
    if let Some(place) = body.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    let mut frame = ethernet(ALL_NODES_MAC, mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    // ICMPv6, hop limit 255
    frame.extend([58, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(body);
    frame
}

/// RFC 4443 2.3: over the pseudo header and the message.
fn checksum(source: Ipv6Addr, length: u16, body: &[u8]) -> u16 {
    let header = [source.octets(), ALL_NODES.octets()].concat();
    let words = header.chunks(2).chain(body.chunks(2)).map(|pair| {
        let byte = |at: usize| u32::from(pair.get(at).copied().unwrap_or(0));
        byte(0) << 8 | byte(1)
    });
    let mut sum = words.sum::<u32>() + u32::from(length) + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn an_arp_announcement_asks_for_our_own_address() {
        let frame = arp(MAC, Ipv4Addr::new(198, 51, 100, 10));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[28..32], frame[38..42]);
        assert_eq!(frame[..6], BROADCAST);
    }

    #[test]
    fn an_advertisement_sums_up_to_nothing() {
        let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let frame = advertisement(MAC, address);
        assert_eq!(frame.len(), 14 + 40 + 32);
        // over a message with its checksum in it, the sum is zero
        assert_eq!(checksum(address, 32, &frame[54..]), 0);
    }
}
