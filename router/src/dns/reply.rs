//! Writing a response to a query.
//!
//! Guarantees: the question comes back byte for byte, so mixed case survives (draft-vixie-dnsext-dns0x20); the message
//! never exceeds what the client can take: whole records are left out from the end until it fits, and TC is set when what is
//! left out belonged to the answer (RFC 2181 9), because clients without TCP use what they get; OPT is there exactly when the
//! client sent one (RFC 6891 6.1.1).

use super::query::Query;
use super::wire::{HEADER, OPTION_EDE, Writer, flag, rtype};

/// UDP payload we announce and the most we send: no fragments on any usual path (DNS flag day 2020).
pub(super) const UDP_PAYLOAD: u16 = 1232;
/// Most bytes without EDNS (RFC 1035 4.2.1).
const PLAIN_PAYLOAD: u16 = 512;
/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;

/// How a query came, which bounds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream, with its 16-bit length before each message.
    Tcp,
}

/// An extended error (RFC 8914): number and words.
#[derive(Clone, Copy)]
pub(super) struct Ede<'a> {
    pub code: u16,
    pub text: &'a [u8],
}

/// Which section a record goes to, in their order in a message.
#[derive(Clone, Copy)]
pub(super) enum Section {
    Answer = 0,
    Authority = 1,
}

/// A response in the making.
pub(super) struct Reply<'a> {
    out: Writer<'a>,
    query: &'a Query<'a>,
    flags: u16,
    rcode: u16,
    counts: [u16; 3],
    ede: Option<Ede<'a>>,
    limit: usize,
    truncated: bool,
}

impl<'a> Reply<'a> {
    /// A response to `query` in `out`. `None` when `out` has no room for the least message.
    pub(super) fn new(
        query: &'a Query<'a>,
        transport: Transport,
        out: &'a mut [u8],
    ) -> Option<Self> {
        let limit = limit(query, transport);
        let mut out = Writer::new(out);
        out.put(&[0; HEADER])?;
        out.put(query.question)?;
        let flags = flag::QR | query.flags & (flag::OPCODE | flag::RD | flag::CD);
        let (rcode, counts, ede) = (0, [0; 3], None);
        Some(Self { out, query, flags, rcode, counts, ede, limit, truncated: false })
    }

    /// Sets header flags.
    pub(super) fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Sets the response code.
    pub(super) fn rcode(mut self, rcode: u16) -> Self {
        self.rcode = rcode;
        self
    }

    /// Says why, to a client that speaks EDNS.
    pub(super) fn ede(mut self, ede: Option<Ede<'a>>) -> Self {
        self.ede = ede.filter(|_| self.query.edns.is_some());
        self
    }

    /// Appends one record of a given encoding, or marks the message as cut.
    pub(super) fn record(&mut self, section: Section, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.truncated || length > self.room() {
            self.truncated = true;
            return;
        }
        // there is room for all of it
        let _fits = parts.iter().try_for_each(|part| self.out.put(part));
        if let Some(count) = self.counts.get_mut(section as usize) {
            *count += 1;
        }
    }

    /// Appends sections that are already encoded, with the numbers of their records and where each ends: as many whole
    /// records as fit. Answers them for patching.
    pub(super) fn sections(&mut self, counts: [u16; 3], encoded: &[u8], ends: &[u16]) -> &mut [u8] {
        let (before, room) = (self.out.len(), self.room());
        let fits = ends.partition_point(|end| usize::from(*end) <= room);
        let end =
            fits.checked_sub(1).and_then(|last| ends.get(last)).map_or(0, |end| usize::from(*end));
        let [answers, authorities, _] = counts;
        let needed = if answers > 0 { answers } else { authorities };
        self.truncated |= fits < usize::from(needed);
        let mut left = u16::try_from(fits).unwrap_or(u16::MAX);
        self.counts = counts.map(|count| {
            let kept = count.min(left);
            left -= kept;
            kept
        });
        let _fits = self.out.put(encoded.get(..end).unwrap_or_default());
        self.out.written(before)
    }

    /// Bytes that records may still take.
    fn room(&self) -> usize {
        let limit = self.limit.min(self.out.capacity());
        limit.saturating_sub(self.out.len() + self.opt_bytes())
    }

    /// Completes the message; answers its length, 0 when the buffer is too small.
    pub(super) fn finish(mut self) -> usize {
        if self.truncated {
            self.flags |= flag::TC;
        }
        if self.opt().is_none() {
            return 0;
        }
        self.header();
        self.out.len()
    }

    fn opt_bytes(&self) -> usize {
        let ede = self.ede.map_or(0, |ede| 6 + ede.text.len());
        self.query.edns.map_or(0, |_| OPT_BYTES + ede)
    }

    fn opt(&mut self) -> Option<()> {
        let Some(edns) = self.query.edns else { return Some(()) };
        let high = u8::try_from(self.rcode >> 4).unwrap_or(u8::MAX);
        let options = self.opt_bytes() - OPT_BYTES;
        self.out.put(&[0])?;
        self.out.put16(rtype::OPT)?;
        self.out.put16(UDP_PAYLOAD)?;
        self.out.put(&[high, 0, if edns.dnssec_ok { 0x80 } else { 0 }, 0])?;
        self.out.put16(u16::try_from(options).ok()?)?;
        if let Some(ede) = self.ede {
            self.out.put16(OPTION_EDE)?;
            self.out.put16(u16::try_from(ede.text.len() + 2).ok()?)?;
            self.out.put16(ede.code)?;
            self.out.put(ede.text)?;
        }
        self.counts = [self.counts[0], self.counts[1], self.counts[2] + 1];
        Some(())
    }

    fn header(&mut self) {
        let [answers, authorities, additionals] = self.counts;
        let flags = self.flags | self.rcode & flag::RCODE;
        let words = [self.query.id, flags, 1, answers, authorities, additionals];
        for (place, word) in self.out.written(0).chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// Most bytes of an answer to `query`.
fn limit(query: &Query<'_>, transport: Transport) -> usize {
    let bytes = match (transport, query.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.payload.min(UDP_PAYLOAD),
        (Transport::Udp, None) => PLAIN_PAYLOAD,
    };
    usize::from(bytes)
}

/// Answers a message that cannot be read as a query: its header with `rcode`, its question where that is known, and OPT
/// where it has one. Of an opcode that is not a query's no further flag is known, so none is given back.
pub(super) fn faulty(
    (id, flags): (u16, u16),
    rcode: u16,
    question: Option<&[u8]>,
    edns: bool,
    out: &mut [u8],
) -> usize {
    let opcode = flags & flag::OPCODE;
    let echoed = if opcode == 0 { flags & (flag::RD | flag::CD) } else { 0 };
    let flags = flag::QR | opcode | echoed | rcode & flag::RCODE;
    let words = [id, flags, u16::from(question.is_some()), 0, 0, u16::from(edns)];
    let mut out = Writer::new(out);
    let mut write = || {
        words.iter().try_for_each(|word| out.put16(*word))?;
        out.put(question.unwrap_or_default())?;
        if edns {
            out.put(&[0])?;
            [rtype::OPT, UDP_PAYLOAD, 0, 0, 0].iter().try_for_each(|word| out.put16(*word))?;
        }
        Some(out.len())
    };
    write().unwrap_or(0)
}
