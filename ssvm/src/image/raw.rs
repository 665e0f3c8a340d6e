//! RAW: what has no header. What it is not was asked before; here is what a disk must have anyway.

use super::bytes::Bytes;
use super::layout::Block;
use super::refusal::{Judgement, RefusalCode, ensure, refuse};
use super::{Format, Inspection};

/// Smallest disk in bytes: below it no partition, file system or boot loader fits, and what arrives is an error message.
const SMALLEST: u64 = 1 << 20;

/// Marks of what disks begin with: offset, bytes, name.
const MARKS: [(u64, &[u8], &str); 6] = [
    (512, b"EFI PART", "gpt"),
    (0x438, b"\x53\xef", "ext"),
    (0, b"XFSB", "xfs"),
    (512, b"LABELONE", "lvm"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
    (510, b"\x55\xaa", "mbr"),
];

pub(super) fn inspect(image: &dyn Bytes) -> Result<Inspection, Judgement> {
    let length = image.length().ok_or(Judgement::NotYet)?;
    if length < SMALLEST {
        let detail =
            format!("{length} bytes are too few for a disk, which has at least {SMALLEST}");
        return refuse(RefusalCode::TooSmall, detail);
    }
    ensure(length.is_multiple_of(512), "a raw disk's length must be a multiple of 512 bytes")?;
    let variant = variant(image)?;
    Ok(Inspection { format: Format::Raw, variant: variant.to_owned(), virtual_size: length })
}

fn variant(image: &dyn Bytes) -> Result<&'static str, Judgement> {
    for (at, mark, name) in MARKS {
        let length = u64::try_from(mark.len()).unwrap_or(0);
        if Block::read_if_there(image, at, length)?.is_some_and(|block| block.bytes() == mark) {
            return Ok(name);
        }
    }
    Ok("unmarked")
}
