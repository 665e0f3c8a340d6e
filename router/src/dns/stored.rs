//! An upstream's answer, vetted once and then answered from as often as its time allows.
//!
//! Guarantees: nothing is stored that is not a well-formed response to exactly the question asked; times to live count
//! down (RFC 1035 3.2.1) and are bounded; "no such name" lives as RFC 2308 5 says; OPT is hop-by-hop and dropped, except
//! for an extended error (RFC 8914 3). Record data are passed on untouched, DNSSEC's included.

use super::query::Query;
use super::reply::{Ede, Reply, Transport};
use super::slice::Settings;
use super::wire::{
    CLASS_IN, HEADER, OPTION_EDE, RecordHead, ede, flag, get16, get32, rcode, record_head, rtype,
    set32,
};

/// Seconds that a failure is remembered: RFC 9520 3.2 asks for at least 1.
const FAILURE_SECONDS: u32 = 1;
/// Most bytes of an upstream's extended error that are kept.
const MAX_EDE: usize = 128;

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    flags: u16,
    rcode: u16,
    counts: [u16; 3],
    /// Everything behind the question, OPT excepted.
    sections: Box<[u8]>,
    /// Where in `sections` the times to live are.
    ttls: Box<[u16]>,
    /// Number and words.
    ede: Option<(u16, Box<[u8]>)>,
    /// Seconds it may be answered from; 0 only to those who asked for it.
    pub lifetime: u32,
    max_ttl: u32,
}

/// Why an upstream's message is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not a response to this question: keep waiting for one that is.
    #[error("not a response to the question")]
    Foreign,
    /// The name came back in another case: a forger, or an upstream that does not keep case.
    #[error("the name came back in another case")]
    Case,
    /// It did not fit into a datagram.
    #[error("truncated")]
    Truncated,
    /// It does not follow RFC 1035.
    #[error("malformed")]
    Malformed,
}

/// What was asked.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The number of the question.
    pub id: u16,
    /// Name, type and class as sent.
    pub question: &'a [u8],
}

impl Stored {
    /// Vets `message`, which claims to answer `asked`.
    pub fn vet(message: &[u8], asked: Asked<'_>, settings: &Settings) -> Result<Self, Refusal> {
        let sections_at = HEADER + asked.question.len();
        let flags = matching(message, asked)?;
        if flags & flag::TC != 0 {
            return Err(Refusal::Truncated);
        }
        let walk = Walk::over(message, sections_at).ok_or(Refusal::Malformed)?;
        let sections = message.get(sections_at..walk.end).ok_or(Refusal::Malformed)?;
        let rcode = flags & flag::RCODE | walk.extended_rcode << 4;
        let lifetime = walk.lifetime(rcode, settings);
        Ok(Self {
            flags: flags & flag::AD,
            rcode,
            counts: walk.counts,
            sections: sections.into(),
            ttls: walk.ttls.into(),
            ede: walk.ede,
            lifetime,
            max_ttl: settings.max_ttl,
        })
    }

    /// "We could not find out", with the reason for clients that can read it.
    pub(super) fn failure(code: u16, text: &str) -> Self {
        Self {
            flags: 0,
            rcode: rcode::SERVFAIL,
            counts: [0; 3],
            sections: Box::default(),
            ttls: Box::default(),
            ede: Some((code, text.as_bytes().into())),
            lifetime: FAILURE_SECONDS,
            max_ttl: 0,
        }
    }

    /// "Too much is asked at this moment", which says nothing of the name and so is not kept.
    pub(super) fn overload() -> Self {
        Self { lifetime: 0, ..Self::failure(ede::OTHER, "too many questions at one time") }
    }

    /// Whether it says something about the name; otherwise another upstream may do better.
    pub(super) fn is_conclusive(&self) -> bool {
        matches!(self.rcode, rcode::NOERROR | rcode::NXDOMAIN)
    }

    /// Bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let ede = self.ede.as_ref().map_or(0, |(_, text)| text.len());
        size_of::<Self>() + self.sections.len() + self.ttls.len() * 2 + ede
    }

    /// Answers `message`, the query that it was found out for; the length written to `out`.
    pub(super) fn complete(&self, message: &[u8], transport: Transport, out: &mut [u8]) -> usize {
        Query::read(message).map_or(0, |query| self.answer(&query, transport, 0, out))
    }

    /// Answers `query` from it, `age` seconds after it came; the length written to `out`.
    pub(super) fn answer(
        &self,
        query: &Query<'_>,
        transport: Transport,
        age: u32,
        out: &mut [u8],
    ) -> usize {
        let Some(reply) = Reply::new(query, transport, out) else { return 0 };
        // AD is told to whoever can read it (RFC 6840 5.7 and 5.8)
        let authentic = query.has(flag::AD) || query.dnssec_ok();
        let flags = flag::RA | if authentic { self.flags } else { 0 };
        let ede = self.ede.as_ref().map(|(code, text)| Ede { code: *code, text });
        let mut reply = reply.flags(flags).rcode(self.rcode).ede(ede);
        let sections = reply.sections(self.counts, &self.sections);
        for at in &self.ttls {
            let at = usize::from(*at);
            let ttl = get32(sections, at).unwrap_or(0).min(self.max_ttl);
            set32(sections, at, ttl.saturating_sub(age));
        }
        reply.finish()
    }
}

/// The flags of a response to `asked`.
fn matching(message: &[u8], asked: Asked<'_>) -> Result<u16, Refusal> {
    let word = |at| get16(message, at).ok_or(Refusal::Foreign);
    let (id, flags, questions) = (word(0)?, word(2)?, word(4)?);
    let question = message.get(HEADER..HEADER + asked.question.len()).ok_or(Refusal::Foreign)?;
    let expected = id == asked.id && flags & (flag::QR | flag::OPCODE) == flag::QR;
    if !expected || questions != 1 || !question.eq_ignore_ascii_case(asked.question) {
        return Err(Refusal::Foreign);
    }
    if question == asked.question { Ok(flags) } else { Err(Refusal::Case) }
}

/// What one pass over the records finds.
#[derive(Default)]
struct Walk {
    counts: [u16; 3],
    ttls: Vec<u16>,
    end: usize,
    extended_rcode: u16,
    ede: Option<(u16, Box<[u8]>)>,
    /// Least TTL of answers and authorities.
    least: Option<u32>,
    /// Negative TTL of an SOA in the authorities (RFC 2308 3).
    negative: Option<u32>,
}

impl Walk {
    fn over(message: &[u8], start: usize) -> Option<Self> {
        let mut walk = Self { end: start, ..Self::default() };
        let mut at = start;
        let mut opt_seen = false;
        for section in 0..3 {
            for _ in 0..get16(message, 6 + 2 * section)? {
                let record = record_head(message, at)?;
                at = record.end;
                if record.rtype == rtype::OPT {
                    (section == 2 && !opt_seen).then_some(())?;
                    opt_seen = true;
                    walk.opt(message, &record);
                } else if !opt_seen {
                    // what follows OPT may point behind it, so it goes with it: it was additional anyway
                    walk.record(message, section, &record, start)?;
                }
            }
        }
        Some(walk)
    }

    fn record(
        &mut self,
        message: &[u8],
        section: usize,
        record: &RecordHead,
        start: usize,
    ) -> Option<()> {
        (record.class == CLASS_IN).then_some(())?;
        *self.counts.get_mut(section)? += 1;
        self.ttls.push(u16::try_from(record.type_at + 4 - start).ok()?);
        self.end = record.end;
        // a TTL with the top bit set is read as 0 (RFC 2181 8)
        let ttl = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
        if section < 2 {
            self.least = Some(self.least.map_or(ttl, |least| least.min(ttl)));
        }
        if section == 1 && record.rtype == rtype::SOA {
            // two names of at least a byte each and five numbers (RFC 1035 3.3.13)
            (record.end - record.data_at >= 22).then_some(())?;
            let minimum = get32(message, record.end - 4)?;
            self.negative = Some(ttl.min(minimum));
        }
        Some(())
    }

    fn opt(&mut self, message: &[u8], record: &RecordHead) {
        let [extended, ..] = record.ttl.to_be_bytes();
        self.extended_rcode = u16::from(extended);
        let mut options = message.get(record.data_at..record.end).unwrap_or_default();
        while let (Some(code), Some(length)) = (get16(options, 0), get16(options, 2)) {
            let data = options.get(4..4 + usize::from(length)).unwrap_or_default();
            if code == OPTION_EDE && self.ede.is_none() {
                self.ede = extended_error(data);
            }
            options = options.get(4 + usize::from(length)..).unwrap_or_default();
        }
    }

    /// Seconds that the answer may be kept.
    fn lifetime(&self, rcode: u16, settings: &Settings) -> u32 {
        let answered = self.counts.first().is_some_and(|answers| *answers > 0);
        let (seconds, most) = match (rcode, self.negative) {
            (rcode::NOERROR, None) if answered => (self.least, settings.max_ttl),
            (rcode::NOERROR, Some(negative)) if answered => {
                (self.least.map(|least| least.min(negative)), settings.max_ttl)
            }
            // without an SOA there is no saying for how long (RFC 2308 5)
            (rcode::NOERROR | rcode::NXDOMAIN, negative) => (negative, settings.max_negative_ttl),
            (rcode::SERVFAIL | rcode::REFUSED, _) => return FAILURE_SECONDS,
            _ => (None, 0),
        };
        seconds.map_or(0, |seconds| seconds.max(settings.min_ttl).min(most))
    }
}

fn extended_error(data: &[u8]) -> Option<(u16, Box<[u8]>)> {
    let text = data.get(2..)?;
    let text = text.get(..MAX_EDE).unwrap_or(text);
    Some((get16(data, 0)?, text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x03www\x07example\x04test\x00\x00\x01\x00\x01";
    const A: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x50";
    /// TTL 300, minimum 30.
    const SOA: &[u8] = b"\xc0\x10\x00\x06\x00\x01\x00\x00\x01\x2c\x00\x18\xc0\x10\xc0\x10\
        \x00\x00\x00\x01\x00\x00\x0e\x10\x00\x00\x02\x58\x00\x01\x51\x80\x00\x00\x00\x1e";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";

    fn message(flags: u16, counts: [u8; 3], records: &[&[u8]]) -> Vec<u8> {
        let [answers, authorities, additionals] = counts;
        let header = [0x12, 0x34, 0, 0, 0, 1, 0, answers, 0, authorities, 0, additionals];
        let mut message = [&header[..], QUESTION, &records.concat()].concat();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message
    }

    fn vet(message: &[u8]) -> Result<Stored, Refusal> {
        let asked = Asked { id: 0x1234, question: QUESTION };
        Stored::vet(message, asked, &Settings { max_ttl: 200, ..Settings::default() })
    }

    fn answered(stored: &Stored, age: u32) -> Vec<u8> {
        let query = [b"\x99\x99\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", QUESTION].concat();
        let mut out = [0; 512];
        let length = stored.answer(&Query::read(&query).unwrap(), Transport::Udp, age, &mut out);
        out[..length].to_vec()
    }

    #[test]
    fn lifetimes_follow_ttls_and_soa() {
        for (flags, counts, records, lifetime) in [
            (0x8180, [1, 0, 0], &[A][..], 200),
            (0x8183, [0, 1, 0], &[SOA], 30),
            (0x8180, [0, 1, 0], &[SOA], 30),
            (0x8180, [1, 1, 0], &[A, SOA], 30),
            (0x8183, [0, 0, 0], &[], 0),
            (0x8180, [0, 0, 0], &[], 0),
            (0x8182, [0, 0, 0], &[], 1),
            (0x8180, [1, 0, 1], &[A, OPT], 200),
        ] {
            let stored = vet(&message(flags, counts, records)).unwrap();
            assert_eq!(stored.lifetime, lifetime, "{flags:x} {counts:?}");
        }
    }

    #[test]
    fn times_count_down_and_are_capped() {
        let stored = vet(&message(0x8180, [1, 0, 1], &[A, OPT])).unwrap();
        let ttl_at = HEADER + QUESTION.len() + 6;
        assert_eq!(get32(&answered(&stored, 0), ttl_at), Some(200));
        let later = answered(&stored, 150);
        assert_eq!(get32(&later, ttl_at), Some(50));
        assert_eq!(get16(&later, 10), Some(0), "OPT does not go to those who sent none");
        assert_eq!(get16(&later, 0), Some(0x9999), "the client's own number");
    }

    #[test]
    fn ttls_with_the_top_bit_are_zero() {
        let mut record = A.to_vec();
        record[6] = 0x80;
        assert_eq!(vet(&message(0x8180, [1, 0, 0], &[&record])).unwrap().lifetime, 0);
    }

    #[test]
    fn what_does_not_answer_the_question_is_refused() {
        let good = message(0x8180, [1, 0, 0], &[A]);
        let changed = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            vet(&message).unwrap_err()
        };
        assert_eq!(changed(1, 0), Refusal::Foreign, "another number");
        assert_eq!(changed(2, 0x01), Refusal::Foreign, "a query");
        assert_eq!(changed(13, b'x'), Refusal::Foreign, "another name");
        assert_eq!(changed(13, b'W'), Refusal::Case);
        assert_eq!(changed(2, 0x83), Refusal::Truncated);
        assert_eq!(changed(7, 2), Refusal::Malformed, "a record short");
        assert_eq!(vet(&message(0x8180, [1, 0, 0], &[OPT])).unwrap_err(), Refusal::Malformed);
    }
}
