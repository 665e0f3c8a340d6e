//! Reading what a client sends.
//!
//! Guarantees: never panics; whatever is not a single question of the Internet's query opcode becomes a fault that says
//! how to answer it, or that it gets no answer at all. Records besides OPT are skipped: a query's have no meaning here.

use super::name::Name;
use super::wire::{HEADER, flag, get16, rcode, record_head, rtype};

/// Most records that a query may carry; OPT, TSIG and padding are all that is in use.
const MAX_RECORDS: u32 = 8;
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
pub(super) enum Fault {
    /// Not even that: no header, or a response. An answer to a response could go round for ever.
    Silent,
    /// Answer with this response code and the header alone.
    Code(u16),
}

impl<'a> Query<'a> {
    /// Reads `message`.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Fault> {
        let (id, flags) = header(message).ok_or(Fault::Silent)?;
        if flags & flag::QR != 0 {
            return Err(Fault::Silent);
        }
        if flags & flag::OPCODE != 0 {
            return Err(Fault::Code(rcode::NOTIMP));
        }
        Self::body(message, id, flags).ok_or(Fault::Code(rcode::FORMERR))
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
            let fault = Query::read(&message[..length]).err().unwrap();
            let expected =
                if length < HEADER { Fault::Silent } else { Fault::Code(rcode::FORMERR) };
            assert_eq!(fault, expected, "cut at {length}");
        }
    }

    #[test]
    fn two_options_responses_and_other_opcodes_are_faults() {
        assert!(Query::read(&with_opt(&[OPT, OPT].concat(), 2)).is_err());
        let mut message = PLAIN.to_vec();
        message[2] |= 0x80;
        assert_eq!(Query::read(&message).err(), Some(Fault::Silent));
        message[2] = 0x28;
        assert_eq!(Query::read(&message).err(), Some(Fault::Code(rcode::NOTIMP)));
        message[2] = 1;
        message[5] = 2;
        assert_eq!(Query::read(&message).err(), Some(Fault::Code(rcode::FORMERR)));
    }
}
