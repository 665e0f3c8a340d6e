//! ARP requests (RFC 826) and IPv6 neighbour solicitations (RFC 4861) as whole frames, and the answers. Pure.
//!
//! Guarantees: any bytes may come in; only an answer about the address that was asked for counts.

use std::net::{Ipv4Addr, Ipv6Addr};

use sluice_api::types::MacAddr;

use super::echo::checksum;

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];
/// Ethernet addresses of 6 bytes for IPv4 addresses of 4.
const ARP_KIND: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;
/// Where things are in a frame: behind the Ethernet header, behind the IPv6 header.
const PAYLOAD: usize = 14;
const ICMP_AT: usize = PAYLOAD + 40;
const OPTIONS_AT: usize = ICMP_AT + 24;

/// Who has `target`? With an unspecified `own` address it is a probe (RFC 5227 2.1), which any host answers too.
pub(super) fn arp_request(mac: MacAddr, own: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mac = mac.bytes();
    [
        &[0xff; 6][..],
        &mac,
        &ARP,
        &ARP_KIND,
        &REQUEST,
        &mac,
        &own.octets(),
        &[0; 6],
        &target.octets(),
    ]
    .concat()
}

/// Whose MAC a frame says that `target` has.
pub(super) fn arp_reply(frame: &[u8], target: Ipv4Addr) -> Option<MacAddr> {
    let is = |at: usize, bytes: &[u8]| frame.get(at..at + bytes.len()) == Some(bytes);
    let fits = is(12, &ARP) && is(14, &ARP_KIND) && is(20, &REPLY) && is(28, &target.octets());
    fits.then(|| mac_at(frame, 22))?
}

/// Who has `target`? The answer comes to `own`, or with an unspecified one to everybody.
pub(super) fn solicitation(mac: MacAddr, own: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., x, y, z] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !own.is_unspecified() {
        message.extend([SOURCE_OPTION, 1]);
        message.extend(mac.bytes());
    }
    let length = u16::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let pseudo = [0, 0, 0, ICMPV6];
    let sum = checksum(&[&own.octets(), &group.octets(), &[0, 0], &length, &pseudo, &message]);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    [
        &[0x33, 0x33, 0xff, x, y, z][..],
        &mac.bytes(),
        &IPV6,
        &[0x60, 0, 0, 0],
        &length,
        &[ICMPV6, 255],
        &own.octets(),
        &group.octets(),
        &message,
    ]
    .concat()
}

/// Whose MAC a frame says that `target` has: that of the option, else the sender's.
pub(super) fn advertisement(frame: &[u8], target: Ipv6Addr) -> Option<MacAddr> {
    let is = |at: usize, bytes: &[u8]| frame.get(at..at + bytes.len()) == Some(bytes);
    // a hop limit of 255 proves that it comes from the link itself (RFC 4861 7.1.2)
    let fits = is(12, &IPV6)
        && is(PAYLOAD + 6, &[ICMPV6, 255])
        && is(ICMP_AT, &[ADVERTISEMENT, 0])
        && is(ICMP_AT + 8, &target.octets());
    if !fits {
        return None;
    }
    let option = is(OPTIONS_AT, &[TARGET_OPTION, 1]);
    mac_at(frame, if option { OPTIONS_AT + 2 } else { 6 })
}

fn mac_at(frame: &[u8], at: usize) -> Option<MacAddr> {
    MacAddr::from_bytes(frame.get(at..at + 6)?.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TARGET: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 23);

    fn mac(text: &str) -> MacAddr {
        text.parse().unwrap()
    }

    /// The answer of a host to our request.
    fn answered(request: &[u8], by: MacAddr) -> Vec<u8> {
        let mut reply = request.to_vec();
        reply[21] = 2;
        reply[22..28].copy_from_slice(&by.bytes());
        reply[28..32].copy_from_slice(&TARGET.octets());
        reply
    }

    #[test]
    fn an_answer_about_the_address_counts_and_no_other() {
        let own = mac("02:00:00:00:00:01");
        let request = arp_request(own, Ipv4Addr::new(10, 1, 1, 1), TARGET);
        assert_eq!(request.len(), 42);
        assert_eq!(arp_reply(&request, TARGET), None, "our own request");
        let other = mac("02:00:0a:01:01:17");
        let reply = answered(&request, other);
        assert_eq!(arp_reply(&reply, TARGET), Some(other));
        assert_eq!(arp_reply(&reply, Ipv4Addr::new(10, 1, 1, 24)), None);
        assert_eq!(arp_reply(&reply[..41], TARGET), Some(other), "the target's part is not needed");
        assert_eq!(arp_reply(&reply[..30], TARGET), None);
    }

    #[test]
    fn a_solicitation_goes_to_the_solicited_node_and_sums_up() {
        let target: Ipv6Addr = "2001:db8::abcd:1234".parse().unwrap();
        let own: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let frame = solicitation(mac("02:00:00:00:00:01"), own, target);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0xcd, 0x12, 0x34]);
        assert_eq!(frame.len(), OPTIONS_AT + 8);
        let length = [frame[18], frame[19]];
        let sum = checksum(&[&frame[22..54], &[0, 0], &length, &[0, 0, 0, ICMPV6], &frame[54..]]);
        assert_eq!(sum, 0);
        let probe = solicitation(mac("02:00:00:00:00:01"), Ipv6Addr::UNSPECIFIED, target);
        assert_eq!(probe.len(), OPTIONS_AT, "no source option from nobody (RFC 4861 4.3)");
        let mut answer = frame.clone();
        answer[ICMP_AT] = ADVERTISEMENT;
        assert_eq!(advertisement(&answer, target), Some(mac("02:00:00:00:00:01")), "the sender's");
        answer[OPTIONS_AT] = TARGET_OPTION;
        answer[OPTIONS_AT + 7] = 9;
        assert_eq!(advertisement(&answer, target), Some(mac("02:00:00:00:00:09")));
        answer[PAYLOAD + 7] = 64;
        assert_eq!(advertisement(&answer, target), None, "it came from elsewhere");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = arp_reply(&bytes, TARGET);
            let _ = advertisement(&bytes, Ipv6Addr::LOCALHOST);
        }
    }
}
