//! Reading what a client sends.
//!
//! Guarantees: never panics; whatever is not a single question of the Internet's query opcode becomes a fault that says
//! how to answer it, or that it gets no answer at all. Records besides OPT are skipped: a query's have no meaning here.

use super::name::Name;
use super::wire::{HEADER, flag, get16, rcode, record_head, rtype, skip_name};

/// Most records that a query may carry; OPT, TSIG and padding are all that is in use.
const MAX_RECORDS: u32 = 8;
/// Most questions that are passed over to see what follows them.
const MAX_QUESTIONS: u16 = 4;
/// Least UDP payload size that EDNS may announce (RFC 6891 6.2.3).
const LEAST_PAYLOAD: u16 = 512;

/// A readable query.
pub(super) struct Query<'a> {
    /// The client's number for it.
    pub id: u16,
    /// The header's flags as sent.
    pub flags: u16,
    /// The question as sent: name in the client's case, type, class.
    pub question: &'a [u8],
    /// The name in lower case.
    pub name: Name,
    pub qtype: u16,
    pub qclass: u16,
    /// EDNS, when the client speaks it.
    pub edns: Option<Edns>,
}

/// What the client's OPT record says (RFC 6891 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    /// Largest UDP message it can take, at least 512.
    pub payload: u16,
    pub version: u8,
    /// It wants DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
}

/// Why a message cannot be answered as a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault<'a> {
    /// Not even that: no header, or a response. An answer to a response could go round for ever.
    Silent,
    /// Answer with a response code.
    Code {
        /// The code.
        rcode: u16,
        /// The question to be given back: the one there is, if it can be read.
        question: Option<&'a [u8]>,
        /// It has an OPT record, so the answer has one too, whatever is wrong with it (RFC 6891 6.1.1).
        edns: bool,
    },
}

impl<'a> Query<'a> {
    /// Reads `message`.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Fault<'a>> {
        let (id, flags) = header(message).ok_or(Fault::Silent)?;
        if flags & flag::QR != 0 {
            return Err(Fault::Silent);
        }
        if flags & flag::OPCODE != 0 {
            // what follows the header is not ours to understand
            let (rcode, question) = (rcode::NOTIMP, None);
            return Err(Fault::Code { rcode, question, edns: has_opt(message) });
        }
        Self::body(message, id, flags).ok_or_else(|| Fault::Code {
            rcode: rcode::FORMERR,
            question: question(message),
            edns: has_opt(message),
        })
    }

    fn body(message: &'a [u8], id: u16, flags: u16) -> Option<Self> {
        if get16(message, 4)? != 1 {
            return None;
        }
        let (name, end) = Name::read(message, HEADER)?;
        let question = message.get(HEADER..end + 4)?;
        let (qtype, qclass) = (get16(message, end)?, get16(message, end + 2)?);
        let edns = options(message, end + 4)?;
        Some(Self { id, flags, question, name, qtype, qclass, edns })
    }

    /// Whether the client wants DNSSEC records.
    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the header has `flag`.
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Number and flags of a message.
pub(super) fn header(message: &[u8]) -> Option<(u16, u16)> {
    (message.len() >= HEADER).then_some(())?;
    Some((get16(message, 0)?, get16(message, 2)?))
}

/// The only question of `message`.
fn question(message: &[u8]) -> Option<&[u8]> {
    (get16(message, 4)? == 1).then_some(())?;
    let (_, end) = Name::read(message, HEADER)?;
    message.get(HEADER..end + 4)
}

/// Whether there is an OPT record, as far as the message can be read.
fn has_opt(message: &[u8]) -> bool {
    let counts = [4, 6, 8, 10].map(|at| get16(message, at).unwrap_or(0));
    let [questions, records @ ..] = counts;
    let mut at = Some(HEADER);
    for _ in 0..questions.min(MAX_QUESTIONS) {
        at = at.and_then(|at| skip_name(message, at)).map(|end| end + 4);
    }
    let records: u32 = records.into_iter().map(u32::from).sum();
    for _ in 0..records.min(MAX_RECORDS) {
        match at.and_then(|at| record_head(message, at)) {
            Some(record) if record.rtype == rtype::OPT => return true,
            record => at = record.map(|record| record.end),
        }
    }
    false
}

/// Walks the records behind the question; `None` when they are malformed, `Some(None)` without OPT.
#[allow(clippy::option_option)] // malformed and absent differ
fn options(message: &[u8], mut at: usize) -> Option<Option<Edns>> {
    let skipped = u32::from(get16(message, 6)?) + u32::from(get16(message, 8)?);
    let count = skipped + u32::from(get16(message, 10)?);
    let mut found = None;
    if count > MAX_RECORDS {
        return None;
    }
    for index in 0..count {
        let record = record_head(message, at)?;
        if record.rtype == rtype::OPT {
            // one, in the additional section, owned by the root (RFC 6891 6.1.1)
            let well_placed = index >= skipped && record.type_at == at + 1 && found.is_none();
            well_placed.then_some(())?;
            let [_, version, high, _] = record.ttl.to_be_bytes();
            let payload = record.class.max(LEAST_PAYLOAD);
            found = Some(Edns { payload, version, dnssec_ok: high & 0x80 != 0 });
        }
        at = record.end;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03Vm1\x02cs\x00\x00\x01\x00\x01";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";

    fn with_opt(opt: &[u8], count: u8) -> Vec<u8> {
        let mut message = [PLAIN, opt].concat();
        message[11] = count;
        message
    }

    #[test]
    fn a_plain_query_is_read() {
        let query = Query::read(PLAIN).unwrap();
        assert_eq!((query.id, query.qtype, query.qclass), (0x1234, 1, 1));
        assert_eq!(query.name.as_bytes(), b"\x03vm1\x02cs\x00");
        assert_eq!(query.question, &PLAIN[12..]);
        assert!(query.has(flag::RD) && query.edns.is_none());
    }

    #[test]
    fn edns_is_read() {
        let message = with_opt(OPT, 1);
        let edns = Query::read(&message).unwrap().edns.unwrap();
        assert_eq!(edns, Edns { payload: 1232, version: 0, dnssec_ok: true });
    }

    #[test]
    fn every_cut_of_a_query_is_a_fault() {
        let message = with_opt(OPT, 1);
        for length in 0..message.len() {
            match Query::read(&message[..length]).err().unwrap() {
                Fault::Silent => assert!(length < HEADER, "cut at {length}"),
                Fault::Code { rcode: code, question, edns } => {
                    assert_eq!((code, edns), (rcode::FORMERR, false), "cut at {length}");
                    assert_eq!(question.is_some(), length >= PLAIN.len(), "cut at {length}");
                }
            }
        }
    }

    fn fault(message: &[u8]) -> (u16, bool, bool) {
        match Query::read(message).err() {
            Some(Fault::Code { rcode, question, edns }) => (rcode, question.is_some(), edns),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn responses_and_other_opcodes_are_faults() {
        let mut message = PLAIN.to_vec();
        message[2] |= 0x80;
        assert_eq!(Query::read(&message).err(), Some(Fault::Silent));
        message[2] = 0x28;
        assert_eq!(fault(&message), (rcode::NOTIMP, false, false));
        message[2] = 1;
        message[5] = 2;
        assert_eq!(fault(&message), (rcode::FORMERR, false, false));
    }

    #[test]
    fn an_answer_to_a_faulty_message_has_options_when_that_has() {
        let owned = [b"\x01x".as_slice(), OPT].concat();
        let two = with_opt(&[OPT, OPT].concat(), 2);
        assert_eq!(fault(&two), (rcode::FORMERR, true, true));
        assert_eq!(fault(&with_opt(&owned, 1)), (rcode::FORMERR, true, true));
        let mut no_question = [&PLAIN[..HEADER], OPT].concat();
        (no_question[5], no_question[11]) = (0, 1);
        assert_eq!(fault(&no_question), (rcode::FORMERR, false, true));
        let mut opcode = with_opt(OPT, 1);
        opcode[2] = 0x79;
        assert_eq!(fault(&opcode), (rcode::NOTIMP, false, true));
    }
}
