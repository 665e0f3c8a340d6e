//! Messages to and from resolvers, written and read by hickory-proto.
//!
//! Written whole, as its [`Message`]. Read record by record with its decoder, not as a `Message`: that gives up on the whole
//! answer when the data of one record are not to its taste, and a resolver's answer has to pass with data that nobody here
//! knows. So names, which are where a decoder can be led astray, are hickory's to judge wherever they are (owners, and the
//! data that may hold compressed ones); all other data stay bytes.
//!
//! Guarantees: no bytes panic; every name in what was read ends, within the message; nothing is read past the end.

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use super::cache::Key;
use super::reply::UDP_PAYLOAD;
use super::wire::HEADER;

/// How a question is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// With an OPT record (RFC 6891).
    pub edns: bool,
    /// With letters of random case, which a forger must guess too (draft-vixie-dnsext-dns0x20).
    pub mixed_case: bool,
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Question {
    pub id: u16,
    pub bytes: Vec<u8>,
    /// Where in `bytes` the question ends.
    end: usize,
}

impl Question {
    /// The message that asks for `key`, with a number of its own; `None` for a name that is none.
    pub(super) fn write(key: &Key, manner: Manner) -> Option<Self> {
        let (name, rtype) = key.name_and_type();
        let mut name = Name::read(&mut BinDecoder::new(name)).ok()?;
        if manner.mixed_case {
            name.randomize_label_case();
        }
        let end = HEADER + key.name_and_type().0.len() + 4;
        let id = rand::random();
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        // asks for the resolver's verdict even without DNSSEC records (RFC 6840 5.7)
        message.metadata.authentic_data = true;
        message.metadata.checking_disabled = key.checking_disabled();
        message.add_query(Query::query(name, RecordType::from(rtype)));
        if manner.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD).set_dnssec_ok(key.dnssec_ok());
            message.set_edns(edns);
        }
        let bytes = message.to_vec().ok()?;
        Some(Self { id, bytes, end })
    }

    /// Name, type and class as sent.
    pub(super) fn question(&self) -> &[u8] {
        self.bytes.get(HEADER..self.end).unwrap_or_default()
    }
}

/// What an answer says before its records.
pub(super) struct Front {
    pub header: Header,
    /// The question that came back, if one did.
    pub query: Option<Query>,
    /// Where the records begin.
    pub end: usize,
}

/// Header and question of `message`; `None` when they cannot be read, or there is more than one question.
pub(super) fn front(message: &[u8]) -> Option<Front> {
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder).ok()?;
    let query = match header.counts.queries {
        0 => None,
        1 => Some(Query::read(&mut decoder).ok()?),
        _ => return None,
    };
    Some(Front { header, query, end: decoder.index() })
}

/// One record, as far as it matters: where its parts are.
pub(super) struct Record {
    pub rtype: RecordType,
    pub class: u16,
    pub ttl: u32,
    /// Where the time to live is.
    pub ttl_at: usize,
    /// Where the data are.
    pub data_at: usize,
    /// Where the record ends.
    pub end: usize,
}

/// Reads the record at `at`.
pub(super) fn record(message: &[u8], at: usize) -> Option<Record> {
    let mut decoder = BinDecoder::new(message);
    decoder.read_slice(at).ok()?;
    Name::read(&mut decoder).ok()?;
    let rtype = RecordType::read(&mut decoder).ok()?;
    // for OPT it is a size, so it is read as a number
    let class = decoder.read_u16().ok()?.unverified();
    let ttl_at = decoder.index();
    let ttl = decoder.read_u32().ok()?.unverified();
    let length = usize::from(decoder.read_u16().ok()?.unverified());
    let data_at = decoder.index();
    decoder.read_slice(length).ok()?;
    let end = decoder.index();
    has_good_names(message, rtype, data_at, end).then_some(())?;
    Some(Record { rtype, class, ttl, ttl_at, data_at, end })
}

/// The question of these bytes.
pub(super) fn read_question(bytes: &[u8]) -> Option<Query> {
    Query::read(&mut BinDecoder::new(bytes)).ok()
}

/// Whether the names in the data of a record, of the types in which they may be compressed (RFC 3597 4), end where the data
/// end.
fn has_good_names(message: &[u8], rtype: RecordType, data_at: usize, end: usize) -> bool {
    // bytes before the names, names, bytes behind
    let (before, names, behind) = match rtype {
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::Unknown(39) => (0, 1, 0),
        RecordType::SOA => (0, 2, 20),
        RecordType::MX => (2, 1, 0),
        RecordType::SRV => (6, 1, 0),
        _ => return true,
    };
    let mut decoder = BinDecoder::new(message);
    let read = decoder.read_slice(data_at + before).is_ok()
        && (0..names).all(|_| Name::read(&mut decoder).is_ok());
    read && decoder.index() + behind == end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::query::Query as Asked;
    use crate::dns::wire::flag;

    const ASKED: &[u8] = b"\0\x07\x01\x10\0\x01\0\0\0\0\0\x01\
        \x03www\x07example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0";

    fn key() -> Key {
        Key::of(&Asked::read(ASKED).unwrap(), 0)
    }

    #[test]
    fn a_question_is_what_its_key_says_in_the_manner_asked_for() {
        let with = |edns, mixed_case| Question::write(&key(), Manner { edns, mixed_case }).unwrap();
        let plain = with(false, false);
        let read = Asked::read(&plain.bytes).unwrap();
        assert_eq!((read.id, read.question), (plain.id, &ASKED[12..29]));
        assert_eq!(plain.question(), read.question);
        assert!(read.has(flag::RD) && read.has(flag::AD) && read.has(flag::CD));
        assert!(read.edns.is_none());
        let edns = with(true, false);
        let options = Asked::read(&edns.bytes).unwrap().edns.unwrap();
        assert!(options.dnssec_ok && options.payload == UDP_PAYLOAD);
        let mixed =
            (0..100).map(|_| with(false, true)).filter(|it| it.bytes[12..] != plain.bytes[12..]);
        assert!(mixed.count() > 90, "1,024 ways to write ten letters");
    }

    #[test]
    fn names_that_lead_nowhere_are_no_records() {
        let message = |owner: &[u8], rtype: u8, data: &[u8]| {
            let length = u8::try_from(data.len()).unwrap();
            [ASKED, owner, &[0, rtype, 0, 1, 0, 0, 1, 0, 0, length], data].concat()
        };
        let at = ASKED.len();
        let read =
            |owner: &[u8], rtype, data: &[u8]| record(&message(owner, rtype, data), at).is_some();
        let itself = [0xc0, u8::try_from(at).unwrap()];
        let in_data = [0xc0, u8::try_from(at + 12).unwrap()];
        assert!(read(&[0xc0, 12], 1, &[192, 0, 2, 1]));
        assert!(read(&[0xc0, 12], 5, &[0xc0, 16]));
        assert!(!read(&itself, 1, &[192, 0, 2, 1]), "an owner that points to itself");
        assert!(!read(&[0xc0, 12], 5, &in_data), "a target that points to itself");
        assert!(!read(&[0xc0, 12], 5, &[0xff, 0xff]), "a target behind the end");
        assert!(!read(&[0xc0, 12], 5, &[0xc0, 12, 0]), "something behind the target");
        assert!(!read(&[0xc0, 12], 6, &[0, 0, 1]), "a short SOA");
        assert!(read(&[0xc0, 12], 99, &in_data), "data of other types are nobody's business");
    }
}
