//! Domain names as they are on the wire, in lower case, without allocation.
//!
//! Guarantees: at most 255 bytes and 127 labels (RFC 1035 2.3.4); equal names have equal bytes, because DNS compares
//! without case (RFC 1035 2.3.3, RFC 4343). Compressed names are refused: a question has nothing before it to point at.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::types::{DomainName, HostName};

/// Most bytes of a name on the wire, which is 127 labels besides the root.
const MAX: usize = 255;

/// One name, lower case. It is made and moved for each question, so it holds nothing that its bytes say.
#[derive(Clone)]
pub(super) struct Name {
    bytes: [u8; MAX],
    /// Bytes in use.
    length: u8,
    /// Where the last label starts.
    last: u8,
    labels: u8,
}

impl Name {
    const ROOT: Self = Self { bytes: [0; MAX], length: 1, last: 0, labels: 0 };

    /// Reads the uncompressed name at `at`; answers it and where it ends.
    pub(super) fn read(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut name = Self::ROOT;
        let mut from = at;
        loop {
            let length = usize::from(*message.get(from)?);
            if length == 0 {
                return Some((name, from + 1));
            }
            name.push(message.get(from + 1..from + 1 + length)?)?;
            from += 1 + length;
        }
    }

    /// The name written as `text`, with or without a final dot.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut name = Self::ROOT;
        for label in text.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
            name.push(label.as_bytes())?;
        }
        Some(name)
    }

    /// `host.domain`; `None` when that is longer than a name may be.
    pub(super) fn of_host(host: &HostName, domain: &DomainName) -> Option<Self> {
        let mut name = Self::ROOT;
        name.push(host.as_str().as_bytes())?;
        for label in domain.as_str().split('.') {
            name.push(label.as_bytes())?;
        }
        Some(name)
    }

    /// The name under which the first `labels` bytes of `address` are looked up: `1.1.10.in-addr.arpa` for 3.
    pub(super) fn reverse(address: Ipv4Addr, labels: usize) -> Option<Self> {
        let octets = address.octets();
        let numbers = octets.iter().take(labels).rev().map(ToString::to_string);
        let text: Vec<String> = numbers.chain(["in-addr.arpa".to_owned()]).collect();
        Self::parse(&text.join("."))
    }

    fn push(&mut self, label: &[u8]) -> Option<()> {
        let start = self.length.checked_sub(1)?;
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        let end = self.length.checked_add(length)?;
        let place = self.bytes.get_mut(usize::from(start)..=usize::from(end))?;
        let (head, rest) = place.split_first_mut()?;
        *head = length;
        let (text, root) = rest.split_at_mut_checked(label.len())?;
        text.copy_from_slice(label);
        text.make_ascii_lowercase();
        root.fill(0);
        (self.last, self.length) = (start, end.checked_add(1)?);
        self.labels += 1;
        Some(())
    }

    /// The bytes on the wire, the root's included.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Number of labels besides the root.
    pub(super) fn labels(&self) -> usize {
        self.labels.into()
    }

    /// What a wildcard's name is below, if it is one's: `apps.example` of `*.apps.example` (RFC 4592 2.1.1).
    pub(super) fn below_wildcard(&self) -> Option<&[u8]> {
        self.as_bytes().starts_with(b"\x01*").then(|| self.suffix(1))
    }

    /// The part without the first `skip` labels.
    pub(super) fn suffix(&self, skip: usize) -> &[u8] {
        let root = || self.as_bytes().last_chunk::<1>().map_or(&[][..], |root| root.as_slice());
        self.suffixes().nth(skip).unwrap_or_else(root)
    }

    /// The whole name, then without its first label, and so on to the last label.
    pub(super) fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.as_bytes();
        std::iter::from_fn(move || {
            let whole = rest;
            let (length, _) = whole.split_first().filter(|(length, _)| **length > 0)?;
            rest = whole.get(usize::from(*length) + 1..).unwrap_or_default();
            Some(whole)
        })
    }

    /// The last label with its length and the root; the root alone for the root.
    pub(super) fn top(&self) -> &[u8] {
        self.as_bytes().get(usize::from(self.last)..).unwrap_or_default()
    }

    /// The IPv4 address of which this is the reverse name, if it is one.
    pub(super) fn reverse_address(&self) -> Option<IpAddr> {
        if self.labels != 6 || self.suffix(4) != b"\x07in-addr\x04arpa\x00" {
            return None;
        }
        let mut octets = [0; 4];
        for (skip, octet) in octets.iter_mut().rev().enumerate() {
            let (length, rest) = self.suffix(skip).split_first()?;
            let digits = rest.get(..usize::from(*length))?;
            *octet = std::str::from_utf8(digits).ok()?.parse().ok()?;
        }
        Some(Ipv4Addr::from(octets).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_know_their_suffixes() {
        let wire = b"xx\x03Vm1\x03CS1\x08Internal\x00yy";
        let (name, end) = Name::read(wire, 2).unwrap();
        assert_eq!(end, wire.len() - 2);
        assert_eq!(name.as_bytes(), b"\x03vm1\x03cs1\x08internal\x00");
        let suffixes: Vec<_> = name.suffixes().collect();
        assert_eq!(suffixes[1], b"\x03cs1\x08internal\x00");
        assert_eq!((suffixes.len(), name.top()), (3, b"\x08internal\x00".as_slice()));
        assert_eq!(Name::parse("VM1.cs1.internal.").unwrap().as_bytes(), name.as_bytes());
        assert_eq!(Name::parse(".").unwrap().top(), b"\x00");
    }

    #[test]
    fn the_longest_name_fits_and_the_next_does_not() {
        let label = "a".repeat(63);
        let fits = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        let name = Name::parse(&fits).unwrap();
        assert_eq!(name.as_bytes().len(), 255);
        assert_eq!(Name::read(name.as_bytes(), 0).unwrap().0.as_bytes(), name.as_bytes());
        assert!(Name::parse(&format!("{fits}a")).is_none());
        assert_eq!(Name::parse(&"a.".repeat(127)).unwrap().labels(), 127);
        assert!(Name::parse(&"a.".repeat(128)).is_none());
    }

    #[test]
    fn compressed_and_cut_names_are_refused() {
        assert!(Name::read(b"\x03vm1\xc0\x00", 0).is_none());
        assert!(Name::read(b"\x03vm", 0).is_none());
        assert!(Name::read(b"", 0).is_none());
    }

    #[test]
    fn reverse_names_give_their_address_back() {
        let address = Ipv4Addr::new(10, 1, 2, 3);
        let name = Name::reverse(address, 4).unwrap();
        assert_eq!(name.as_bytes(), Name::parse("3.2.1.10.in-addr.arpa").unwrap().as_bytes());
        assert_eq!(name.reverse_address(), Some(address.into()));
        assert_eq!(Name::reverse(address, 3).unwrap().reverse_address(), None);
        assert_eq!(Name::parse("x.2.1.10.in-addr.arpa").unwrap().reverse_address(), None);
    }
}
