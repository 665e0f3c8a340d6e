//! An address that one host can have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::text::text_value;

/// An IPv4 or IPv6 address of one host: not unspecified, not multicast, not the broadcast address, and not an IPv4
/// address in IPv6's clothes (RFC 4291 2.5.5.2), for which the plain form is to be used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddress(IpAddr);

text_value!(HostAddress, "host address", "^[0-9a-fA-F.:]+$", "192.0.2.1");

impl HostAddress {
    fn check(text: &str) -> Result<IpAddr, &'static str> {
        let address: IpAddr = text.parse().map_err(|_| "must be an IPv4 or IPv6 address")?;
        let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.is_unspecified() || address.is_multicast() || broadcast {
            return Err("is not the address of one host");
        }
        if matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return Err("is an IPv4 address and must be written as one");
        }
        Ok(address)
    }

    /// The address.
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// True when it means something on one link only (RFC 4291 2.5.6).
    pub const fn needs_link(self) -> bool {
        matches!(self.0, IpAddr::V6(address) if address.is_unicast_link_local())
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
