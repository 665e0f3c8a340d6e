//! ISO 9660 (ECMA-119).

use super::bytes::Bytes;
use super::layout::Block;
use super::refusal::{Judgement, ensure};
use super::{Format, Inspection};

/// Offset of the first volume descriptor: sector 16 (ECMA-119 6.2.1).
const DESCRIPTORS: u64 = 16 * 2048;
/// Most volume descriptors looked at before the primary one.
const MOST: u64 = 64;

/// Whether `image` has a volume descriptor where ISO 9660 puts it.
pub(super) fn is_one(image: &dyn Bytes) -> Result<bool, Judgement> {
    let mark = Block::read_if_there(image, DESCRIPTORS, 6)?;
    Ok(mark.is_some_and(|block| block.bytes().get(1..) == Some(b"CD001")))
}

pub(super) fn inspect(image: &dyn Bytes) -> Result<Inspection, Judgement> {
    let primary = primary(image)?;
    let (sectors, twice) = (primary.u32_le(80), primary.u32_be(84));
    ensure(sectors == twice, "the volume size differs between its two byte orders")?;
    let sector = u64::from(primary.u16_le(128));
    ensure(matches!(sector, 512 | 1024 | 2048), "the block size is none of 512, 1024 and 2048")?;
    let size = u64::from(sectors) * sector;
    ensure(size > DESCRIPTORS, "the volume is smaller than its own descriptors")?;
    // the volume's last byte must be there
    Block::read(image, size - 1, 1)?;
    let virtual_size = image.length().ok_or(Judgement::NotYet)?;
    Ok(Inspection { format: Format::Iso, variant: "iso9660".to_owned(), virtual_size })
}

fn primary(image: &dyn Bytes) -> Result<Block, Judgement> {
    for number in 0..MOST {
        let block = Block::read(image, DESCRIPTORS + number * 2048, 2048)?;
        ensure(block.bytes().get(1..6) == Some(b"CD001"), "a volume descriptor has no mark")?;
        match block.bytes().first() {
            Some(1) => return Ok(block),
            Some(255) | None => break,
            Some(_) => {}
        }
    }
    ensure(false, "there is no primary volume descriptor")?;
    Err(Judgement::NotYet)
}
