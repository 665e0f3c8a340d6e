//! Ranges with both ends included: of addresses, of ports.
//!
//! Guarantees: the first is never after the last, and the same range has one form, however it was written (as one value,
//! a network or a range), so that two are equal exactly when they hold the same values.

use std::fmt::{self, Debug, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sluice_api::types::{Cidr, Port};

use crate::IpVersion;

/// From the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(T, T)", into = "(T, T)")]
#[serde(bound(
    serialize = "T: Copy + Serialize",
    deserialize = "T: Copy + Ord + Deserialize<'de>"
))]
pub struct Span<T> {
    first: T,
    last: T,
}

impl<T: Copy + Ord> From<(T, T)> for Span<T> {
    fn from((one, other): (T, T)) -> Self {
        Self::new(one, other)
    }
}

impl<T: Copy> From<Span<T>> for (T, T) {
    fn from(span: Span<T>) -> Self {
        (span.first, span.last)
    }
}

impl<T: Copy + Ord> From<T> for Span<T> {
    fn from(one: T) -> Self {
        Self { first: one, last: one }
    }
}

impl<T: Copy + Ord> Span<T> {
    /// Between two values, whichever is smaller.
    pub fn new(one: T, other: T) -> Self {
        Self { first: one.min(other), last: one.max(other) }
    }

    /// The smallest value.
    pub fn first(self) -> T {
        self.first
    }

    /// The largest value.
    pub fn last(self) -> T {
        self.last
    }

    /// True when it holds one value.
    pub fn is_one(self) -> bool {
        self.first == self.last
    }

    /// True when `value` lies in it.
    pub fn contains(self, value: T) -> bool {
        self.first <= value && value <= self.last
    }

    /// True when the two share a value.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The spans without overlaps, sorted: what an interval set takes, for it refuses spans that overlap.
pub fn merged<T: Copy + Ord>(spans: impl IntoIterator<Item = Span<T>>) -> Vec<Span<T>> {
    let mut sorted: Vec<Span<T>> = spans.into_iter().collect();
    sorted.sort_unstable();
    let mut apart: Vec<Span<T>> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match apart.last_mut() {
            Some(before) if before.overlaps(span) => before.last = before.last.max(span.last),
            _ => apart.push(span),
        }
    }
    apart
}

/// Addresses as numbers, which tells networks from other ranges.
pub trait Address: Copy + Ord + Display {
    /// Bits of an address.
    const BITS: u32;
    /// The address as a number.
    fn number(self) -> u128;
    /// The address of a number; of one that is too large, that of its low bits.
    fn from_number(number: u128) -> Self;
}

impl Address for Ipv4Addr {
    const BITS: u32 = 32;
    fn number(self) -> u128 {
        u128::from(self.to_bits())
    }
    fn from_number(number: u128) -> Self {
        let [.., a, b, c, d] = number.to_be_bytes();
        Self::new(a, b, c, d)
    }
}

impl Address for Ipv6Addr {
    const BITS: u32 = 128;
    fn number(self) -> u128 {
        self.to_bits()
    }
    fn from_number(number: u128) -> Self {
        Self::from_bits(number)
    }
}

impl<T: Address> Span<T> {
    /// The network of `address` with a prefix of so many bits; `None` for more bits than an address has.
    pub fn network(address: T, bits: u32) -> Option<Self> {
        let free = T::BITS.checked_sub(bits)?;
        let low = if free == 0 { 0 } else { u128::MAX >> (128 - free) };
        let first = address.number() & !low;
        Some(Self::new(T::from_number(first), T::from_number(first | low)))
    }

    /// The length of its prefix, if it is a network.
    pub fn prefix(self) -> Option<u32> {
        let (first, last) = (self.first.number(), self.last.number());
        let varying = first ^ last;
        let zeros = varying.count_ones();
        // a network varies in its low bits alone, from all zero to all one
        let low = varying.trailing_ones() == zeros;
        (low && first & varying == 0).then(|| T::BITS - zeros)
    }
}

/// As nft lists it: one address, a network, or a range.
pub(crate) fn addresses<T: Address>(span: Span<T>) -> String {
    match span.prefix() {
        Some(bits) if bits == T::BITS => span.first.to_string(),
        Some(bits) => format!("{}/{bits}", span.first),
        None => format!("{}-{}", span.first, span.last),
    }
}

impl Display for Span<Ipv4Addr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&addresses(*self))
    }
}

impl Display for Span<Ipv6Addr> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&addresses(*self))
    }
}

impl Display for Span<u16> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_one() {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl<T> Debug for Span<T>
where
    Self: Display,
{
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// Addresses of one family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AddressSpan {
    /// IPv4.
    V4(Span<Ipv4Addr>),
    /// IPv6.
    V6(Span<Ipv6Addr>),
}

impl AddressSpan {
    /// The addresses of a network.
    pub fn of(network: &Cidr) -> Self {
        Self::between(network.network(), network.last()).unwrap_or_else(|| network.network().into())
    }

    /// Every address of a version.
    pub fn everything(version: IpVersion) -> Self {
        match version {
            IpVersion::V4 => Self::V4(Span::new(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)),
            IpVersion::V6 => {
                Self::V6(Span::new(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX)))
            }
        }
    }

    /// From one address to another; `None` when they are of two families.
    pub fn between(one: IpAddr, other: IpAddr) -> Option<Self> {
        match (one, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => Some(Self::V4(Span::new(one, other))),
            (IpAddr::V6(one), IpAddr::V6(other)) => Some(Self::V6(Span::new(one, other))),
            _ => None,
        }
    }

    /// True when `address` lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(span), IpAddr::V4(address)) => span.contains(address),
            (Self::V6(span), IpAddr::V6(address)) => span.contains(address),
            _ => false,
        }
    }

    /// The smallest and the largest.
    pub fn ends(self) -> (IpAddr, IpAddr) {
        match self {
            Self::V4(span) => (span.first.into(), span.last.into()),
            Self::V6(span) => (span.first.into(), span.last.into()),
        }
    }

    /// The length of its prefix, if it is a network.
    pub fn prefix(self) -> Option<u32> {
        match self {
            Self::V4(span) => span.prefix(),
            Self::V6(span) => span.prefix(),
        }
    }

    /// Of which version of IP.
    pub fn version(self) -> IpVersion {
        match self {
            Self::V4(_) => IpVersion::V4,
            Self::V6(_) => IpVersion::V6,
        }
    }
}

impl From<IpAddr> for AddressSpan {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.into()),
            IpAddr::V6(address) => Self::V6(address.into()),
        }
    }
}

impl Display for AddressSpan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(span) => Display::fmt(span, f),
            Self::V6(span) => Display::fmt(span, f),
        }
    }
}

impl Debug for AddressSpan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl From<Port> for Span<u16> {
    fn from(port: Port) -> Self {
        port.get().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(one: &str, other: &str) -> Span<Ipv4Addr> {
        Span::new(one.parse().unwrap(), other.parse().unwrap())
    }

    #[test]
    fn a_range_has_one_form() {
        assert_eq!(v4("10.0.0.0", "10.255.255.255").to_string(), "10.0.0.0/8");
        assert_eq!(v4("0.0.0.0", "255.255.255.255").to_string(), "0.0.0.0/0");
        assert_eq!(v4("10.0.0.1", "10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(v4("10.0.0.1", "10.0.0.2").to_string(), "10.0.0.1-10.0.0.2");
        assert_eq!(v4("10.0.0.4", "10.0.0.11").to_string(), "10.0.0.4-10.0.0.11");
        assert_eq!(v4("10.0.0.9", "10.0.0.8"), v4("10.0.0.8", "10.0.0.9"));
        let network: Cidr = "2001:db8::/32".parse().unwrap();
        assert_eq!(AddressSpan::of(&network).to_string(), "2001:db8::/32");
        assert_eq!(Span::new(80_u16, 90).to_string(), "80-90");
    }

    #[test]
    fn merged_spans_do_not_overlap_and_hold_the_same() {
        let spans =
            [v4("10.0.0.0", "10.0.0.9"), v4("10.0.0.5", "10.0.0.20"), v4("9.0.0.1", "9.0.0.1")];
        let apart = merged(spans);
        assert_eq!(apart, [v4("9.0.0.1", "9.0.0.1"), v4("10.0.0.0", "10.0.0.20")]);
    }
}
