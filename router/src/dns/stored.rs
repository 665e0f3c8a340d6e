//! An upstream's answer, vetted once and then answered from as often as its time allows.
//!
//! Guarantees: nothing is stored that is not a well-formed response to exactly the question asked; times to live count
//! down (RFC 1035 3.2.1) and are bounded; no record is used beyond its own time, an alias to nowhere included; "no such
//! name" lives as RFC 2308 5 says; OPT is hop-by-hop and dropped, except for an extended error (RFC 8914 3). Record data are
//! passed on untouched, DNSSEC's included.

use hickory_proto::op::{MessageType, OpCode};
use hickory_proto::rr::RecordType;

use super::attempt::blames_edns;
use super::message::{Record, front, read_question, record};
use super::query::Query;
use super::reply::{Ede, Reply, Transport};
use super::slice::Settings;
use super::wire::{CLASS_IN, HEADER, OPTION_EDE, ede, flag, get16, get32, rcode, set32};

/// Seconds that a failure is remembered: RFC 9520 3.2 asks for at least 1.
const FAILURE_SECONDS: u32 = 1;
/// Most bytes of an upstream's extended error that are kept.
const MAX_EDE: usize = 128;

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    flags: u16,
    rcode: u16,
    counts: [u16; 3],
    /// Everything behind the question, OPT excepted.
    sections: Box<[u8]>,
    /// Where in `sections` the times to live are.
    ttls: Box<[u16]>,
    /// Where in `sections` each record ends.
    ends: Box<[u16]>,
    /// Number and words.
    ede: Option<(u16, Box<[u8]>)>,
    /// It is not whole, and the rest is not to be had.
    pub(super) truncated: bool,
    /// Seconds it may be answered from; 0 only to those who asked for it.
    pub lifetime: u32,
}

/// What an upstream's message is good for.
#[derive(Debug)]
pub enum Vetted {
    /// An answer.
    Whole(Stored),
    /// The beginning of one, as many whole records as came.
    Truncated(Stored),
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
    /// An error of this code, without the question.
    #[error("an error {0} without a question")]
    NoQuestion(u16),
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
    /// Its letters must come back in the case that they were sent in.
    pub exact_case: bool,
}

impl Stored {
    /// Vets `message`, which claims to answer `asked`.
    pub fn vet(message: &[u8], asked: Asked<'_>, settings: &Settings) -> Result<Vetted, Refusal> {
        let start = matching(message, asked)?;
        let flags = get16(message, 2).ok_or(Refusal::Foreign)?;
        let truncated = flags & flag::TC != 0;
        let mut walk = Walk::new(start);
        let whole = walk.over(message).is_some();
        // what does not fit may be cut anywhere
        if !whole && !truncated {
            return Err(Refusal::Malformed);
        }
        let rcode = flags & flag::RCODE | walk.extended_rcode << 4;
        let lifetime = if truncated { FAILURE_SECONDS } else { walk.lifetime(rcode, settings) };
        let mut sections: Box<[u8]> =
            message.get(start..walk.end).ok_or(Refusal::Malformed)?.into();
        for at in &walk.ttls {
            let at = usize::from(*at);
            let ttl = seconds(get32(&sections, at).unwrap_or(0)).min(settings.max_ttl);
            set32(&mut sections, at, ttl);
        }
        let stored = Self {
            flags: flags & flag::AD,
            rcode,
            counts: walk.counts,
            sections,
            ttls: walk.ttls.into(),
            ends: walk.ends.into(),
            ede: walk.ede,
            truncated,
            lifetime,
        };
        Ok(if truncated { Vetted::Truncated(stored) } else { Vetted::Whole(stored) })
    }

    /// "We could not find out", with the reason for clients that can read it.
    pub(super) fn failure(code: u16, text: &str) -> Self {
        Self {
            rcode: rcode::SERVFAIL,
            ede: Some((code, text.as_bytes().into())),
            lifetime: FAILURE_SECONDS,
            ..Self::default()
        }
    }

    /// "Too much is asked at this moment", which says nothing of the name and so is not kept.
    pub(super) fn overload() -> Self {
        Self { lifetime: 0, ..Self::failure(ede::OTHER, "too many questions at one time") }
    }

    /// An answer with this code and nothing else.
    #[cfg(test)]
    pub(super) fn with_code(rcode: u16) -> Self {
        Self { rcode, ..Self::default() }
    }

    /// Its response code.
    #[cfg(test)]
    pub(super) fn code(&self) -> u16 {
        self.rcode
    }

    /// Whether it says something about the name; otherwise another upstream may do better.
    pub(super) fn is_conclusive(&self) -> bool {
        matches!(self.rcode, rcode::NOERROR | rcode::NXDOMAIN)
    }

    /// Whether it says that the question's EDNS could not be read.
    pub(super) fn blames_edns(&self) -> bool {
        blames_edns(self.rcode)
    }

    /// As it is told to clients: what a resolver found wrong with our question is not their affair.
    pub(super) fn for_clients(self) -> Self {
        if self.blames_edns() || self.rcode > flag::RCODE {
            return Self::failure(ede::OTHER, "the resolver did not take the question");
        }
        self
    }

    /// Bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let ede = self.ede.as_ref().map_or(0, |(_, text)| text.len());
        size_of::<Self>() + self.sections.len() + self.ttls.len() * 4 + ede
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
        if self.truncated && transport == Transport::Tcp {
            // there is no further way to a whole one, and TCP is where whole ones are
            let reason = "the resolver gives no whole answer";
            return Self::failure(ede::NETWORK_ERROR, reason).answer(query, transport, age, out);
        }
        let Some(reply) = Reply::new(query, transport, out) else { return 0 };
        // AD is told to whoever can read it (RFC 6840 5.7 and 5.8)
        let authentic = query.has(flag::AD) || query.dnssec_ok();
        let flags = flag::RA | if authentic { self.flags } else { 0 };
        let flags = flags | if self.truncated { flag::TC } else { 0 };
        let ede = self.ede.as_ref().map(|(code, text)| Ede { code: *code, text });
        let mut reply = reply.flags(flags).rcode(self.rcode).ede(ede);
        let sections = reply.sections(self.counts, &self.sections, &self.ends);
        for at in &self.ttls {
            let at = usize::from(*at);
            let ttl = get32(sections, at).unwrap_or(0);
            set32(sections, at, ttl.saturating_sub(age));
        }
        reply.finish()
    }
}

/// Where the records of a response to `asked` begin.
fn matching(message: &[u8], asked: Asked<'_>) -> Result<usize, Refusal> {
    let front = front(message).ok_or(Refusal::Foreign)?;
    let metadata = front.header.metadata;
    let is_response =
        metadata.message_type == MessageType::Response && metadata.op_code == OpCode::Query;
    if metadata.id != asked.id || !is_response {
        return Err(Refusal::Foreign);
    }
    let Some(query) = front.query else {
        // it may well be for us, but nobody can tell what it says of which name
        let code = u16::from(metadata.response_code.low());
        return Err(if code == rcode::NOERROR {
            Refusal::Foreign
        } else {
            Refusal::NoQuestion(code)
        });
    };
    let sent = read_question(asked.question).ok_or(Refusal::Foreign)?;
    // the same length as sent: what follows may point at names by their place
    if query != sent || front.end != HEADER + asked.question.len() {
        return Err(Refusal::Foreign);
    }
    let exact = query.name().eq_case(sent.name());
    if exact || !asked.exact_case { Ok(front.end) } else { Err(Refusal::Case) }
}

/// A time to live as it counts: one with the top bit set is 0 (RFC 2181 8).
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// What one pass over the records finds.
#[derive(Default)]
struct Walk {
    start: usize,
    counts: [u16; 3],
    ttls: Vec<u16>,
    ends: Vec<u16>,
    end: usize,
    extended_rcode: u16,
    ede: Option<(u16, Box<[u8]>)>,
    opt_seen: bool,
    /// Least TTL of answers and authorities.
    least: Option<u32>,
    /// Least TTL of the answers.
    least_answer: Option<u32>,
    /// Negative TTL of an SOA in the authorities (RFC 2308 3).
    negative: Option<u32>,
}

fn lesser(least: Option<u32>, ttl: u32) -> Option<u32> {
    Some(least.map_or(ttl, |least| least.min(ttl)))
}

impl Walk {
    fn new(start: usize) -> Self {
        Self { start, end: start, ..Self::default() }
    }

    /// Walks all sections; `None` at what is malformed, with what came before it taken.
    fn over(&mut self, message: &[u8]) -> Option<()> {
        let mut at = self.start;
        for section in 0..3 {
            for _ in 0..get16(message, 6 + 2 * section)? {
                let record = record(message, at)?;
                at = record.end;
                if record.rtype == RecordType::OPT {
                    (section == 2 && !self.opt_seen).then_some(())?;
                    self.opt_seen = true;
                    self.opt(message, &record);
                } else if !self.opt_seen {
                    // what follows OPT may point behind it, so it goes with it: it was additional anyway
                    self.record(message, section, &record)?;
                }
            }
        }
        Some(())
    }

    fn record(&mut self, message: &[u8], section: usize, record: &Record) -> Option<()> {
        (record.class == CLASS_IN).then_some(())?;
        let ttl_at = u16::try_from(record.ttl_at - self.start).ok()?;
        let end = u16::try_from(record.end - self.start).ok()?;
        *self.counts.get_mut(section)? += 1;
        self.ttls.push(ttl_at);
        self.ends.push(end);
        self.end = record.end;
        let ttl = seconds(record.ttl);
        if section == 0 {
            self.least_answer = lesser(self.least_answer, ttl);
        }
        if section < 2 {
            self.least = lesser(self.least, ttl);
        }
        if section == 1 && record.rtype == RecordType::SOA {
            let minimum = get32(message, record.end - 4)?;
            self.negative = Some(ttl.min(minimum));
        }
        Some(())
    }

    fn opt(&mut self, message: &[u8], record: &Record) {
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
        let answered = self.least_answer.is_some();
        let (seconds, most) = match (rcode, self.negative) {
            (rcode::NOERROR, None) if answered => (self.least, settings.max_ttl),
            (rcode::NOERROR, Some(negative)) if answered => {
                (self.least.map(|least| least.min(negative)), settings.max_ttl)
            }
            // without an SOA there is no saying for how long (RFC 2308 5); the last name's time is the SOA's, that of the
            // aliases on the way to it is their own
            (rcode::NOERROR | rcode::NXDOMAIN, negative) => {
                let alias = self.least_answer.unwrap_or(u32::MAX);
                (negative.map(|negative| negative.min(alias)), settings.max_negative_ttl)
            }
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

    fn vetted(message: &[u8], exact_case: bool) -> Result<Vetted, Refusal> {
        let asked = Asked { id: 0x1234, question: QUESTION, exact_case };
        Stored::vet(message, asked, &Settings { max_ttl: 200, ..Settings::default() })
    }

    fn vet(message: &[u8]) -> Result<Stored, Refusal> {
        vetted(message, true).map(|vetted| match vetted {
            Vetted::Whole(stored) => stored,
            Vetted::Truncated(stored) => panic!("truncated: {stored:?}"),
        })
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
        let stored = vet(&message(0x8180, [1, 0, 0], &[&record])).unwrap();
        assert_eq!(stored.lifetime, 0);
        let ttl_at = HEADER + QUESTION.len() + 6;
        assert_eq!(get32(&answered(&stored, 0), ttl_at), Some(0), "and nothing else is said");
    }

    #[test]
    fn an_alias_to_nowhere_lives_no_longer_than_itself() {
        let alias = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x02\x00\x02\xc0\x10";
        for flags in [0x8183, 0x8180] {
            let stored = vet(&message(flags, [1, 1, 0], &[alias, SOA])).unwrap();
            assert_eq!(stored.lifetime, 2, "{flags:x}");
        }
    }

    #[test]
    fn errors_without_a_question_are_told_apart_from_strangers() {
        let bare = |flags: u16, id: u8| {
            let [high, low] = flags.to_be_bytes();
            vet(&[0x12, id, high, low, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err()
        };
        assert_eq!(bare(0x8182, 0x34), Refusal::NoQuestion(2));
        assert_eq!(bare(0x8185, 0x34), Refusal::NoQuestion(5));
        assert_eq!(bare(0x8185, 0x35), Refusal::Foreign, "another number");
        assert_eq!(bare(0x8180, 0x34), Refusal::Foreign, "no error");
        assert_eq!(bare(0x0182, 0x34), Refusal::Foreign, "a query");
    }

    #[test]
    fn what_is_cut_is_kept_as_far_as_it_goes() {
        let whole = message(0x8380, [2, 0, 0], &[A, A]);
        for (length, records) in
            [(whole.len(), 2), (whole.len() - 1, 1), (HEADER + QUESTION.len(), 0)]
        {
            let Ok(Vetted::Truncated(stored)) = vetted(&whole[..length], true) else {
                panic!("{length}");
            };
            let answer = answered(&stored, 0);
            assert_eq!((get16(&answer, 6), answer[2] & 2), (Some(records), 2), "{length}");
            let mut out = [0; 512];
            let query = [b"\x99\x99\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", QUESTION].concat();
            let query = Query::read(&query).unwrap();
            stored.answer(&query, Transport::Tcp, 0, &mut out);
            assert_eq!(
                (out[2] & 2, out[3] & 15),
                (0, 2),
                "over TCP there is nothing to come back for"
            );
        }
    }

    #[test]
    fn the_case_matters_only_when_it_was_mixed() {
        let mut other = message(0x8180, [1, 0, 0], &[A]);
        other[13] = b'W';
        assert_eq!(vetted(&other, true).unwrap_err(), Refusal::Case);
        assert!(matches!(vetted(&other, false), Ok(Vetted::Whole(_))));
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
        assert_eq!(changed(7, 2), Refusal::Malformed, "a record short");
        assert_eq!(vet(&message(0x8180, [1, 0, 0], &[OPT])).unwrap_err(), Refusal::Malformed);
    }
}
