//! Which parts of a disk hold anything, for formats that leave out what does not.

use std::io;

use super::as_u64;
use super::disk::GuestDisk;

/// Largest disk: what its bitmap costs is bounded so.
const MOST: u64 = 64 << 40;

/// Which pieces of a disk hold anything: a bit each, with sums by which one is found from its number and the other way round.
pub(super) struct Used {
    bits: Vec<u64>,
    /// How many bits are set before each word.
    before: Vec<u64>,
    pub(super) count: u64,
    /// Groups of pieces, each as large as a table of the format, that have any; sorted.
    pub(super) tables: Vec<u64>,
}

impl Used {
    /// Those of `unit` bytes, of which `group` (a multiple of 64) are in a table.
    pub(super) fn of(disk: &GuestDisk, unit: u64, group: u64) -> io::Result<Self> {
        if disk.bytes() > MOST {
            return Err(io::Error::other("the disk is larger than 64 TiB"));
        }
        let clusters = disk.bytes().div_ceil(unit);
        let words = usize::try_from(clusters.div_ceil(64)).map_err(io::Error::other)?;
        let mut bits = vec![0_u64; words];
        let mut at = 0;
        while at < disk.bytes() {
            let (hole, length) = disk.extent(at)?;
            if !hole {
                for cluster in at / unit..(at + length).div_ceil(unit) {
                    if !disk.is_plain() || holds_any(disk, cluster * unit, unit)? {
                        set(&mut bits, cluster);
                    }
                }
            }
            at += length;
        }
        Ok(Self::summed(bits, group))
    }

    fn summed(bits: Vec<u64>, group: u64) -> Self {
        let (mut count, mut before) = (0, Vec::with_capacity(bits.len()));
        let mut tables: Vec<u64> = Vec::new();
        for (index, word) in bits.iter().enumerate() {
            before.push(count);
            count += u64::from(word.count_ones());
            let table = as_u64(index) * 64 / group;
            if *word != 0 && tables.last() != Some(&table) {
                tables.push(table);
            }
        }
        Self { bits, before, count, tables }
    }

    /// The number of `cluster` among those that hold anything, if it does.
    pub(super) fn rank(&self, cluster: u64) -> Option<u64> {
        let index = usize::try_from(cluster / 64).ok()?;
        let (word, bit) = (*self.bits.get(index)?, cluster % 64);
        let below = (word & ((1 << bit) - 1)).count_ones();
        (word >> bit & 1 == 1).then_some(self.before.get(index)? + u64::from(below))
    }

    /// How many of those before `cluster` hold anything.
    pub(super) fn before(&self, cluster: u64) -> u64 {
        let Ok(index) = usize::try_from(cluster / 64) else { return self.count };
        let (Some(word), Some(before)) = (self.bits.get(index), self.before.get(index)) else {
            return self.count;
        };
        before + u64::from((word & ((1 << (cluster % 64)) - 1)).count_ones())
    }

    /// The cluster with this number.
    pub(super) fn nth(&self, rank: u64) -> Option<u64> {
        let index = self.before.partition_point(|before| *before <= rank).checked_sub(1)?;
        let (mut word, mut left) = (*self.bits.get(index)?, rank - self.before.get(index)?);
        while left > 0 {
            word &= word.checked_sub(1)?;
            left -= 1;
        }
        (word != 0).then(|| as_u64(index) * 64 + u64::from(word.trailing_zeros()))
    }

    /// The number of an L2 table among those that are there.
    pub(super) fn table_rank(&self, table: u64) -> Option<u64> {
        self.tables.binary_search(&table).ok().map(as_u64)
    }
}

/// Whether anything but zeros stands in a piece: plain sectors do not say it by themselves, and where their file has holes may
/// change from one attempt to the next.
fn holds_any(disk: &GuestDisk, at: u64, unit: u64) -> io::Result<bool> {
    let mut block = vec![0; 65_536];
    let (mut at, end) = (at, (at + unit).min(disk.bytes()));
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(block.len());
        let some = block.get_mut(..length).unwrap_or_default();
        disk.read(at, some)?;
        if some.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        at += as_u64(length);
    }
    Ok(false)
}

fn set(bits: &mut [u64], cluster: u64) {
    let index = usize::try_from(cluster / 64).unwrap_or(usize::MAX);
    if let Some(word) = bits.get_mut(index) {
        *word |= 1 << (cluster % 64);
    }
}

#[cfg(test)]
impl Used {
    /// One that only says how many there are.
    pub(super) const fn made_up(count: u64, tables: Vec<u64>) -> Self {
        Self { bits: Vec::new(), before: Vec::new(), count, tables }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_and_its_number_find_each_other() {
        let mut bits = vec![0; 300];
        let clusters = [0, 1, 63, 64, 700, 8191, 8192, 19_199];
        for cluster in clusters {
            set(&mut bits, cluster);
        }
        let used = Used::summed(bits, 8192);
        assert_eq!(used.tables, [0, 1, 2]);
        for (rank, cluster) in clusters.into_iter().enumerate() {
            assert_eq!(used.rank(cluster), Some(rank as u64), "{cluster}");
            assert_eq!(used.nth(rank as u64), Some(cluster), "{rank}");
        }
        assert_eq!(used.rank(2), None);
        assert_eq!(used.nth(clusters.len() as u64), None);
    }
}
