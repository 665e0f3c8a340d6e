//! A dynamic VHDX (MS-VHDX): headers and region tables twice, an empty log, metadata, the block table, then the blocks that
//! hold anything.

use std::io;

use super::disk::GuestDisk;
use super::used::Used;
use super::{MadeUp, copy, filled};
use crate::image::vhdx::{
    BLOCK_TABLE, DISK_ID, DISK_SIZE, FILE_PARAMETERS, Guid, LOGICAL_SECTOR, METADATA,
    PHYSICAL_SECTOR, crc32c,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Bytes of a block: the fewest that are allowed (MS-VHDX 2.6.2.1).
const BLOCK: u64 = MIB;
/// Blocks between two entries of bitmaps, with sectors of 512 bytes (MS-VHDX 2.5).
const RATIO: u64 = (512 << 23) / BLOCK;
const LOG: u64 = MIB;
const METADATA_AT: u64 = 2 * MIB;
const TABLE: u64 = 3 * MIB;
/// Values of metadata, from the start of their region.
const VALUES: u32 = 65_536;
/// Entries made at once.
const ENTRIES: u64 = 1024;
/// A block that is there.
const PRESENT: u64 = 6;

/// The file.
pub(super) struct Vhdx {
    disk: GuestDisk,
    used: Used,
    /// What is in front of the block table, by offset; zeros between.
    front: Vec<(u64, Vec<u8>)>,
    /// Where the blocks begin.
    blocks: u64,
}

impl Vhdx {
    pub(super) fn new(disk: GuestDisk) -> io::Result<Self> {
        let used = Used::of(&disk, BLOCK, 64)?;
        let count = disk.bytes().div_ceil(BLOCK);
        let entries = count + count.saturating_sub(1) / RATIO;
        let table = (entries * 8).next_multiple_of(MIB).max(MIB);
        let front = front(disk.bytes(), table)?;
        Ok(Self { disk, used, front, blocks: TABLE + table })
    }

    /// Entries of the block table from `first` on.
    fn table(&self, first: u64) -> Vec<u8> {
        let entry = |index: u64| {
            // the last of each group is of a bitmap, which only a difference has
            let (group, place) = (index / (RATIO + 1), index % (RATIO + 1));
            let block = (place < RATIO).then(|| group * RATIO + place);
            let rank = block.and_then(|block| self.used.rank(block));
            rank.map_or(0, |rank| (self.blocks + rank * BLOCK) | PRESENT).to_le_bytes()
        };
        (first..first + ENTRIES).flat_map(entry).collect()
    }
}

impl MadeUp for Vhdx {
    fn size(&self) -> u64 {
        self.blocks + self.used.count * BLOCK
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        if at < TABLE {
            let next = self.front.partition_point(|(start, _)| *start <= at);
            let before = next.checked_sub(1).and_then(|index| self.front.get(index));
            if let Some((start, bytes)) = before
                && at - start < super::as_u64(bytes.len())
            {
                return Ok(copy(bytes, *start, at, into));
            }
            let end = self.front.get(next).map_or(TABLE, |(start, _)| *start);
            return Ok(filled(0, end - at, into));
        }
        if at < self.blocks {
            let first = (at - TABLE) / 8 / ENTRIES * ENTRIES;
            return Ok(copy(&self.table(first), TABLE + first * 8, at, into));
        }
        let (rank, skip) = ((at - self.blocks) / BLOCK, (at - self.blocks) % BLOCK);
        let block = self.used.nth(rank).ok_or(io::ErrorKind::NotFound)?;
        self.disk.padded(block * BLOCK + skip, BLOCK - skip, into)
    }
}

fn front(size: u64, table: u64) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let table = u32::try_from(table)
        .map_err(|_| io::Error::new(io::ErrorKind::Unsupported, "too large for a VHDX"))?;
    let regions = regions(table);
    Ok(vec![
        (0, b"vhdxfile".to_vec()),
        (64 * KIB, header(1)),
        (128 * KIB, header(2)),
        (192 * KIB, regions.clone()),
        (256 * KIB, regions),
        (METADATA_AT, metadata(size)),
    ])
}

/// Writes `bytes` at `at`.
fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = block.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// With its checksum at 4 (MS-VHDX 2.2.2).
fn summed(mut block: Vec<u8>) -> Vec<u8> {
    let sum = crc32c(block.iter().copied());
    put(&mut block, 4, &sum.to_le_bytes());
    block
}

/// MS-VHDX 2.2.2: the one with the higher number counts; its log is empty.
fn header(number: u64) -> Vec<u8> {
    let mut block = vec![0; 4096];
    put(&mut block, 0, b"head");
    put(&mut block, 8, &number.to_le_bytes());
    put(&mut block, 16, b"sluice: the file"); // changes whenever it is written to
    put(&mut block, 32, b"sluice: the data");
    put(&mut block, 66, &1_u16.to_le_bytes()); // version
    put(&mut block, 68, &u32::try_from(MIB).unwrap_or(0).to_le_bytes());
    put(&mut block, 72, &LOG.to_le_bytes());
    summed(block)
}

/// MS-VHDX 2.2.3.
fn regions(table: u32) -> Vec<u8> {
    let mut block = vec![0; 65_536];
    put(&mut block, 0, b"regi");
    put(&mut block, 8, &2_u32.to_le_bytes());
    let own = u32::try_from(MIB).unwrap_or(0);
    for (at, guid, offset, length) in
        [(16, BLOCK_TABLE, TABLE, table), (48, METADATA, METADATA_AT, own)]
    {
        put(&mut block, at, &guid);
        put(&mut block, at + 16, &offset.to_le_bytes());
        put(&mut block, at + 24, &length.to_le_bytes());
        put(&mut block, at + 28, &1_u32.to_le_bytes()); // required
    }
    summed(block)
}

/// MS-VHDX 2.6: the table, and the values behind it.
fn metadata(size: u64) -> Vec<u8> {
    /// Required; and of the disk, not of the file.
    const FILE: u32 = 4;
    const DISK: u32 = 6;
    let mut id = *b"sluice\0\0\0\0\0\0\0\0\0\0";
    put(&mut id, 8, &size.to_be_bytes());
    let mut parameters = [0; 8];
    put(&mut parameters, 0, &u32::try_from(BLOCK).unwrap_or(0).to_le_bytes());
    let items: [(Guid, Vec<u8>, u32); 5] = [
        (FILE_PARAMETERS, parameters.to_vec(), FILE),
        (DISK_SIZE, size.to_le_bytes().to_vec(), DISK),
        (DISK_ID, id.to_vec(), DISK),
        (LOGICAL_SECTOR, 512_u32.to_le_bytes().to_vec(), DISK),
        (PHYSICAL_SECTOR, 4096_u32.to_le_bytes().to_vec(), DISK),
    ];
    let mut block = vec![0; 65_536];
    put(&mut block, 0, b"metadata");
    put(&mut block, 10, &5_u16.to_le_bytes());
    let mut value = VALUES;
    for (at, (guid, bytes, flags)) in (32..).step_by(32).zip(items) {
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        put(&mut block, at, &guid);
        put(&mut block, at + 16, &value.to_le_bytes());
        put(&mut block, at + 20, &length.to_le_bytes());
        put(&mut block, at + 24, &flags.to_le_bytes());
        block.extend(bytes);
        value += length;
    }
    block
}
