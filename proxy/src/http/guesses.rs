//! A bound on wrong links per address. A token of 32 random bytes is not found by trying; this keeps the log readable and
//! tells whoever tries that it is seen.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong links per address and window.
const MOST: u32 = 20;
const WINDOW: Duration = Duration::from_mins(1);
/// Bits of an IPv6 address that whoever has one can choose.
const CHOSEN: u32 = 64;
/// Addresses remembered.
const ADDRESSES: usize = 4096;

/// Wrong links of the last minute.
#[derive(Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Guesses {
    /// Whether an address tried too often.
    pub(super) fn too_many(&self, from: IpAddr, now: Instant) -> bool {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(&whose(from)).is_some_and(|(count, begun)| *count >= MOST && now < *begun + WINDOW)
    }

    /// Notes a wrong link.
    pub(super) fn wrong(&self, from: IpAddr, now: Instant) {
        let from = whose(from);
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.len() >= ADDRESSES {
            book.retain(|_, (_, begun)| now < *begun + WINDOW);
        }
        if book.len() >= ADDRESSES && !book.contains_key(&from) {
            return;
        }
        let entry = book.entry(from).or_insert((0, now));
        if now >= entry.1 + WINDOW {
            *entry = (0, now);
        }
        entry.0 += 1;
    }
}

/// By what somebody is known: an IPv4 address, or the /64 that an IPv6 host chooses its addresses from.
fn whose(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> CHOSEN << CHOSEN).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_guesses_waits_a_minute_and_no_other_does() {
        let guesses = Guesses::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        for _ in 0..MOST {
            assert!(!guesses.too_many(one, now));
            guesses.wrong(one, now);
        }
        assert!(guesses.too_many(one, now) && !guesses.too_many(other, now));
        assert!(!guesses.too_many(one, now + WINDOW));
    }

    #[test]
    fn another_address_of_the_same_network_is_nobody_else() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for number in 0..MOST {
            guesses.wrong(format!("2001:db8:1:2::{number}").parse().unwrap(), now);
        }
        assert!(guesses.too_many("2001:db8:1:2:ffff::1".parse().unwrap(), now));
        assert!(!guesses.too_many("2001:db8:1:3::1".parse().unwrap(), now));
        assert_eq!(whose("::ffff:192.0.2.1".parse().unwrap()), whose("192.0.2.1".parse().unwrap()));
    }
}
