//! A dynamic VHD (Virtual Hard Disk Image Format Specification 1.0): footer, header, table, then the blocks that hold
//! anything, each behind its bitmap, and the footer again.

use std::io;

use super::disk::GuestDisk;
use super::used::Used;
use super::vhd::{DYNAMIC, footer, sum_up};
use super::{MadeUp, as_u64, copy, filled};

const SECTOR: u64 = 512;
/// Bytes of a block, and of its bitmap.
const BLOCK: u64 = 2 << 20;
const BITMAP: u64 = SECTOR;
/// Where the header and the table are.
const HEADER: u64 = SECTOR;
const TABLE: u64 = HEADER + 1024;
/// Entries made at once.
const ENTRIES: u64 = 1024;

/// The file.
pub(super) struct DynamicVhd {
    disk: GuestDisk,
    used: Used,
    footer: Vec<u8>,
    header: Vec<u8>,
    /// Where the blocks begin, and end.
    blocks: u64,
    end: u64,
}

impl DynamicVhd {
    pub(super) fn new(disk: GuestDisk) -> io::Result<Self> {
        let used = Used::of(&disk, BLOCK, 64)?;
        let entries = disk.bytes().div_ceil(BLOCK);
        let blocks = TABLE + (entries * 4).next_multiple_of(SECTOR);
        let end = blocks + used.count * (BITMAP + BLOCK);
        if end / SECTOR >= u64::from(u32::MAX) || entries > u64::from(u32::MAX) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "too large for a VHD"));
        }
        let footer = footer(disk.bytes(), DYNAMIC, HEADER);
        Ok(Self { header: header(entries), disk, used, footer, blocks, end })
    }

    /// Entries of the table from `first` on.
    fn table(&self, first: u64) -> Vec<u8> {
        let entry = |index: u64| match self.used.rank(index) {
            Some(rank) => (self.blocks + rank * (BITMAP + BLOCK)) / SECTOR,
            None => u32::MAX.into(),
        };
        let entry = |index| u32::try_from(entry(index)).unwrap_or(u32::MAX).to_be_bytes();
        (first..first + ENTRIES).flat_map(entry).collect()
    }
}

impl MadeUp for DynamicVhd {
    fn size(&self) -> u64 {
        self.end + SECTOR
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        if at >= self.end {
            return Ok(copy(&self.footer, self.end, at, into));
        }
        if at < HEADER {
            return Ok(copy(&self.footer, 0, at, into));
        }
        if at < TABLE {
            return Ok(copy(&self.header, HEADER, at, into));
        }
        if at < self.blocks {
            let first = (at - TABLE) / 4 / ENTRIES * ENTRIES;
            let mut table = self.table(first);
            let start = TABLE + first * 4;
            table.truncate(usize::try_from(self.blocks - start).unwrap_or(usize::MAX));
            return Ok(copy(&table, start, at, into));
        }
        let (rank, skip) =
            ((at - self.blocks) / (BITMAP + BLOCK), (at - self.blocks) % (BITMAP + BLOCK));
        if skip < BITMAP {
            return Ok(filled(0xff, BITMAP - skip, into));
        }
        let block = self.used.nth(rank).ok_or(io::ErrorKind::NotFound)?;
        let skip = skip - BITMAP;
        self.disk.padded(block * BLOCK + skip, BLOCK - skip, into)
    }
}

fn header(entries: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    bytes.extend(b"cxsparse");
    bytes.extend(u64::MAX.to_be_bytes()); // nothing follows
    bytes.extend(TABLE.to_be_bytes());
    bytes.extend(0x1_0000_u32.to_be_bytes()); // version 1.0
    bytes.extend(u32::try_from(entries).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(u32::try_from(BLOCK).unwrap_or(u32::MAX).to_be_bytes());
    let sum_at = bytes.len();
    debug_assert_eq!(as_u64(sum_at), 36);
    bytes.resize(1024, 0); // no parent
    sum_up(&mut bytes, sum_at);
    bytes
}
