//! VMDK in one file: hosted sparse extents with their descriptor inside (VMware Virtual Disk Format 1.1 and 5.0).

use super::bytes::Bytes;
use super::layout::Block;
use super::refusal::{Judgement, RefusalCode, ensure, refuse};
use super::vmdk_descriptor::Descriptor;
use super::{Format, Inspection};

const SECTOR: u64 = 512;
/// Longest descriptor in sectors; real ones have 20.
const DESCRIPTOR_MOST: u64 = 128;
/// `gdOffset` that says: a footer at the end has the right one.
const AT_END: u64 = u64::MAX;
/// The footer stands before the end-of-stream marker.
const FOOTER_FROM_END: u64 = 2 * SECTOR;
/// Flag bit: grains are compressed.
const COMPRESSED: u32 = 1 << 16;

pub(super) fn inspect(image: &dyn Bytes) -> Result<Inspection, Judgement> {
    let header = Block::read(image, 0, SECTOR)?;
    if header.starts_with(b"# Disk DescriptorFile") {
        let detail = "a VMDK description whose data are in other files";
        return refuse(RefusalCode::ExternalExtent, detail);
    }
    if header.starts_with(b"COWD") {
        return refuse(RefusalCode::Unsupported, "an ESX copy-on-write VMDK is not let in");
    }
    ensure(header.starts_with(b"KDMV"), "a disk that is no VMDK")?;
    let descriptor = descriptor(image, &header)?;
    descriptor.single_file()?;
    let capacity = header.u64_le(12);
    // QEMU takes a header without capacity as a mere description and opens the extents it names
    ensure(capacity > 0, "the VMDK header has no capacity")?;
    ensure(capacity == descriptor.sectors, "header and description of the VMDK differ in size")?;
    grains(image, &header, capacity)?;
    let Some(virtual_size) = capacity.checked_mul(SECTOR) else {
        return refuse(RefusalCode::Malformed, "the VMDK's capacity is beyond 64 bits");
    };
    Ok(Inspection { format: Format::Vmdk, variant: descriptor.kind, virtual_size })
}

fn descriptor(image: &dyn Bytes, header: &Block) -> Result<Descriptor, Judgement> {
    let version = header.u32_le(4);
    ensure((1..=3).contains(&version), "the VMDK version must be 1, 2 or 3")?;
    let (at, length) = (header.u64_le(28), header.u64_le(36));
    if at == 0 || length == 0 {
        let detail = "an extent of a VMDK whose description is in another file";
        return refuse(RefusalCode::ExternalExtent, detail);
    }
    ensure(length <= DESCRIPTOR_MOST, "the VMDK description is longer than 64 KiB")?;
    let Some(at) = at.checked_mul(SECTOR) else {
        return refuse(RefusalCode::Malformed, "the VMDK description lies beyond 64 bits");
    };
    Descriptor::parse(Block::read(image, at, length * SECTOR)?.bytes())
}

/// The grain directory must cover the disk and lie in the file; a footer must not contradict the header.
fn grains(image: &dyn Bytes, header: &Block, capacity: u64) -> Result<(), Judgement> {
    let length = image.length().ok_or(Judgement::NotYet)?;
    let directory = match header.u64_le(56) {
        AT_END => {
            let Some(at) = length.checked_sub(FOOTER_FROM_END) else {
                return refuse(RefusalCode::Truncated, "the VMDK's footer is missing");
            };
            let footer = Block::read(image, at, SECTOR)?;
            if !footer.starts_with(b"KDMV") {
                return refuse(RefusalCode::Truncated, "the VMDK's footer is missing at its end");
            }
            same_but_for_the_directory(header, &footer)?;
            footer.u64_le(56)
        }
        at => at,
    };
    let (grain, per_table) = (header.u64_le(20), u64::from(header.u32_le(44)));
    ensure(grain.is_power_of_two() && grain >= 1, "the VMDK's grain size is no power of two")?;
    ensure((1..=4096).contains(&per_table), "the VMDK has a strange number of entries a table")?;
    let tables = capacity.div_ceil(grain).div_ceil(per_table);
    ensure(tables <= 4 << 20, "the VMDK's grain directory is larger than 16 MiB")?;
    let at = directory.saturating_mul(SECTOR);
    inside(&Block::read(image, at, tables * 4)?, length)
}

fn inside(directory: &Block, length: u64) -> Result<(), Judgement> {
    for entry in directory.bytes().as_chunks::<4>().0 {
        if u64::from(u32::from_le_bytes(*entry)) * SECTOR >= length {
            return refuse(RefusalCode::Truncated, "a grain table lies beyond the end of the VMDK");
        }
    }
    Ok(())
}

fn same_but_for_the_directory(header: &Block, footer: &Block) -> Result<(), Judgement> {
    let compressed = header.u32_le(8) & COMPRESSED != 0;
    ensure(compressed, "only a stream-optimised VMDK has its directory in a footer")?;
    let of = |block: &Block| (block.array::<52>(4), block.array::<2>(77));
    let without_gd = |block: &Block| {
        let (mut fields, compression) = of(block);
        fields.get_mut(44..52).unwrap_or_default().fill(0); // rgdOffset, which a header may leave out
        (fields, compression)
    };
    ensure(without_gd(header) == without_gd(footer), "header and footer of the VMDK differ")
}
