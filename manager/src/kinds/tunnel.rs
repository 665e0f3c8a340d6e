//! What ends of tunnels may be: addresses of peers, networks behind them, keys and passwords.
//!
//! Guarantees: what no tunnel can be made of is refused where it is said, by its field and with the reason. Not here: what a
//! router judges of its whole configuration (`sluice_api`'s check of tunnels).

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use sluice_api::types::{Cidr, HostAddress, Secret};

use super::rule::invalid;
use crate::error::Error;

/// Characters of a pre-shared key, as the guide's `remote.access.vpn.psk.length` may be set.
pub(super) const KEY_LENGTH: RangeInclusive<usize> = 8..=256;
/// Bytes of a password: as many as a request of PAP holds (RFC 1334 2.2.1).
const PASSWORD_BYTES: RangeInclusive<usize> = 1..=255;

/// Networks that no host has an address of.
const NOBODYS: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
];

/// A pre-shared key, if one is given: [`KEY_LENGTH`] characters, none of them a control character.
pub(super) fn key(field: &'static str, key: Option<&Secret>) -> Result<(), Error> {
    let Some(key) = key else { return Ok(()) };
    let count = key.reveal().chars().count();
    if !KEY_LENGTH.contains(&count) {
        let (least, most) = KEY_LENGTH.into_inner();
        return Err(invalid(field, format!("must have {least} to {most} characters, not {count}")));
    }
    in_one_line(field, key)
}

/// A password, if one is given: [`PASSWORD_BYTES`] bytes, no control character.
pub(super) fn password(field: &'static str, password: Option<&Secret>) -> Result<(), Error> {
    let Some(password) = password else { return Ok(()) };
    let count = password.reveal().len();
    if !PASSWORD_BYTES.contains(&count) {
        let (least, most) = PASSWORD_BYTES.into_inner();
        return Err(invalid(field, format!("must have {least} to {most} bytes, not {count}")));
    }
    in_one_line(field, password)
}

fn in_one_line(field: &'static str, secret: &Secret) -> Result<(), Error> {
    if secret.reveal().chars().any(char::is_control) {
        return Err(invalid(field, "must not have control characters"));
    }
    Ok(())
}

/// The address of a peer, if one is given: of IPv4, as tunnels' own addresses are, and of another host.
pub(super) fn peer(field: &'static str, address: Option<HostAddress>) -> Result<(), Error> {
    match address.map(HostAddress::ip) {
        Some(IpAddr::V6(address)) => {
            Err(invalid(field, format!("{address} is no IPv4 address, as tunnels have")))
        }
        Some(IpAddr::V4(address)) if nobodys(&Cidr::host(address.into())).is_some() => {
            Err(invalid(field, format!("{address} is not the address of another host")))
        }
        _ => Ok(()),
    }
}

/// Networks behind a peer: at least one, of IPv4, apart from each other, of addresses that hosts have.
pub(super) fn networks(field: &'static str, networks: &[Cidr]) -> Result<(), Error> {
    if networks.is_empty() {
        return Err(invalid(field, "at least one network is needed"));
    }
    for (position, network) in networks.iter().enumerate() {
        if !network.is_ipv4() {
            return Err(invalid(field, format!("{network} is not of IPv4, which tunnels carry")));
        }
        if let Some(other) = networks.iter().take(position).find(|other| other.overlaps(network)) {
            return Err(invalid(field, format!("{network} and {other} overlap")));
        }
        if let Some(nobodys) = nobodys(network) {
            let reason = format!("{network} overlaps {nobodys}, where no host is");
            return Err(invalid(field, reason));
        }
    }
    Ok(())
}

fn nobodys(network: &Cidr) -> Option<Cidr> {
    let mut all = NOBODYS
        .into_iter()
        .filter_map(|(address, prefix)| format!("{address}/{prefix}").parse::<Cidr>().ok());
    all.find(|nobodys| nobodys.overlaps(network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn keys_have_as_many_characters_as_the_guide_lets_one_set() {
        let judged = |text: &str| key("psk", Some(&Secret::new(text)));
        assert!(key("psk", None).is_ok());
        for good in ["8 chars.".to_owned(), "ü".repeat(8), "k".repeat(256)] {
            assert!(judged(&good).is_ok(), "{good}");
        }
        assert_eq!(said(judged("")), "psk: must have 8 to 256 characters, not 0");
        assert_eq!(said(judged("7 chars")), "psk: must have 8 to 256 characters, not 7");
        assert_eq!(said(judged(&"k".repeat(257))), "psk: must have 8 to 256 characters, not 257");
        assert_eq!(said(judged("two\nlines")), "psk: must not have control characters");
    }

    #[test]
    fn passwords_fit_into_a_request_of_pap() {
        let judged = |text: &str| password("password", Some(&Secret::new(text)));
        for good in ["p".to_owned(), "p".repeat(255)] {
            assert!(judged(&good).is_ok(), "{good}");
        }
        assert_eq!(said(judged("")), "password: must have 1 to 255 bytes, not 0");
        assert_eq!(said(judged(&"ü".repeat(128))), "password: must have 1 to 255 bytes, not 256");
        assert_eq!(said(judged("a\0b")), "password: must not have control characters");
    }

    #[test]
    fn peers_and_their_networks_are_of_other_hosts() {
        let address = |text: &str| peer("address", Some(text.parse().unwrap()));
        assert!(address("203.0.113.9").is_ok());
        for bad in ["127.0.0.1", "0.1.2.3", "2001:db8::1"] {
            assert!(said(address(bad)).starts_with(&format!("address: {bad} is ")), "{bad}");
        }
        let behind = |all: &[&str]| {
            let all: Vec<Cidr> = all.iter().map(|text| text.parse().unwrap()).collect();
            networks("networks", &all)
        };
        assert!(behind(&["10.0.0.0/24", "10.0.1.0/24", "192.0.2.0/24"]).is_ok());
        for (bad, words) in [
            (&[][..], "at least one"),
            (&["2001:db8::/64"], "not of IPv4"),
            (&["10.0.0.0/16", "10.0.1.0/24"], "10.0.1.0/24 and 10.0.0.0/16 overlap"),
            (&["127.0.0.0/16"], "overlaps 127.0.0.0/8"),
            (&["0.0.0.0/0"], "overlaps 0.0.0.0/8"),
            (&["239.1.0.0/16"], "overlaps 224.0.0.0/4"),
        ] {
            assert!(said(behind(bad)).contains(words), "{bad:?}");
        }
    }
}
