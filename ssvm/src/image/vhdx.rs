//! VHDX (MS-VHDX).

use super::bytes::Bytes;
use super::layout::Block;
use super::refusal::{Judgement, RefusalCode, ensure, refuse};
use super::{Format, Inspection};

const KIB: u64 = 1024;
/// The two headers and the two region tables (MS-VHDX 2.2).
const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
const REGION_TABLES: [u64; 2] = [192 * KIB, 256 * KIB];
const TABLE: u64 = 64 * KIB;
/// Most entries of a region or metadata table (MS-VHDX 2.2.3.1, 2.6.1.1).
const ENTRIES: usize = 2047;

/// A GUID as it stands in the file: its first three groups are little-endian.
pub(crate) type Guid = [u8; 16];

const fn guid(first: u32, second: u16, third: u16, rest: [u8; 8]) -> Guid {
    let (a, b, c, r) = (first.to_le_bytes(), second.to_le_bytes(), third.to_le_bytes(), rest);
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]]
}

pub(crate) const BLOCK_TABLE: Guid =
    guid(0x2dc2_7766, 0xf623, 0x4200, [0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08]);
pub(crate) const METADATA: Guid =
    guid(0x8b7c_a206, 0x4790, 0x4b9a, [0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e]);
pub(crate) const FILE_PARAMETERS: Guid =
    guid(0xcaa1_6737, 0xfa36, 0x4d43, [0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b]);
pub(crate) const DISK_SIZE: Guid =
    guid(0x2fa5_4224, 0xcd1b, 0x4876, [0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8]);
pub(crate) const DISK_ID: Guid =
    guid(0xbeca_12ab, 0xb2e6, 0x4523, [0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46]);
pub(crate) const LOGICAL_SECTOR: Guid =
    guid(0x8141_bf1d, 0xa96f, 0x4709, [0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f]);
pub(crate) const PHYSICAL_SECTOR: Guid =
    guid(0xcda3_48c7, 0x445d, 0x4471, [0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56]);
pub(crate) const PARENT_LOCATOR: Guid =
    guid(0xa8d3_5f2d, 0xb30b, 0x454d, [0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c]);

pub(super) fn inspect(image: &dyn Bytes) -> Result<Inspection, Judgement> {
    closed_properly(image)?;
    let metadata = regions(image)?;
    let table = Block::read(image, metadata, TABLE)?;
    ensure(table.starts_with(b"metadata"), "the VHDX metadata table is missing")?;
    let virtual_size = items(image, metadata, &table)?;
    Ok(Inspection { format: Format::Vhdx, variant: "dynamic".to_owned(), virtual_size })
}

/// Of the two headers the sound one with the higher number counts; a log in it must be replayed by its own tool first.
fn closed_properly(image: &dyn Bytes) -> Result<(), Judgement> {
    let mut newest: Option<Block> = None;
    for at in HEADERS {
        let header = Block::read(image, at, 4 * KIB)?;
        let sound = header.starts_with(b"head") && sums_up(&header);
        if sound && newest.as_ref().is_none_or(|other| header.u64_le(8) > other.u64_le(8)) {
            newest = Some(header);
        }
    }
    let Some(header) = newest else {
        return refuse(RefusalCode::Malformed, "no VHDX header has a right checksum");
    };
    if header.array::<16>(48) != [0; 16] {
        return refuse(RefusalCode::Dirty, "a VHDX whose log must be replayed first");
    }
    ensure(header.u16_le(66) == 1, "the VHDX version must be 1")
}

/// Where the metadata region is. Both copies of the region table must say the same, as no tool has to take the first.
fn regions(image: &dyn Bytes) -> Result<u64, Judgement> {
    let tables = REGION_TABLES.map(|at| Block::read(image, at, TABLE));
    let [first, second] = tables;
    let (first, second) = (first?, second?);
    for table in [&first, &second] {
        let sound = table.starts_with(b"regi") && sums_up(table);
        ensure(sound, "a VHDX region table has a wrong checksum")?;
    }
    ensure(first.bytes() == second.bytes(), "the two VHDX region tables differ")?;
    let count = usize::try_from(first.u32_le(8)).unwrap_or(usize::MAX);
    ensure(count <= ENTRIES, "a VHDX region table has more than 2047 entries")?;
    let mut metadata = None;
    for at in (0..count).map(|number| 16 + number * 32) {
        match first.array::<16>(at) {
            METADATA => metadata = Some(region(image, &first, at)?),
            BLOCK_TABLE => drop(region(image, &first, at)?),
            _ if first.u32_le(at + 28) & 1 != 0 => {
                return refuse(RefusalCode::UnknownFeature, "a VHDX region that is not known");
            }
            _ => {}
        }
    }
    let Some(metadata) = metadata else {
        return refuse(RefusalCode::Malformed, "the VHDX has no metadata region");
    };
    Ok(metadata)
}

/// The offset of the region described at `at`, which must be in the file.
fn region(image: &dyn Bytes, table: &Block, at: usize) -> Result<u64, Judgement> {
    let (offset, length) = (table.u64_le(at + 16), u64::from(table.u32_le(at + 24)));
    ensure(offset >= 1024 * KIB && length > 0, "a VHDX region lies in the header")?;
    let Some(last) = offset.checked_add(length - 1) else {
        return refuse(RefusalCode::Malformed, "a VHDX region has no end");
    };
    Block::read(image, last, 1)?;
    Ok(offset)
}

/// Reads the metadata items; returns the size of the disk.
fn items(image: &dyn Bytes, region: u64, table: &Block) -> Result<u64, Judgement> {
    let count = usize::from(table.u16_le(10));
    ensure(count <= ENTRIES, "the VHDX metadata table has more than 2047 entries")?;
    let (mut size, mut parameters) = (None, false);
    for at in (0..count).map(|number| 32 + number * 32) {
        let value = region.saturating_add(u64::from(table.u32_le(at + 16)));
        match table.array::<16>(at) {
            DISK_SIZE => size = Some(Block::read(image, value, 8)?.u64_le(0)),
            FILE_PARAMETERS => {
                parameters = true;
                no_parent(Block::read(image, value, 8)?.u32_le(4))?;
            }
            PARENT_LOCATOR => return refuse(RefusalCode::Parent, "a VHDX that names a parent"),
            DISK_ID | LOGICAL_SECTOR | PHYSICAL_SECTOR => {}
            _ if table.u32_le(at + 24) & 4 != 0 => {
                return refuse(RefusalCode::UnknownFeature, "VHDX metadata that is not known");
            }
            _ => {}
        }
    }
    ensure(parameters, "the VHDX has no file parameters")?;
    match size {
        Some(size) => Ok(size),
        None => refuse(RefusalCode::Malformed, "the VHDX has no disk size"),
    }
}

fn no_parent(flags: u32) -> Result<(), Judgement> {
    if flags & 2 != 0 {
        return refuse(RefusalCode::Parent, "a differencing VHDX, which needs its parent");
    }
    Ok(())
}

/// CRC-32C over the whole block with the checksum itself, at 4, as zero (MS-VHDX 2.2.2).
fn sums_up(block: &Block) -> bool {
    let zeroed = block.bytes().iter().enumerate();
    let bytes = zeroed.map(|(at, byte)| if (4..8).contains(&at) { 0 } else { *byte });
    crc32c(bytes) == block.u32_le(4)
}

/// Bit by bit: 136 KiB an image are not worth a table.
pub(crate) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let one = |sum: u32, byte: u8| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    };
    !bytes.fold(u32::MAX, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }
}
