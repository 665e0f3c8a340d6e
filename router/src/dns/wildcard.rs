//! Names that a signed zone makes of a wildcard (RFC 4035 5.3.4, RFC 4592): an answer's signature has fewer labels than its
//! name, and holds for every name below; what makes it an answer to this question is proof that no closer name exists.
//!
//! The validator takes that proof by NSEC3, and asks too much of one by NSEC: that the wildcard itself be not there.

use hickory_net::proto::dnssec::Proof;
use hickory_net::proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_net::proto::op::{Message, ResponseCode};
use hickory_net::proto::rr::{Name, RData, Record, RecordType};

/// Whether all that is answered is signed, some of it by a wildcard, and NSEC records prove for each such name that it was the
/// closest.
pub(super) fn proved(response: &Message) -> bool {
    let secure = |record: &&Record| record.proof == Proof::Secure;
    let signed = response.answers.iter().all(|record| secure(&record));
    let denials: Vec<_> = response.authorities.iter().filter(secure).filter_map(denial).collect();
    let mut made = response.answers.iter().filter_map(expansion).peekable();
    let some = made.peek().is_some();
    let closest = |(nearer, zone): (Name, &Name)| {
        denials.iter().any(|(owner, nsec)| zone.zone_of(owner) && covers(owner, nsec, &nearer))
    };
    response.response_code == ResponseCode::NoError && signed && some && made.all(closest)
}

/// Of a signature by a wildcard: the name that must not exist, which is one label longer than the wildcard's parent, and the
/// zone.
fn expansion(record: &Record) -> Option<(Name, &Name)> {
    let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data else { return None };
    let input = signature.input();
    let nearer = record.name.trim_to(usize::from(input.num_labels) + 1);
    (input.num_labels < record.name.num_labels()).then_some((nearer, &input.signer_name))
}

fn denial(record: &Record) -> Option<(&Name, &NSEC)> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => Some((&record.name, nsec)),
        _ => None,
    }
}

/// Whether the record at `owner` proves that neither `name` nor anything below it exists: it lies between two neighbours in
/// the zone's order, the later of which is not below it, and not in a part that the zone gave away (RFC 6840 4.1).
fn covers(owner: &Name, nsec: &NSEC, name: &Name) -> bool {
    let next = nsec.next_domain_name();
    let types = nsec.type_set();
    let elsewhere = types.contains(RecordType::DNAME)
        || types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
    let last = next <= owner;
    let between = owner < name && if last { next.zone_of(name) } else { name < next };
    between && !name.zone_of(next) && !(elsewhere && owner.zone_of(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(owner: &str, next: &str, types: &[RecordType], name: &str) -> bool {
        let name_of = |text: &str| Name::from_ascii(text).unwrap();
        let nsec = NSEC::new(name_of(next), types.iter().copied());
        covers(&name_of(owner), &nsec, &name_of(name))
    }

    #[test]
    fn a_name_between_two_neighbours_does_not_exist() {
        use RecordType::{A, DNAME, NS, SOA};
        let plain = |owner, next, name| covered(owner, next, &[A], name);
        assert!(plain("*.w.test.", "www.test.", "x.w.test."));
        assert!(plain("a.test.", "c.test.", "b.test."));
        assert!(!plain("b.test.", "c.test.", "b.test."), "it is there");
        assert!(!plain("a.test.", "b.test.", "b.test."), "it is there");
        assert!(!plain("a.test.", "x.b.test.", "b.test."), "something is below it");
        assert!(!plain("a.test.", "c.test.", "d.test."));
        // the last record of a zone leads back to its beginning
        assert!(plain("y.test.", "test.", "z.test."));
        assert!(!plain("y.test.", "test.", "x.test."));
        assert!(!plain("y.test.", "test.", "z.other."), "another zone's");
        // what was given away is not the parent's to deny
        assert!(!covered("a.test.", "c.test.", &[NS], "x.a.test."));
        assert!(!covered("a.test.", "c.test.", &[DNAME], "x.a.test."));
        assert!(covered("a.test.", "c.test.", &[NS, SOA], "x.a.test."));
    }
}
