//! Which addresses may be fetched from. Asked at every connection, of the very address that is connected to.
//!
//! Guarantees: loopback, link-local (where metadata services are), multicast, reserved and unspecified addresses are never
//! let through, nor those in `refused`; private ones only when `allowed` names them. An address that carries a v4 address
//! inside (mapped, NAT64, 6to4) is judged as both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_api::types::Cidr;
use thiserror::Error;

/// An address is not fetched from. Not worth a retry until the configuration or the name's address changes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{address} is not fetched from: {reason}")]
pub struct AddressRefused {
    /// The address.
    pub address: IpAddr,
    /// Why.
    pub reason: &'static str,
}

/// The rules.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// Private networks that are let through.
    pub allowed: Vec<Cidr>,
    /// Networks that never are.
    pub refused: Vec<Cidr>,
}

impl AddressPolicy {
    /// Judges `address`.
    ///
    /// Errors: it is not fetched from.
    pub fn judge(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let refuse = |reason| Err(AddressRefused { address, reason });
        let inner = carried(address);
        for address in [Some(address), inner].into_iter().flatten() {
            if let Some(reason) = never(address) {
                return refuse(reason);
            }
            if self.refused.iter().any(|cidr| cidr.contains(address)) {
                return refuse("its network is one of the cloud's own");
            }
            if private(address) && !self.allowed.iter().any(|cidr| cidr.contains(address)) {
                return refuse("its network is private and not one of those allowed");
            }
        }
        Ok(())
    }
}

/// The v4 address inside a v6 one: mapped (RFC 4291 2.5.5), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056).
fn carried(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match s {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

fn never(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => never_v4(v4),
        IpAddr::V6(v6) => never_v6(v6),
    }
}

fn never_v4(v4: Ipv4Addr) -> Option<&'static str> {
    let first = v4.octets()[0];
    if v4.is_loopback() {
        return Some("loopback");
    }
    if v4.is_link_local() {
        return Some("link-local, where metadata services are");
    }
    if first == 0 || first >= 224 {
        return Some("no address of a single host elsewhere");
    }
    None
}

fn never_v6(v6: Ipv6Addr) -> Option<&'static str> {
    if v6.is_loopback() {
        return Some("loopback");
    }
    if v6.is_unicast_link_local() {
        return Some("link-local, where metadata services are");
    }
    // fec0::/10 was site-local (RFC 3879)
    let site_local = v6.segments()[0] & 0xffc0 == 0xfec0;
    if v6.is_unspecified() || v6.is_multicast() || site_local {
        return Some("no address of a single host elsewhere");
    }
    None
}

/// RFC 1918, RFC 6598 (carriers), RFC 4193.
fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(policy: &AddressPolicy, text: &str) -> Result<(), &'static str> {
        policy.judge(text.parse().unwrap()).map_err(|refused| refused.reason)
    }

    #[test]
    fn what_no_source_may_be_is_refused_whatever_is_allowed() {
        let everything: Vec<Cidr> =
            ["0.0.0.0/0", "::/0"].iter().map(|text| text.parse().unwrap()).collect();
        let policy = AddressPolicy { allowed: everything, refused: Vec::new() };
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::7f00:1",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(judged(&policy, text).is_err(), "{text}");
        }
    }

    #[test]
    fn private_networks_are_let_through_by_name_alone() {
        let none = AddressPolicy::default();
        let some = AddressPolicy { allowed: vec!["10.1.0.0/16".parse().unwrap()], ..none.clone() };
        for text in ["10.1.2.3", "::ffff:10.1.2.3"] {
            assert!(judged(&none, text).is_err(), "{text}");
        }
        assert_eq!(judged(&some, "10.1.2.3"), Ok(()));
        for text in ["10.2.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1"] {
            assert!(judged(&some, text).is_err(), "{text}");
        }
        for text in ["8.8.8.8", "192.0.2.1", "100.128.0.1", "2001:db8::1"] {
            assert_eq!(judged(&none, text), Ok(()), "{text}");
        }
    }

    #[test]
    fn the_clouds_own_networks_are_refused_even_where_they_are_allowed() {
        let cidr: Cidr = "10.0.0.0/8".parse().unwrap();
        let own = vec!["10.9.0.0/16".parse().unwrap(), "203.0.113.0/24".parse().unwrap()];
        let policy = AddressPolicy { allowed: vec![cidr], refused: own };
        assert_eq!(judged(&policy, "10.8.0.1"), Ok(()));
        assert!(judged(&policy, "10.9.0.1").unwrap_err().contains("own"));
        assert!(judged(&policy, "203.0.113.5").unwrap_err().contains("own"));
    }
}
