//! Bytes of DNS messages: numbers, flags, a bounded writer and a reader that cannot run over the end.
//!
//! Guarantees: no function here panics on any bytes; nothing is written past the given buffer. Sources: RFC 1035 4.1,
//! RFC 6891 (EDNS), RFC 8914 (extended errors).

/// Length of the message header.
pub(super) const HEADER: usize = 12;

/// Flag bits of the header's second word.
pub(super) mod flag {
    /// This is a response.
    pub(crate) const QR: u16 = 0x8000;
    /// The four bits that say what is asked; 0 is a query.
    pub(crate) const OPCODE: u16 = 0x7800;
    /// Authoritative answer.
    pub(crate) const AA: u16 = 0x0400;
    /// Truncated.
    pub(crate) const TC: u16 = 0x0200;
    /// Recursion desired.
    pub(crate) const RD: u16 = 0x0100;
    /// Recursion available.
    pub(crate) const RA: u16 = 0x0080;
    /// Authentic data (RFC 4035 3.2.3).
    pub(crate) const AD: u16 = 0x0020;
    /// Checking disabled (RFC 4035 3.2.2).
    pub(crate) const CD: u16 = 0x0010;
    /// The four bits of the response code.
    pub(crate) const RCODE: u16 = 0x000f;
}

/// Record types.
pub(super) mod rtype {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const ANY: u16 = 255;
}

/// The Internet class.
pub(super) const CLASS_IN: u16 = 1;

/// Response codes, the extended ones included.
pub(super) mod rcode {
    pub(crate) const NOERROR: u16 = 0;
    pub(crate) const FORMERR: u16 = 1;
    pub(crate) const SERVFAIL: u16 = 2;
    pub(crate) const NXDOMAIN: u16 = 3;
    pub(crate) const NOTIMP: u16 = 4;
    pub(crate) const REFUSED: u16 = 5;
    pub(crate) const BADVERS: u16 = 16;
}

/// EDNS option code of an extended error (RFC 8914 2).
pub(super) const OPTION_EDE: u16 = 15;

/// Extended errors we give ourselves (RFC 8914 4).
pub(super) mod ede {
    /// Anything without a number of its own.
    pub(crate) const OTHER: u16 = 0;
    /// DNSSEC's signatures do not hold.
    pub(crate) const DNSSEC_BOGUS: u16 = 6;
    /// The server's policy forbids it.
    pub(crate) const PROHIBITED: u16 = 18;
    /// Not authoritative and no recursion.
    pub(crate) const NOT_AUTHORITATIVE: u16 = 20;
    /// No upstream could be reached.
    pub(crate) const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// Something on the way to an upstream failed.
    pub(crate) const NETWORK_ERROR: u16 = 23;
}

/// The 16-bit number at `at`.
pub(super) fn get16(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The 32-bit number at `at`.
pub(super) fn get32(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Overwrites the 32-bit number at `at`; nothing happens past the end.
pub(super) fn set32(message: &mut [u8], at: usize, number: u32) {
    if let Some(place) = message.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

/// Where the name at `at` ends, compressed or not. Pointers are not followed, so none can make a loop.
pub(super) fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + length,
            0xc0.. => return (at + 2 <= message.len()).then_some(at + 2),
            _ => return None,
        }
        if at - start > 254 {
            return None;
        }
    }
}

/// The fixed part of a resource record that starts at `at`.
pub(super) struct RecordHead {
    /// Where the TYPE field is.
    pub type_at: usize,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    /// Where the record ends.
    pub end: usize,
}

/// Reads the record at `at`; `None` when it does not fit into the message.
pub(super) fn record_head(message: &[u8], at: usize) -> Option<RecordHead> {
    let type_at = skip_name(message, at)?;
    let data_at = type_at + 10;
    let end = data_at + usize::from(get16(message, type_at + 8)?);
    (end <= message.len()).then_some(())?;
    Some(RecordHead {
        type_at,
        rtype: get16(message, type_at)?,
        class: get16(message, type_at + 2)?,
        ttl: get32(message, type_at + 4)?,
        end,
    })
}

/// Writes into a given buffer and no further.
pub(super) struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// An empty message in `buffer`.
    pub(super) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Appends `bytes`, or nothing and `None` when they do not fit.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length + bytes.len();
        self.buffer.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    /// Appends a 16-bit number.
    pub(super) fn put16(&mut self, number: u16) -> Option<()> {
        self.put(&number.to_be_bytes())
    }

    /// Bytes written.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// What was written from `at` on, to be patched.
    pub(super) fn written(&mut self, at: usize) -> &mut [u8] {
        self.buffer.get_mut(at..self.length).unwrap_or_default()
    }

    /// Bytes that there is room for in all.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_rfc_1035_says() {
        assert_eq!(skip_name(b"\x03abc\x00", 0), Some(5));
        assert_eq!(skip_name(b"\x03abc\xc0\x00zz", 0), Some(6));
        assert_eq!(skip_name(b"\x03ab", 0), None);
        assert_eq!(skip_name(b"\xc0", 0), None);
        assert_eq!(skip_name(b"\x40abc\x00", 0), None, "label type 01 is not in use");
        let long = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(5);
        assert_eq!(skip_name(&long, 0), None, "longer than 255 bytes");
    }

    #[test]
    fn a_writer_stops_at_its_end() {
        let mut buffer = [0; 4];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.put(b"abc"), Some(()));
        assert_eq!(writer.put(b"de"), None);
        assert_eq!(writer.len(), 3);
        assert_eq!(writer.put16(7), None);
    }
}
