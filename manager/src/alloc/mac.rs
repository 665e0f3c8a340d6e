//! MAC addresses: locally administered, unicast, 46 random bits.
//!
//! Random rather than counted: fields of a counted address wrap, and two installations in one segment collide.

use sluice_api::types::MacAddr;

/// A random address with the "locally administered" bit set and the "group" bit clear (IEEE 802, 8.2).
pub fn random_mac() -> MacAddr {
    from_bits(rand::random())
}

#[expect(clippy::expect_used, reason = "the invariant is in the message")]
fn from_bits(bits: u64) -> MacAddr {
    let [_, _, mut bytes @ ..] = bits.to_be_bytes();
    bytes[0] = (bytes[0] & 0b1111_1100) | 0b10;
    MacAddr::from_bytes(bytes).expect("a unicast address that is not zero")
}

/// The address as a number, by which pools count.
pub fn mac_number(mac: MacAddr) -> i64 {
    mac.bytes().iter().fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// The address that has this number, if one has.
pub fn mac_of(number: i64) -> Option<MacAddr> {
    let [0, 0, bytes @ ..] = number.to_be_bytes() else { return None };
    MacAddr::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn generated_addresses_are_local_unicast_and_count_both_ways(bits: u64) {
            let mac = from_bits(bits);
            prop_assert_eq!(mac.bytes()[0] & 3, 2);
            prop_assert_eq!(mac_of(mac_number(mac)), Some(mac));
        }
    }
}
