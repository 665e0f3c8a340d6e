//! How fast one client may ask: a guest that floods the name service takes from itself alone.
//!
//! Guarantees: a fixed number of slots, so that a flood costs no memory; one look and two stores per question. A slot has one
//! client at a time: who comes new takes one whose client owes nothing, and where all of a row are in use, that of the one who
//! owes least, which is then let ask somewhat too much. So nobody pays for another's flood. The measure is the generic cell
//! rate algorithm (ITU-T I.371): a slot holds the time at which all that was asked would have been due.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of slots as a power of two; with [`WAYS`], many more slots than clients that ask at a time.
const ROW_BITS: u32 = 10;
/// Slots of a row: as many as a line of the processor's cache holds.
const WAYS: usize = 4;
/// A second: a client may ask as much at once as it may ask in one.
const BURST: u64 = 1_000_000_000;

/// What one client has asked of late.
#[derive(Debug, Default)]
struct Slot {
    client: AtomicU64,
    due: AtomicU64,
}

/// Slots that the same clients may have.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Row([Slot; WAYS]);

/// What clients have asked of late.
#[derive(Debug)]
pub(super) struct Limiter {
    rows: Box<[Row]>,
    /// An odd number that nobody knows.
    key: u64,
    /// Nanoseconds between two questions at the full rate; 0: as fast as they like.
    interval: AtomicU64,
}

impl Default for Limiter {
    fn default() -> Self {
        let rows = (0..1 << ROW_BITS).map(|_| Row::default()).collect();
        Self { rows, key: RandomState::new().hash_one(0) | 1, interval: AtomicU64::new(0) }
    }
}

impl Limiter {
    /// Lets each client ask `rate` questions a second from now on; 0 is any number.
    pub(super) fn configure(&self, rate: u32) {
        let interval = BURST.checked_div(rate.into()).unwrap_or(0);
        self.interval.store(interval, Ordering::Relaxed);
    }

    /// Whether `client` may ask one more; `now` is nanoseconds since any fixed instant.
    pub(super) fn admits(&self, client: IpAddr, now: u64) -> bool {
        let interval = self.interval.load(Ordering::Relaxed);
        if interval == 0 {
            return true;
        }
        let number = self.number(client);
        let at = usize::try_from(number >> (u64::BITS - ROW_BITS)).unwrap_or(0);
        let Some(slot) = self.rows.get(at).and_then(|row| row.slot(number)) else { return true };
        let owed = if slot.client.load(Ordering::Relaxed) == number {
            slot.due.load(Ordering::Relaxed)
        } else {
            slot.client.store(number, Ordering::Relaxed);
            0
        };
        let due = owed.max(now).saturating_add(interval);
        let admitted = due <= now.saturating_add(BURST);
        if admitted {
            // two threads that store at the same moment let one question through too many
            slot.due.store(due, Ordering::Relaxed);
        }
        admitted
    }

    /// The number of a client, which no other has (of IPv6 ones: but for one in 2^64); cheap, since every question pays for it.
    fn number(&self, client: IpAddr) -> u64 {
        match client {
            IpAddr::V4(address) => self.mixed(address.to_bits().into()),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)];
                let [high, low] = [high, low].map(|half| u64::try_from(half).unwrap_or(0));
                self.mixed(self.mixed(high) ^ low)
            }
        }
    }

    /// Twice multiplied, so that neighbours' rows have nothing to do with each other for any key. Two numbers never come to one,
    /// since the key is odd.
    fn mixed(&self, number: u64) -> u64 {
        let once = number.wrapping_mul(self.key);
        (once ^ (once >> 32)).wrapping_mul(self.key)
    }
}

impl Row {
    /// The slot of the client with this number, or the one that is best taken for it.
    fn slot(&self, number: u64) -> Option<&Slot> {
        let own = self.0.iter().find(|slot| slot.client.load(Ordering::Relaxed) == number);
        own.or_else(|| self.0.iter().min_by_key(|slot| slot.due.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_a_burst_and_then_its_rate_and_others_are_not_concerned() {
        let limiter = Limiter::default();
        let client = |last| IpAddr::from([10, 1, 1, last]);
        let flood = client(1);
        assert!((0..100_000).all(|_| limiter.admits(flood, 5)), "no limit, no count");
        limiter.configure(1000);
        let asked = |from: u64, client| {
            (0..10_000).filter(|number| limiter.admits(client, from + number * 100)).count()
        };
        // 10,000 questions within a millisecond
        assert_eq!(asked(BURST, flood), 1000);
        assert!((2..10).all(|last| limiter.admits(client(last), BURST)));
        assert_eq!(asked(2 * BURST, flood), 1000);
        assert_eq!(asked(2 * BURST + BURST / 2, flood), 500);
    }

    #[test]
    fn whatever_the_key_a_flood_is_nobody_else_s() {
        let flood = IpAddr::from([10, 1, 1, 1]);
        for _ in 0..200 {
            let limiter = Limiter::default();
            limiter.configure(1000);
            while limiter.admits(flood, BURST) {}
            // all the others of a network, one after the other and all at once
            let mut others = (2..=255).map(|last| IpAddr::from([10, 1, 1, last]));
            assert!(others.all(|other| limiter.admits(other, BURST)));
            assert!(!limiter.admits(flood, BURST), "its slot is its own");
        }
    }
}
