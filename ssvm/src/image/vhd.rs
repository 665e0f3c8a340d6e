//! VHD (Microsoft's Virtual Hard Disk Image Format Specification 1.0), fixed and dynamic.

use super::bytes::Bytes;
use super::layout::Block;
use super::refusal::{Judgement, RefusalCode, ensure, refuse};
use super::{Format, Inspection};

/// First bytes of a footer.
pub(super) const COOKIE: &[u8] = b"conectix";
const FOOTER: u64 = 512;
const DYNAMIC_HEADER: u64 = 1024;
/// Disk types.
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;
/// Offset of the eight parent locators in the dynamic header, and their length.
const LOCATORS: std::ops::Range<usize> = 576..768;

/// Whether the last sector is a footer, which a fixed disk has alone.
pub(super) fn has_footer(image: &dyn Bytes) -> Result<bool, Judgement> {
    let length = image.length().ok_or(Judgement::NotYet)?;
    let Some(at) = length.checked_sub(FOOTER) else { return Ok(false) };
    Ok(Block::read(image, at, FOOTER)?.starts_with(COOKIE))
}

pub(super) fn inspect(image: &dyn Bytes) -> Result<Inspection, Judgement> {
    let first = Block::read(image, 0, FOOTER)?;
    if first.starts_with(COOKIE) { dynamic(image, &first) } else { fixed(image) }
}

fn fixed(image: &dyn Bytes) -> Result<Inspection, Judgement> {
    let length = image.length().ok_or(Judgement::NotYet)?;
    let at = length.saturating_sub(FOOTER);
    let footer = Block::read(image, at, FOOTER)?;
    ensure(sums_up(footer.bytes(), 64), "the VHD footer's checksum is wrong")?;
    no_parent(&footer)?;
    ensure(footer.u32_be(60) == FIXED, "a VHD without a header must be a fixed disk")?;
    let size = footer.u64_be(48);
    ensure(size == at, "the VHD's size is not that of its data")?;
    Ok(Inspection { format: Format::Vhd, variant: "fixed".to_owned(), virtual_size: size })
}

fn dynamic(image: &dyn Bytes, footer: &Block) -> Result<Inspection, Judgement> {
    ensure(sums_up(footer.bytes(), 64), "the VHD footer's checksum is wrong")?;
    no_parent(footer)?;
    ensure(footer.u32_be(60) == DYNAMIC, "a VHD with a header must be a dynamic disk")?;
    let header = Block::read(image, footer.u64_be(16), DYNAMIC_HEADER)?;
    ensure(header.starts_with(b"cxsparse"), "the VHD's dynamic header is missing")?;
    ensure(sums_up(header.bytes(), 36), "the VHD dynamic header's checksum is wrong")?;
    let locators = header.bytes().get(LOCATORS).unwrap_or_default();
    if header.array::<16>(40) != [0; 16] || locators.iter().any(|byte| *byte != 0) {
        return refuse(RefusalCode::Parent, "a VHD that names a parent");
    }
    let size = footer.u64_be(48);
    block_table(image, &header, size)?;
    same_at_the_end(image, footer)?;
    Ok(Inspection { format: Format::Vhd, variant: "dynamic".to_owned(), virtual_size: size })
}

fn no_parent(footer: &Block) -> Result<(), Judgement> {
    if footer.u32_be(60) == DIFFERENCING {
        return refuse(RefusalCode::Parent, "a differencing VHD, which needs its parent");
    }
    Ok(())
}

fn block_table(image: &dyn Bytes, header: &Block, size: u64) -> Result<(), Judgement> {
    let (entries, block) = (u64::from(header.u32_be(28)), u64::from(header.u32_be(32)));
    ensure(block.is_power_of_two() && block >= 512, "the VHD's block size is no power of two")?;
    ensure(entries * block >= size, "the VHD's block table does not cover the disk")?;
    ensure(entries * 4 <= 32 << 20, "the VHD's block table is larger than 32 MiB")?;
    let length = image.length().ok_or(Judgement::NotYet)?;
    let table = Block::read(image, header.u64_be(16), entries * 4)?;
    for entry in table.bytes().as_chunks::<4>().0 {
        let sector = u32::from_be_bytes(*entry);
        if sector != u32::MAX && u64::from(sector) * 512 >= length {
            return refuse(RefusalCode::Truncated, "a block lies beyond the end of the VHD");
        }
    }
    Ok(())
}

/// Tools trust the copy at the end over the one at the start, so both must say the same.
fn same_at_the_end(image: &dyn Bytes, footer: &Block) -> Result<(), Judgement> {
    let length = image.length().ok_or(Judgement::NotYet)?;
    let last = Block::read(image, length.saturating_sub(FOOTER), FOOTER)?;
    if !last.starts_with(COOKIE) {
        return refuse(RefusalCode::Truncated, "the VHD's footer is missing at its end");
    }
    ensure(last.bytes() == footer.bytes(), "the VHD's two footers differ")
}

/// One's complement of the sum of all bytes but those of the checksum itself, at `at`.
fn sums_up(bytes: &[u8], at: usize) -> bool {
    let field = at..at.saturating_add(4);
    let others = bytes.iter().enumerate().filter(|(index, _)| !field.contains(index));
    let sum = others.fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)));
    bytes.get(field.clone()).is_some_and(|stored| stored == (!sum).to_be_bytes())
}
