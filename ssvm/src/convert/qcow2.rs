//! A qcow2 image (QEMU docs/interop/qcow2.txt), version 3, made up while it is read: header, refcounts, tables, then the
//! clusters that hold anything, in the order of the disk. What holds nothing is not allocated.

use std::io;

use super::disk::GuestDisk;
use super::{MadeUp, as_u64, copy};

const BITS: u32 = 16;
/// Bytes of a cluster.
const CLUSTER: u64 = 1 << BITS;
/// Entries of an L2 table, and of a cluster of the L1 or refcount table.
const ENTRIES: u64 = CLUSTER / 8;
/// Refcounts of a block, two bytes each.
const COUNTS: u64 = CLUSTER / 2;
/// A cluster that is used once.
const COPIED: u64 = 1 << 63;
/// Largest disk: what its bitmap costs is bounded so.
const MOST: u64 = 64 << 40;

/// The file.
pub(super) struct Qcow2File {
    disk: GuestDisk,
    /// Which clusters of the disk hold anything.
    used: Used,
    layout: Layout,
}

/// Where everything is, in clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Entries of the L1 table.
    l1_entries: u64,
    /// Clusters of the refcount table, behind the header.
    count_tables: u64,
    count_blocks: u64,
    l1: u64,
    l2: u64,
    data: u64,
    end: u64,
}

impl Qcow2File {
    pub(super) fn new(disk: GuestDisk) -> io::Result<Self> {
        if disk.bytes() > MOST {
            return Err(io::Error::other("the disk is larger than 64 TiB"));
        }
        let used = Used::of(&disk)?;
        let layout = Layout::of(disk.bytes(), &used);
        Ok(Self { disk, used, layout })
    }

    /// The cluster `number` of the file, of which none holds data.
    fn table(&self, number: u64) -> Vec<u8> {
        let layout = &self.layout;
        let blocks = 1 + layout.count_tables;
        if number == 0 {
            return header(self.disk.bytes(), layout);
        }
        let word = |index: u64| -> u64 {
            if number < blocks {
                let block = (number - 1) * ENTRIES + index;
                if block < layout.count_blocks { (blocks + block) * CLUSTER } else { 0 }
            } else if number < layout.l2 {
                self.l1_entry((number - layout.l1) * ENTRIES + index)
            } else {
                self.l2_entry(number - layout.l2, index)
            }
        };
        if (blocks..layout.l1).contains(&number) {
            let first = (number - blocks) * COUNTS;
            let count = |index| u16::from(first + index < layout.end).to_be_bytes();
            return (0..COUNTS).flat_map(count).collect();
        }
        (0..ENTRIES).flat_map(|index| word(index).to_be_bytes()).collect()
    }

    fn l1_entry(&self, index: u64) -> u64 {
        match self.used.table_rank(index) {
            Some(rank) => ((self.layout.l2 + rank) * CLUSTER) | COPIED,
            None => 0,
        }
    }

    /// An entry of the L2 table that is the `rank`th in the file.
    fn l2_entry(&self, rank: u64, index: u64) -> u64 {
        let cluster = self.used.tables.get(usize::try_from(rank).unwrap_or(usize::MAX));
        let rank = cluster.and_then(|table| self.used.rank(table * ENTRIES + index));
        rank.map_or(0, |rank| ((self.layout.data + rank) * CLUSTER) | COPIED)
    }

    /// Bytes of the disk from one cluster that holds something; beyond its end zeros.
    fn data(&self, number: u64, skip: u64, into: &mut [u8]) -> io::Result<usize> {
        let cluster = self.used.nth(number - self.layout.data).ok_or(io::ErrorKind::NotFound)?;
        let (at, end) = (cluster * CLUSTER + skip, (cluster + 1) * CLUSTER);
        let length = into.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let there = self.disk.bytes().saturating_sub(at).min(as_u64(length));
        let there = usize::try_from(there).unwrap_or(length);
        let (bytes, beyond) = into.get_mut(..length).unwrap_or_default().split_at_mut(there);
        if !bytes.is_empty() {
            self.disk.read(at, bytes)?;
        }
        beyond.fill(0);
        Ok(length)
    }
}

impl MadeUp for Qcow2File {
    fn size(&self) -> u64 {
        self.layout.end * CLUSTER
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let number = at / CLUSTER;
        if number < self.layout.data {
            return Ok(copy(&self.table(number), number * CLUSTER, at, into));
        }
        self.data(number, at % CLUSTER, into)
    }
}

impl Layout {
    fn of(size: u64, used: &Used) -> Self {
        let l1_entries = size.div_ceil(CLUSTER * ENTRIES);
        let l1_clusters = l1_entries.div_ceil(ENTRIES);
        let others = 1 + l1_clusters + as_u64(used.tables.len()) + used.count;
        // refcounts count themselves as well
        let (mut count_tables, mut count_blocks) = (1, 1);
        loop {
            let end = others + count_tables + count_blocks;
            let blocks = end.div_ceil(COUNTS);
            let tables = blocks.div_ceil(ENTRIES);
            if (tables, blocks) == (count_tables, count_blocks) {
                break;
            }
            (count_tables, count_blocks) = (tables.max(count_tables), blocks.max(count_blocks));
        }
        let l1 = 1 + count_tables + count_blocks;
        let l2 = l1 + l1_clusters;
        let data = l2 + as_u64(used.tables.len());
        Self { l1_entries, count_tables, count_blocks, l1, l2, data, end: data + used.count }
    }
}

fn header(size: u64, layout: &Layout) -> Vec<u8> {
    let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = Vec::with_capacity(usize::try_from(CLUSTER).unwrap_or_default());
    bytes.extend(b"QFI\xfb");
    bytes.extend(3_u32.to_be_bytes());
    bytes.extend([0; 12]); // no backing file
    bytes.extend(BITS.to_be_bytes());
    bytes.extend(size.to_be_bytes());
    bytes.extend([0; 4]); // not encrypted
    bytes.extend(short(layout.l1_entries));
    bytes.extend((layout.l1 * CLUSTER).to_be_bytes());
    bytes.extend(CLUSTER.to_be_bytes()); // refcount table
    bytes.extend(short(layout.count_tables));
    bytes.extend([0; 12]); // no snapshots
    bytes.extend([0; 24]); // no features
    bytes.extend(4_u32.to_be_bytes()); // refcounts of 16 bits
    bytes.extend(104_u32.to_be_bytes()); // length of the header
    bytes.resize(usize::try_from(CLUSTER).unwrap_or_default(), 0);
    bytes
}

/// Which clusters of a disk hold anything: a bit each, with sums by which one is found from its number and the other way round.
struct Used {
    bits: Vec<u64>,
    /// How many bits are set before each word.
    before: Vec<u64>,
    count: u64,
    /// L2 tables that have any, by their number; sorted.
    tables: Vec<u64>,
}

impl Used {
    fn of(disk: &GuestDisk) -> io::Result<Self> {
        let clusters = disk.bytes().div_ceil(CLUSTER);
        let words = usize::try_from(clusters.div_ceil(64)).map_err(io::Error::other)?;
        let mut bits = vec![0_u64; words];
        let mut at = 0;
        while at < disk.bytes() {
            let (hole, length) = disk.extent(at)?;
            if !hole {
                for cluster in at / CLUSTER..(at + length).div_ceil(CLUSTER) {
                    set(&mut bits, cluster);
                }
            }
            at += length;
        }
        Ok(Self::summed(bits))
    }

    fn summed(bits: Vec<u64>) -> Self {
        let (mut count, mut before) = (0, Vec::with_capacity(bits.len()));
        let mut tables: Vec<u64> = Vec::new();
        for (index, word) in bits.iter().enumerate() {
            before.push(count);
            count += u64::from(word.count_ones());
            let table = as_u64(index) * 64 / ENTRIES;
            if *word != 0 && tables.last() != Some(&table) {
                tables.push(table);
            }
        }
        Self { bits, before, count, tables }
    }

    /// The number of `cluster` among those that hold anything, if it does.
    fn rank(&self, cluster: u64) -> Option<u64> {
        let index = usize::try_from(cluster / 64).ok()?;
        let (word, bit) = (*self.bits.get(index)?, cluster % 64);
        let below = (word & ((1 << bit) - 1)).count_ones();
        (word >> bit & 1 == 1).then_some(self.before.get(index)? + u64::from(below))
    }

    /// The cluster with this number.
    fn nth(&self, rank: u64) -> Option<u64> {
        let index = self.before.partition_point(|before| *before <= rank).checked_sub(1)?;
        let (mut word, mut left) = (*self.bits.get(index)?, rank - self.before.get(index)?);
        while left > 0 {
            word &= word.checked_sub(1)?;
            left -= 1;
        }
        (word != 0).then(|| as_u64(index) * 64 + u64::from(word.trailing_zeros()))
    }

    /// The number of an L2 table among those that are there.
    fn table_rank(&self, table: u64) -> Option<u64> {
        self.tables.binary_search(&table).ok().map(as_u64)
    }
}

fn set(bits: &mut [u64], cluster: u64) {
    let index = usize::try_from(cluster / 64).unwrap_or(usize::MAX);
    if let Some(word) = bits.get_mut(index) {
        *word |= 1 << (cluster % 64);
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
        let used = Used::summed(bits);
        assert_eq!(used.tables, [0, 1, 2]);
        for (rank, cluster) in clusters.into_iter().enumerate() {
            assert_eq!(used.rank(cluster), Some(rank as u64), "{cluster}");
            assert_eq!(used.nth(rank as u64), Some(cluster), "{rank}");
        }
        assert_eq!(used.rank(2), None);
        assert_eq!(used.nth(clusters.len() as u64), None);
    }

    #[test]
    fn refcounts_cover_themselves() {
        for count in [0, 1, 32_000, 32_766, 32_767, 32_768, 40_000_000] {
            let used = Used { bits: Vec::new(), before: Vec::new(), count, tables: vec![0; 7] };
            let layout = Layout::of(1 << 40, &used);
            assert!(layout.count_blocks * COUNTS >= layout.end, "{count}: {layout:?}");
            assert!(layout.count_tables * ENTRIES >= layout.count_blocks, "{count}: {layout:?}");
        }
    }
}
