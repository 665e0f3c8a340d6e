//! Pools of numbered items as sorted, disjoint intervals.

use std::net::{IpAddr, Ipv4Addr};

use sha2::{Digest, Sha256};
use sluice_api::types::Cidr;

/// Items from `first` to `last`, both included; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    first: i64,
    last: i64,
}

impl Interval {
    /// The interval, or `None` when it would be empty.
    pub fn new(first: i64, last: i64) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Lowest item.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// Highest item.
    pub fn last(&self) -> i64 {
        self.last
    }

    fn len(self) -> u64 {
        self.last.abs_diff(self.first).saturating_add(1)
    }
}

/// A pool: which items there are, whoever has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    intervals: Vec<Interval>,
}

impl Pool {
    /// The union of `intervals`, which may touch and overlap.
    pub fn new(intervals: impl IntoIterator<Item = Interval>) -> Self {
        let mut sorted: Vec<_> = intervals.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<Interval> = Vec::with_capacity(sorted.len());
        for next in sorted {
            match merged.last_mut() {
                Some(open) if next.first <= open.last.saturating_add(1) => {
                    open.last = open.last.max(next.last);
                }
                _ => merged.push(next),
            }
        }
        Self { intervals: merged }
    }

    /// IPv4 addresses `first` to `last`; empty when they are the wrong way round.
    pub fn addresses(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        Self::new(Interval::new(i64::from(u32::from(first)), i64::from(u32::from(last))))
    }

    /// The host addresses of an IPv4 network; empty for IPv6.
    pub fn hosts(cidr: Cidr) -> Self {
        let (IpAddr::V4(first), IpAddr::V4(last)) = (cidr.network(), cidr.last()) else {
            return Self::default();
        };
        let edge = u32::from(cidr.prefix() < 31);
        let first = u32::from(first).saturating_add(edge);
        let last = u32::from(last).saturating_sub(edge);
        Self::new(Interval::new(i64::from(first), i64::from(last)))
    }

    /// The pool without `item`.
    #[must_use]
    pub fn without(self, item: i64) -> Self {
        let split = |part: Interval| {
            if !(part.first..=part.last).contains(&item) {
                return [Some(part), None];
            }
            [Interval::new(part.first, item - 1), Interval::new(item + 1, part.last)]
        };
        Self { intervals: self.intervals.into_iter().flat_map(split).flatten().collect() }
    }

    /// The pool without the IPv4 addresses `first` to `last`.
    #[must_use]
    pub fn without_addresses(self, first: Ipv4Addr, last: Ipv4Addr) -> Self {
        let [first, last] = [first, last].map(|address| i64::from(u32::from(address)));
        let split = |part: Interval| {
            let before = Interval::new(part.first, part.last.min(first - 1));
            [before, Interval::new(part.first.max(last + 1), part.last)]
        };
        Self { intervals: self.intervals.into_iter().flat_map(split).flatten().collect() }
    }

    /// The pool without its first `count` items.
    #[must_use]
    pub fn without_first(mut self, count: i64) -> Self {
        if let Some(first) = self.intervals.first().map(|part| part.first) {
            let from = first.saturating_add(count);
            self.intervals.retain(|part| part.last >= from);
            for part in &mut self.intervals {
                part.first = part.first.max(from);
            }
        }
        self
    }

    /// True when `item` is one of the pool.
    pub fn contains(&self, item: i64) -> bool {
        self.intervals.iter().any(|part| (part.first..=part.last).contains(&item))
    }

    /// How many items there are.
    pub fn len(&self) -> u64 {
        self.intervals.iter().map(|part| part.len()).sum()
    }

    /// True when there is no item.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// The pool cut into intervals in search order: from the item that `seed` picks to the end, then from the beginning.
    pub fn search(&self, seed: u64) -> Vec<Interval> {
        let Some(start) = self.nth(seed.checked_rem(self.len()).unwrap_or(0)) else {
            return Vec::new();
        };
        let after = self.intervals.iter().filter_map(|p| Interval::new(p.first.max(start), p.last));
        let before =
            self.intervals.iter().filter_map(|p| Interval::new(p.first, p.last.min(start - 1)));
        after.chain(before).collect()
    }

    fn nth(&self, mut index: u64) -> Option<i64> {
        for part in &self.intervals {
            if index < part.len() {
                return part.first.checked_add_unsigned(index);
            }
            index -= part.len();
        }
        None
    }
}

/// Where the search for `owner` in `pool` starts: the same question has the same answer.
pub fn seed(pool: &str, owner: &str) -> u64 {
    let digest = Sha256::new().chain_update(pool).chain_update([0]).chain_update(owner).finalize();
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn items(parts: &[Interval]) -> Vec<i64> {
        parts.iter().flat_map(|part| part.first..=part.last).collect()
    }

    fn pools() -> impl Strategy<Value = Pool> {
        proptest::collection::vec((0_i64..60, 0_i64..12), 0..6).prop_map(|parts| {
            Pool::new(parts.into_iter().filter_map(|(at, len)| Interval::new(at, at + len)))
        })
    }

    proptest! {
        #[test]
        fn a_search_visits_each_item_once(pool in pools(), seed: u64) {
            let visited = items(&pool.search(seed));
            let set: BTreeSet<_> = visited.iter().copied().collect();
            prop_assert_eq!(visited.len(), set.len());
            prop_assert_eq!(set, items(&pool.intervals).into_iter().collect());
            prop_assert_eq!(visited.len() as u64, pool.len());
        }

        #[test]
        fn without_removes_that_item_alone(pool in pools(), item in 0_i64..80) {
            let mut expected: BTreeSet<_> = items(&pool.intervals).into_iter().collect();
            expected.remove(&item);
            let rest = pool.without(item);
            prop_assert_eq!(items(&rest.intervals).into_iter().collect::<BTreeSet<_>>(), expected);
            prop_assert!(!rest.contains(item));
        }

        #[test]
        fn intervals_stay_sorted_and_apart(pool in pools()) {
            for pair in pool.intervals.windows(2) {
                prop_assert!(pair[0].last + 1 < pair[1].first);
            }
        }
    }

    #[test]
    fn hosts_leave_out_network_and_broadcast() {
        let pool = Pool::hosts("10.1.1.0/24".parse().unwrap());
        assert_eq!(pool.len(), 254);
        assert!(!pool.contains(i64::from(u32::from(Ipv4Addr::new(10, 1, 1, 0)))));
        assert!(!pool.contains(i64::from(u32::from(Ipv4Addr::new(10, 1, 1, 255)))));
        assert_eq!(Pool::hosts("10.1.1.0/31".parse().unwrap()).len(), 2);
        assert_eq!(Pool::hosts("2001:db8::/64".parse().unwrap()).len(), 0);
    }

    #[test]
    fn an_empty_pool_is_searched_in_vain() {
        assert!(Pool::default().search(7).is_empty());
    }
}
