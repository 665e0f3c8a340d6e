//! Ethernet addresses.

use std::fmt;

use super::text::text_value;

/// A unicast Ethernet address, written `02:00:0a:01:01:02`; upper case is accepted, lower case is printed.
///
/// Multicast, broadcast and all-zero addresses are refused: none of them can belong to a NIC (IEEE 802, 8.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

text_value!(MacAddr, "MAC address", "^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$", "02:00:0a:01:01:02");

impl MacAddr {
    /// The address made of these six bytes, or `None` when no NIC can have it.
    pub fn from_bytes(bytes: [u8; 6]) -> Option<Self> {
        Self::usable(bytes).ok().map(Self)
    }

    /// The six bytes in transmission order.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    fn usable(bytes: [u8; 6]) -> Result<[u8; 6], &'static str> {
        if bytes == [0; 6] {
            return Err("all zero");
        }
        if bytes[0] & 1 == 1 {
            return Err("a multicast address cannot belong to a NIC");
        }
        Ok(bytes)
    }

    fn check(text: &str) -> Result<[u8; 6], &'static str> {
        const FORM: &str = "must be six two-digit hexadecimal bytes separated by colons";
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(FORM)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(FORM);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| FORM)?;
        }
        if parts.next().is_some() { Err(FORM) } else { Self::usable(bytes) }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // printed once per guest and change, where the formatting machinery would be most of the cost
        let mut text = [b':'; 17];
        for (place, byte) in text.chunks_mut(3).zip(self.0) {
            if let [high, low, ..] = place {
                (*high, *low) = (digit(byte >> 4), digit(byte & 0xf));
            }
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// The hexadecimal digit of a value below 16.
const fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}
