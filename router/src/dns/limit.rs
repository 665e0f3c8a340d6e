//! How fast one client may ask: a guest that floods the name service takes from itself alone.
//!
//! Guarantees: a fixed number of slots, so that a flood costs no memory; one look and one exchange per question. Clients share
//! a slot by chance, which only matters while one of them floods; who shares with whom cannot be foreseen. The measure is the
//! generic cell rate algorithm (ITU-T I.371): a slot holds the time at which all that was asked would have been due.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots as a power of two; many more than clients that flood at a time.
const SLOT_BITS: u32 = 12;
/// A second: a client may ask as much at once as it may ask in one.
const BURST: u64 = 1_000_000_000;

/// What clients have asked of late.
#[derive(Debug)]
pub(super) struct Limiter {
    slots: Box<[AtomicU64]>,
    /// An odd number that nobody knows.
    key: u64,
    /// Nanoseconds between two questions at the full rate; 0: as fast as they like.
    interval: AtomicU64,
}

impl Default for Limiter {
    fn default() -> Self {
        let slots = (0..1 << SLOT_BITS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, key: RandomState::new().hash_one(0) | 1, interval: AtomicU64::new(0) }
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
        let Some(slot) = self.slots.get(self.slot(client)) else { return true };
        let due = slot.load(Ordering::Relaxed).max(now).saturating_add(interval);
        let admitted = due <= now.saturating_add(BURST);
        if admitted {
            // two threads that store at the same moment let one question through too many
            slot.store(due, Ordering::Relaxed);
        }
        admitted
    }
}

impl Limiter {
    /// The number of a client's slot; cheap, since every question pays for it.
    fn slot(&self, client: IpAddr) -> usize {
        let hash = match client {
            IpAddr::V4(address) => self.mixed(address.to_bits().into()),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)];
                let [high, low] = [high, low].map(|half| u64::try_from(half).unwrap_or(0));
                self.mixed(self.mixed(high) ^ low)
            }
        };
        usize::try_from(hash >> (u64::BITS - SLOT_BITS)).unwrap_or(0)
    }

    /// Twice multiplied, so that neighbours' slots have nothing to do with each other for any key.
    fn mixed(&self, number: u64) -> u64 {
        let once = number.wrapping_mul(self.key);
        (once ^ (once >> 32)).wrapping_mul(self.key)
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
        // one may share the slot by chance
        assert!((2..10).filter(|last| limiter.admits(client(*last), BURST)).count() >= 6);
        assert_eq!(asked(2 * BURST, flood), 1000);
        assert_eq!(asked(2 * BURST + BURST / 2, flood), 500);
    }
}
