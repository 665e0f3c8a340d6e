//! A qcow2 image (QEMU docs/interop/qcow2.txt), version 3, made up while it is read: header, refcounts, tables, then the
//! clusters that hold anything, in the order of the disk. What holds nothing is not allocated.

use std::io;

use super::disk::GuestDisk;
use super::used::Used;
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
        let used = Used::of(&disk, CLUSTER, ENTRIES)?;
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
        self.disk.padded(cluster * CLUSTER + skip, CLUSTER - skip, into)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refcounts_cover_themselves() {
        for count in [0, 1, 32_000, 32_766, 32_767, 32_768, 40_000_000] {
            let used = Used::made_up(count, vec![0; 7]);
            let layout = Layout::of(1 << 40, &used);
            assert!(layout.count_blocks * COUNTS >= layout.end, "{count}: {layout:?}");
            assert!(layout.count_tables * ENTRIES >= layout.count_blocks, "{count}: {layout:?}");
        }
    }
}
