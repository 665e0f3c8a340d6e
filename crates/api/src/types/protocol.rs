//! The protocol of a connection that is asked about.

use std::fmt;

use super::text::text_value;

/// `tcp`, `udp`, `icmp` (of either version of IP), or the number of another protocol, 0 to 255.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskedProtocol(u8);

text_value!(AskedProtocol, "protocol", "^(tcp|udp|icmp|[0-9]{1,3})$", "tcp");

impl AskedProtocol {
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP or ICMPv6, as the addresses say.
    pub const ICMP: Self = Self(1);

    fn check(text: &str) -> Result<u8, &'static str> {
        match text {
            "tcp" => Ok(Self::TCP.0),
            "udp" => Ok(Self::UDP.0),
            "icmp" => Ok(Self::ICMP.0),
            _ => match text.parse() {
                // ICMPv6
                Ok(58) => Ok(Self::ICMP.0),
                number => number.map_err(|_| "must be tcp, udp, icmp or a number, 0 to 255"),
            },
        }
    }

    /// Its number; that of ICMP for ICMPv6 too.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// True for TCP and UDP.
    pub fn has_ports(self) -> bool {
        self == Self::TCP || self == Self::UDP
    }
}

impl fmt::Display for AskedProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMP => f.write_str("icmp"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_protocol_has_one_spelling() {
        for (text, written) in [("tcp", "tcp"), ("17", "udp"), ("58", "icmp"), ("47", "47")] {
            assert_eq!(text.parse::<AskedProtocol>().unwrap().to_string(), written);
        }
        for bad in ["", "TCP", "256", "-1", "gre"] {
            assert!(bad.parse::<AskedProtocol>().is_err(), "{bad}");
        }
    }
}
