//! ICMP and ICMPv6 echo messages and what comes back about them. Pure.
//!
//! Guarantees: any bytes may come in; what is not about a request of ours, by its identifier, is nothing.

use sluice_api::report::ProbeOutcome;

/// Content of a request, so that it has the usual length of 64 bytes with its header.
const PAYLOAD: [u8; 56] = [0x53; 56];
/// Length of an IPv6 header.
const IPV6_HEADER: usize = 40;
/// Protocol numbers of ICMP and ICMPv6.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The messages of one family (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// ICMP.
    V4,
    /// ICMPv6.
    V6,
}

/// A message about one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The request's number.
    pub sequence: u16,
    /// What came of it.
    pub outcome: ProbeOutcome,
    /// Why something cannot be reached.
    pub reason: Option<&'static str>,
}

impl Family {
    const fn request(self) -> u8 {
        if matches!(self, Self::V4) { 8 } else { 128 }
    }

    const fn reply(self) -> u8 {
        if matches!(self, Self::V4) { 0 } else { 129 }
    }

    const fn expired(self) -> u8 {
        if matches!(self, Self::V4) { 11 } else { 3 }
    }

    const fn unreachable(self) -> u8 {
        if matches!(self, Self::V4) { 3 } else { 1 }
    }

    /// An echo request; ICMPv6's checksum is the kernel's.
    pub fn echo(self, id: u16, sequence: u16) -> Vec<u8> {
        let mut message = vec![self.request(), 0, 0, 0];
        message.extend(id.to_be_bytes());
        message.extend(sequence.to_be_bytes());
        message.extend(PAYLOAD);
        if self == Self::V4
            && let Some(place) = message.get_mut(2..4)
        {
            let sum = checksum(&[
                &[self.request(), 0, 0, 0],
                &id.to_be_bytes(),
                &sequence.to_be_bytes(),
                &PAYLOAD,
            ]);
            place.copy_from_slice(&sum.to_be_bytes());
        }
        message
    }

    /// What a received packet says about a request with this id. IPv4 packets begin with their IP header.
    pub fn read(self, packet: &[u8], id: u16) -> Option<Heard> {
        let message = match self {
            Self::V4 => ipv4_payload(packet, ICMP)?,
            Self::V6 => packet,
        };
        let (kind, code) = (*message.first()?, *message.get(1)?);
        let heard = |sequence, outcome, reason| Heard { sequence, outcome, reason };
        if kind == self.reply() {
            return Some(heard(own(message, id)?, ProbeOutcome::Reply, None));
        }
        let cause = message.get(8..)?;
        if kind == self.expired() {
            return Some(heard(self.sent(cause, id)?, ProbeOutcome::Expired, None));
        }
        if kind == self.unreachable() {
            let reason = Some(self.why(code));
            return Some(heard(self.sent(cause, id)?, ProbeOutcome::Unreachable, reason));
        }
        None
    }

    /// Sequence number of our request inside the packet that an error message returns.
    fn sent(self, packet: &[u8], id: u16) -> Option<u16> {
        let message = match self {
            Self::V4 => ipv4_payload(packet, ICMP)?,
            Self::V6 if packet.get(6) == Some(&ICMPV6) => packet.get(IPV6_HEADER..)?,
            Self::V6 => return None,
        };
        (*message.first()? == self.request()).then_some(())?;
        own(message, id)
    }

    fn why(self, code: u8) -> &'static str {
        match (self, code) {
            (Self::V4 | Self::V6, 0) => "no route to the network",
            (Self::V4, 1) | (Self::V6, 3) => "the host does not answer its neighbours",
            (Self::V4, 2) => "the host does not speak the protocol",
            (Self::V4, 4) => "a link on the way is too narrow",
            (Self::V4, 9 | 10 | 13) | (Self::V6, 1 | 5 | 6) => "forbidden by a filter",
            _ => "unreachable",
        }
    }
}

/// Sequence number of an echo message, if its identifier is ours.
fn own(message: &[u8], id: u16) -> Option<u16> {
    let number = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    (number(4)? == id).then_some(())?;
    number(6)
}

/// What an unfragmented IPv4 packet of this protocol carries.
fn ipv4_payload(packet: &[u8], protocol: u8) -> Option<&[u8]> {
    let first = *packet.first()?;
    let fits = first >> 4 == 4 && *packet.get(9)? == protocol;
    fits.then(|| packet.get(usize::from(first & 0x0f) * 4..))?
}

/// The Internet checksum (RFC 1071) over parts, each but the last of an even length.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let [high, low] = [pair.first(), pair.get(1)].map(|byte| byte.copied().unwrap_or(0));
            sum += u32::from(u16::from_be_bytes([high, low]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !u16::try_from(sum & 0xffff).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol];
        packet.resize(20, 0);
        packet.extend(payload);
        packet
    }

    fn ipv6(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, ICMPV6, 64];
        packet.resize(IPV6_HEADER, 0);
        packet.extend(payload);
        packet
    }

    fn error(kind: u8, code: u8, cause: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        message.extend(cause);
        message
    }

    #[test]
    fn a_request_has_the_checksum_of_rfc_1071() {
        let request = Family::V4.echo(0x1234, 7);
        assert_eq!(request.len(), 64);
        assert_eq!(checksum(&[&request]), 0, "a message with its checksum sums up to nothing");
        // RFC 1071 3, whose sum is ddf2
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn replies_and_errors_about_our_requests_are_understood() {
        let sent = Family::V4.echo(9, 3);
        let mut reply = sent.clone();
        reply[0] = 0;
        let read = |message: &[u8]| Family::V4.read(&ipv4(ICMP, message), 9);
        assert_eq!(read(&reply).unwrap().outcome, ProbeOutcome::Reply);
        let expired = read(&error(11, 0, &ipv4(ICMP, &sent))).unwrap();
        assert_eq!((expired.sequence, expired.outcome), (3, ProbeOutcome::Expired));
        let refused = read(&error(3, 13, &ipv4(ICMP, &sent[..8]))).unwrap();
        assert_eq!(refused.reason, Some("forbidden by a filter"));
        let sent = Family::V6.echo(9, 4);
        let expired = Family::V6.read(&error(3, 0, &ipv6(&sent)), 9).unwrap();
        assert_eq!((expired.sequence, expired.outcome), (4, ProbeOutcome::Expired));
    }

    #[test]
    fn what_others_asked_for_is_nothing() {
        let mut reply = Family::V4.echo(9, 3);
        reply[0] = 0;
        assert_eq!(Family::V4.read(&ipv4(ICMP, &reply), 10), None);
        assert_eq!(Family::V4.read(&ipv4(ICMP, &Family::V4.echo(9, 3)), 9), None, "a request");
        assert_eq!(Family::V4.read(&ipv4(17, &reply), 9), None, "another protocol");
        assert_eq!(Family::V4.read(&ipv4(ICMP, &error(11, 0, &ipv4(17, &reply))), 9), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), id: u16) {
            let _ = Family::V4.read(&bytes, id);
            let _ = Family::V6.read(&bytes, id);
            let _ = Family::V4.read(&ipv4(ICMP, &bytes), id);
        }
    }
}
