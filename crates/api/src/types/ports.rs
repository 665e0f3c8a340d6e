//! Ranges of ports.

use std::fmt;

use super::Port;
use super::text::text_value;

/// One TCP or UDP port, or a range with both ends: `80`, `8000-8099`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange(Bounds);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bounds {
    first: Port,
    last: Port,
}

text_value!(PortRange, "port range", "^[0-9]{1,5}(-[0-9]{1,5})?$", "8000-8099");

const FORM: &str = "must be a port or two joined by a hyphen, each 1 to 65535";

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self(Bounds { first: Port::MIN, last: Port::MAX });

    fn check(text: &str) -> Result<Bounds, &'static str> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.parse::<Port>().map_err(|_| FORM);
        let (first, last) = (port(first)?, port(last)?);
        if first <= last { Ok(Bounds { first, last }) } else { Err("ends before it begins") }
    }

    /// One port.
    pub const fn one(port: Port) -> Self {
        Self(Bounds { first: port, last: port })
    }

    /// Those from `first` to `last`; none when they are in the wrong order.
    pub fn new(first: Port, last: Port) -> Option<Self> {
        (first <= last).then_some(Self(Bounds { first, last }))
    }

    /// The smallest port.
    pub const fn first(self) -> Port {
        self.0.first
    }

    /// The largest port.
    pub const fn last(self) -> Port {
        self.0.last
    }

    /// How many ports it has, 1 to 65535.
    pub const fn len(self) -> u16 {
        // no overflow: the first is at least 1
        self.0.last.get() - self.0.first.get() + 1
    }

    /// Whether a port is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.first() <= other.last() && other.first() <= self.last()
    }
}

impl fmt::Display for PortRange {
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
        for good in ["1", "80", "8000-8099", "1-65535"] {
            assert_eq!(good.parse::<PortRange>().unwrap().to_string(), good);
        }
        for bad in ["", "0", "-", "1-", "-1", "20-10", "1-65536", "a", "1-2-3", " 1"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
        assert_eq!("5-5".parse::<PortRange>().unwrap().to_string(), "5");
    }
}
