//! What IPCP negotiates (RFC 1332, RFC 1877): one address for each end, and name servers for the peer.

use std::net::Ipv4Addr;

use super::automaton::{Judgement, Protocol};
use super::packet::{Choice, write_choices};
use super::protocol;

/// Options of RFC 1332 3 and RFC 1877 1.
mod option {
    pub(super) const ADDRESS: u8 = 3;
    pub(super) const PRIMARY_DNS: u8 = 129;
    pub(super) const SECONDARY_DNS: u8 = 131;
}

/// Both ends' addresses.
#[derive(Debug)]
pub(super) struct Ipcp {
    pub(super) local: Ipv4Addr,
    pub(super) remote: Ipv4Addr,
    dns: [Option<Ipv4Addr>; 2],
    /// The peer knows what address is; one that does not may still learn ours.
    says_address: bool,
}

impl Ipcp {
    pub(super) fn new(local: Ipv4Addr, remote: Ipv4Addr, dns: &[Ipv4Addr]) -> Self {
        let mut servers = dns.iter().copied();
        Self { local, remote, dns: [servers.next(), servers.next()], says_address: true }
    }

    /// What the peer is to have for an option; `None` when it gets nothing.
    fn value(&self, kind: u8) -> Option<Ipv4Addr> {
        let [primary, secondary] = self.dns;
        match kind {
            option::ADDRESS => Some(self.remote),
            option::PRIMARY_DNS => primary,
            option::SECONDARY_DNS => secondary,
            _ => None,
        }
    }
}

impl Protocol for Ipcp {
    const NUMBER: u16 = protocol::IPCP;

    fn request(&self) -> Vec<u8> {
        let address = self.local.octets();
        let choice = Choice { kind: option::ADDRESS, value: &address };
        write_choices(self.says_address.then_some(choice))
    }

    fn judge(&mut self, asked: &[Choice<'_>]) -> Judgement {
        let (mut unknown, mut better) = (Vec::new(), Vec::new());
        for choice in asked {
            match self.value(choice.kind).filter(|_| choice.value.len() == 4) {
                None => choice.write(&mut unknown),
                Some(value) if choice.value != value.octets() => {
                    Choice { kind: choice.kind, value: &value.octets() }.write(&mut better);
                }
                Some(_) => (),
            }
        }
        // it has to have an address: one that does not ask is told to (RFC 1661 5.3)
        if !asked.iter().any(|choice| choice.kind == option::ADDRESS) {
            Choice { kind: option::ADDRESS, value: &self.remote.octets() }.write(&mut better);
        }
        match (unknown.is_empty(), better.is_empty()) {
            (false, _) => Judgement::Reject(unknown),
            (true, false) => Judgement::Nak(better),
            (true, true) => Judgement::Ack,
        }
    }

    /// Our address is what it is.
    fn naked(&mut self, wanted: &[Choice<'_>]) -> bool {
        wanted.iter().all(|choice| choice.kind != option::ADDRESS)
    }

    fn rejected(&mut self, unknown: &[Choice<'_>]) -> bool {
        if unknown.iter().any(|choice| choice.kind == option::ADDRESS) {
            self.says_address = false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::choices;
    use super::*;

    /// The options byte by byte (RFC 1332 3.1 to 3.3, RFC 1877 1.1 and 1.3): addresses and name servers are given for zeros, what
    /// a peer makes up is corrected, and compression and the old pair of addresses are not there.
    #[test]
    fn rfc_1332_3() {
        let [ours, theirs, name] = [[10, 1, 2, 1], [10, 1, 2, 2], [10, 1, 1, 1]];
        let mut ipcp = Ipcp::new(ours.into(), theirs.into(), &[name.into()]);
        assert_eq!(ipcp.request(), [3, 6, 10, 1, 2, 1]);
        let mut judge = |bytes: &[u8]| ipcp.judge(&choices(bytes).unwrap());
        let given = vec![3, 6, 10, 1, 2, 2, 129, 6, 10, 1, 1, 1];
        assert_eq!(judge(&[3, 6, 0, 0, 0, 0, 129, 6, 0, 0, 0, 0]), Judgement::Nak(given.clone()));
        assert_eq!(judge(&[3, 6, 10, 9, 9, 9]), Judgement::Nak(vec![3, 6, 10, 1, 2, 2]));
        assert_eq!(judge(&given), Judgement::Ack);
        for unknown in [
            &[2, 6, 0, 0x2d, 15, 1][..],
            &[1, 10, 10, 1, 2, 2, 10, 1, 2, 1],
            &[131, 6, 0, 0, 0, 0],
            &[3, 4, 10, 1],
        ] {
            let asked = [unknown, &given].concat();
            assert_eq!(judge(&asked), Judgement::Reject(unknown.to_vec()));
        }
    }
}
