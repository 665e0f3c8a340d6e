//! Ranges of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;

use super::text::text_value;

/// One IPv4 address, or a range with both ends: `10.1.1.50`, `10.1.1.100-10.1.1.199`; at most 65,536 addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange(Ends);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Ends {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

text_value!(
    AddressRange,
    "address range",
    "^[0-9.]{7,15}(-[0-9.]{7,15})?$",
    "10.1.1.100-10.1.1.199"
);

const FORM: &str = "must be an IPv4 address or two joined by a hyphen";

impl AddressRange {
    /// Most addresses: those of a /16, the widest guest network.
    const MOST: u32 = 1 << 16;

    fn check(text: &str) -> Result<Ends, &'static str> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let address = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| FORM);
        let (first, last) = (address(first)?, address(last)?);
        match u32::from(last).checked_sub(u32::from(first)) {
            None => Err("ends before it begins"),
            Some(more) if more >= Self::MOST => Err("must have at most 65536 addresses"),
            Some(_) => Ok(Ends { first, last }),
        }
    }

    /// The lowest address.
    pub const fn first(self) -> Ipv4Addr {
        self.0.first
    }

    /// The highest address.
    pub const fn last(self) -> Ipv4Addr {
        self.0.last
    }

    /// How many addresses it has, at least 1.
    pub fn len(self) -> u32 {
        // no overflow: checked when it was made
        u32::from(self.0.last) - u32::from(self.0.first) + 1
    }

    /// The address number `index`, the lowest being 0.
    pub fn nth(self, index: u32) -> Option<Ipv4Addr> {
        (index < self.len()).then(|| Ipv4Addr::from(u32::from(self.0.first) + index))
    }

    /// Whether it has `address`.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.0.first..=self.0.last).contains(&address)
    }

    /// Whether an address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.first() <= other.last() && other.first() <= self.last()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first() == self.last() {
            return write!(f, "{}", self.first());
        }
        write!(f, "{}-{}", self.first(), self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ends_in_order() {
        for good in ["10.1.1.5", "10.1.1.5-10.1.1.9", "10.1.0.0-10.1.255.255"] {
            assert_eq!(good.parse::<AddressRange>().unwrap().to_string(), good);
        }
        for bad in ["", "10.1.1", "10.1.1.9-10.1.1.5", "10.1.0.0-10.2.0.0", "a-b", "10.1.1.1-"] {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
        }
        let range: AddressRange = "10.1.1.255-10.1.2.0".parse().unwrap();
        assert_eq!((range.len(), range.nth(1)), (2, Some(Ipv4Addr::new(10, 1, 2, 0))));
        assert_eq!(range.nth(2), None);
    }
}
