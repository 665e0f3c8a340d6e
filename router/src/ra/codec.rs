//! Router solicitations and advertisements as bytes, from the Ethernet header on (RFC 4861 4.1 and 4.2, RFC 2464).

use std::net::Ipv6Addr;

use sluice_api::types::MacAddr;

use super::slice::RaNetwork;

/// All nodes, and all routers, of a link (RFC 4291 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ETHERNET: usize = 14;
const IPV6: usize = 40;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// What no router has forwarded (RFC 4861 6.1.1).
const HOPS: u8 = 255;
/// What guests begin their own packets with.
const GUEST_HOPS: u8 = 64;

/// Options (RFC 4861 4.6).
const SOURCE_MAC: u8 = 1;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
/// On link, and for addresses that guests make (RFC 4861 4.6.2).
const ON_LINK_AND_AUTONOMOUS: u8 = 0xc0;

/// How long the router is one, in seconds: three times the longest silence (RFC 4861 6.2.1).
const ROUTER_LIFETIME: u16 = 1800;
/// How long addresses are valid, and preferred, in seconds. A day outlives a router that is away, as a lease does.
const VALID: u32 = 86_400;
const PREFERRED: u32 = 14_400;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Its address; none while it has none yet.
    pub from: Option<Ipv6Addr>,
    /// The sender of the frame.
    pub mac: MacAddr,
}

/// To whom an advertisement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody on the link.
    All,
    /// Whoever asked.
    One(Ipv6Addr, MacAddr),
}

/// The solicitation in a frame, if it is a valid one (RFC 4861 6.1.1).
pub fn solicitation(frame: &[u8]) -> Option<Solicitation> {
    let (ethernet, rest) = frame.split_at_checked(ETHERNET)?;
    if ethernet.get(12..14)? != [0x86, 0xdd] {
        return None;
    }
    let (header, rest) = rest.split_at_checked(IPV6)?;
    let length = usize::from(u16::from_be_bytes([*header.get(4)?, *header.get(5)?]));
    let message = rest.get(..length)?;
    let version = header.first()? >> 4;
    if version != 6 || *header.get(6)? != ICMPV6 || *header.get(7)? != HOPS || length < 8 {
        return None;
    }
    let (source, destination) = (address(header.get(8..24)?)?, address(header.get(24..40)?)?);
    let valid = message.starts_with(&[SOLICITATION, 0])
        && checksum(source, destination, message) == 0
        && options(message.get(8..)?, source.is_unspecified());
    if !valid || source.is_multicast() || source.is_loopback() {
        return None;
    }
    let mac = MacAddr::from_bytes(ethernet.get(6..12)?.try_into().ok()?)?;
    Some(Solicitation { from: Some(source).filter(|source| !source.is_unspecified()), mac })
}

/// Options that fill the rest, each longer than nothing; without an address of its own nobody has a link-layer address.
fn options(mut rest: &[u8], unspecified: bool) -> bool {
    while let [kind, units, ..] = rest {
        let length = usize::from(*units) * 8;
        if length == 0 || unspecified && *kind == SOURCE_MAC {
            return false;
        }
        match rest.get(length..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    rest.is_empty()
}

fn address(bytes: &[u8]) -> Option<Ipv6Addr> {
    Some(<[u8; 16]>::try_from(bytes).ok()?.into())
}

/// The address that the kernel gives to a link with this Ethernet address (RFC 4291 appendix A).
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.bytes();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// What an advertisement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Router and prefix are there.
    Here,
    /// The router is there, and addresses of the prefix are for nothing new: it has another one (RFC 4862 5.5.4).
    OldPrefix,
    /// The router is none any more.
    Ends,
}

/// An advertisement of `network` as a frame.
pub fn advertisement(network: &RaNetwork, to: To, says: Says) -> Vec<u8> {
    let source = link_local(network.mac);
    let (destination, mac) = match to {
        To::All => (ALL_NODES, [0x33, 0x33, 0, 0, 0, 1]),
        To::One(address, mac) => (address, mac.bytes()),
    };
    let mut message = message(network, says);
    let sum = checksum(source, destination, &message);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    let length = u16::try_from(message.len()).unwrap_or(0);
    let mut frame = Vec::with_capacity(ETHERNET + IPV6 + message.len());
    frame.extend(mac);
    frame.extend(network.mac.bytes());
    frame.extend([0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, HOPS]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(message);
    frame
}

/// The message with a checksum of zero.
fn message(network: &RaNetwork, says: Says) -> Vec<u8> {
    let lifetime = if says == Says::Ends { 0 } else { ROUTER_LIFETIME };
    // a guest keeps an address of an old prefix for two hours at least, whatever it is told (RFC 4862 5.5.3)
    let (valid, preferred) = if says == Says::OldPrefix { (0, 0) } else { (VALID, PREFERRED) };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, GUEST_HOPS, 0];
    message.extend(lifetime.to_be_bytes());
    // reachable time and retransmission timer: the guest's own
    message.extend([0; 8]);
    message.extend([SOURCE_MAC, 1]);
    message.extend(network.mac.bytes());
    message.extend([MTU, 1, 0, 0]);
    message.extend(u32::from(network.mtu.get()).to_be_bytes());
    if let std::net::IpAddr::V6(prefix) = network.prefix.network() {
        message.extend([PREFIX, 4, network.prefix.prefix(), ON_LINK_AND_AUTONOMOUS]);
        message.extend(valid.to_be_bytes());
        message.extend(preferred.to_be_bytes());
        message.extend([0; 4]);
        message.extend(prefix.octets());
    }
    message
}

/// The checksum of an ICMPv6 message (RFC 8200 8.1): that to be written into one that has none, and 0 for one that is right.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let pseudo = source
        .octets()
        .into_iter()
        .chain(destination.octets())
        .chain(length)
        .chain([0, 0, 0, ICMPV6]);
    let bytes: Vec<u8> = pseudo.chain(message.iter().copied()).collect();
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum = words.fold(0_u32, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network() -> RaNetwork {
        RaNetwork {
            link: "guest0".parse().unwrap(),
            mac: "02:00:0a:01:01:01".parse().unwrap(),
            prefix: "2001:db8:1::/64".parse().unwrap(),
            mtu: sluice_api::types::Mtu::ETHERNET,
        }
    }

    /// A solicitation as Linux sends one: from its link-local address, with its Ethernet address as an option.
    fn asked(source: &str, option: bool) -> Vec<u8> {
        let (source, to): (Ipv6Addr, Ipv6Addr) =
            (source.parse().unwrap(), "ff02::2".parse().unwrap());
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        if option {
            message.extend([SOURCE_MAC, 1, 2, 0, 10, 1, 1, 0x17]);
        }
        let sum = checksum(source, to, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 2, 2, 0, 10, 1, 1, 0x17, 0x86, 0xdd];
        frame.extend([0x60, 0, 0, 0, 0, u8::try_from(message.len()).unwrap(), ICMPV6, HOPS]);
        frame.extend(source.octets());
        frame.extend(to.octets());
        frame.extend(message);
        frame
    }

    #[test]
    fn who_asks_is_known() {
        let mac = "02:00:0a:01:01:17".parse().unwrap();
        let from = "fe80::aff:fe01:117";
        let found = solicitation(&asked(from, true)).unwrap();
        assert_eq!(found, Solicitation { from: Some(from.parse().unwrap()), mac });
        assert_eq!(solicitation(&asked("::", false)).unwrap().from, None);
        assert_eq!(link_local(mac).to_string(), from);
    }

    #[test]
    fn what_the_standard_forbids_is_not_heard() {
        let good = asked("fe80::1", true);
        let with = |at: usize, byte: u8| {
            let mut frame = good.clone();
            frame[at] = byte;
            frame
        };
        for (what, frame) in [
            ("a hop limit of less than 255", with(21, 64)),
            ("another protocol", with(20, 17)),
            ("another type", with(54, ADVERTISEMENT)),
            ("a code", with(55, 1)),
            ("a wrong checksum", with(56, good[56] ^ 1)),
            ("an option of no length", with(63, 0)),
            ("an option that is too long", with(63, 9)),
            ("a link-layer address of nobody", asked("::", true)),
            ("from a group", asked("ff02::1", false)),
            ("cut off", good[..good.len() - 1].to_vec()),
            ("IPv4", with(13, 0)),
        ] {
            assert_eq!(solicitation(&frame), None, "{what}");
        }
    }

    #[test]
    fn an_advertisement_is_valid_by_the_standard() {
        let frame = advertisement(&network(), To::All, Says::Here);
        assert_eq!(frame.len(), ETHERNET + IPV6 + 16 + 8 + 8 + 32);
        let source: Ipv6Addr = address(&frame[22..38]).unwrap();
        assert_eq!(source.to_string(), "fe80::aff:fe01:101", "a link-local address");
        assert_eq!(frame[21], HOPS);
        assert_eq!(checksum(source, ALL_NODES, &frame[54..]), 0);
        let ends = advertisement(&network(), To::All, Says::Ends);
        assert_eq!((&frame[60..62], &ends[60..62]), (&[7, 8][..], &[0, 0][..]), "lifetimes");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..90, byte in any::<u8>()) {
            let _any = solicitation(&bytes);
            let mut near = asked("fe80::1", true);
            if let Some(place) = near.get_mut(at) {
                *place = byte;
            }
            let _near = solicitation(&near);
        }
    }
}
