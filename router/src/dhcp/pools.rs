//! What may be lent on a link: the pools of its networks without what somebody has for good.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use sluice_api::types::{AddressRange, MacAddr};

use super::slice::NetworkSlice;

/// The pools of one network, or of all on a link.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    ranges: Vec<AddressRange>,
    /// Addresses in the ranges, kept ones included.
    total: u32,
    /// The gateway's and the listed guests'.
    kept: HashSet<Ipv4Addr>,
    capacity: usize,
}

/// One of a link's ranges: where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RangeId(Ipv4Addr);

impl RangeId {
    fn of(range: AddressRange) -> Self {
        Self(range.first())
    }
}

/// Tells pools of one link from each other: where they begin, and how many addresses they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolsId(Ipv4Addr, u32);

impl Pools {
    /// The pools of `slices`, which are one network or all on a link; `None` for networks that lend nothing, where a client that is not listed is a stranger.
    pub(crate) fn of(slices: &[&NetworkSlice]) -> Option<Self> {
        let ranges: Vec<_> = slices.iter().flat_map(|slice| &slice.pools).copied().collect();
        if ranges.is_empty() {
            return None;
        }
        let kept = slices.iter().flat_map(|slice| {
            let reserved = slice.guests.iter().map(|guest| guest.address);
            reserved.chain(slice.kept.iter().copied()).chain([slice.gateway])
        });
        let kept: HashSet<_> =
            kept.filter(|address| ranges.iter().any(|range| range.contains(*address))).collect();
        let total: u32 = ranges.iter().map(|range| range.len()).sum();
        let capacity = usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(kept.len());
        Some(Self { ranges, total, kept, capacity })
    }

    /// What tells them from others of the link.
    pub(crate) fn id(&self) -> PoolsId {
        let first = self.ranges.first().and_then(|range| range.nth(0));
        PoolsId(first.unwrap_or(Ipv4Addr::UNSPECIFIED), self.total)
    }

    /// Its ranges.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = RangeId> {
        self.ranges.iter().copied().map(RangeId::of)
    }

    /// The range that `address` is lent from, if it may be lent at all.
    pub(crate) fn range_of(&self, address: Ipv4Addr) -> Option<RangeId> {
        let range = self.ranges.iter().find(|range| range.contains(address))?;
        (!self.kept.contains(&address)).then(|| RangeId::of(*range))
    }

    /// Whether `address` may be lent at all.
    pub(crate) fn lends(&self, address: Ipv4Addr) -> bool {
        self.range_of(address).is_some()
    }

    /// How many addresses may be lent.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Every address that may be lent, beginning with the one that is `mac`'s first.
    pub(crate) fn beginning_at(&self, mac: MacAddr) -> impl Iterator<Item = Ipv4Addr> {
        let first = spread(mac) % self.total.max(1);
        let indices = (first..self.total).chain(0..first);
        indices.filter_map(|index| self.nth(index)).filter(|address| !self.kept.contains(address))
    }

    fn nth(&self, mut index: u32) -> Option<Ipv4Addr> {
        for range in &self.ranges {
            match range.nth(index) {
                Some(address) => return Some(address),
                None => index -= range.len(),
            }
        }
        None
    }
}

/// FNV-1a, 32 bits: the same on every router and in every version, which is what matters here.
fn spread(mac: MacAddr) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    mac.bytes().into_iter().fold(0x811c_9dc5, step)
}
