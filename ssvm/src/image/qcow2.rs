//! qcow2 (QEMU docs/interop/qcow2.txt), versions 2 and 3.

use super::bytes::Bytes;
use super::layout::Block;
use super::refusal::{Judgement, RefusalCode, ensure, refuse};
use super::{Format, Inspection};

/// Length of a version 2 header, and of the part that all versions share.
const SHORT: u64 = 72;
/// Length of the fields of version 3 that are read here.
const LONG: u64 = 112;
/// Incompatible features (bits) known: 0 dirty, 1 corrupt, 2 external data, 3 compression type, 4 extended L2 entries.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = 0x1f;
/// Header extension that names the external data file.
const DATA_FILE_NAME: u32 = 0x4441_5441;
/// Header extension that names the format of the backing file.
const BACKING_FORMAT: u32 = 0xE279_2ACA;
/// Largest L1 table, in bytes (QEMU's own limit).
const L1_MOST: u64 = 32 << 20;
/// Offset bits of an L1 entry.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// Judges an image that stands alone or, with `parent`, one whose backing file is called just so.
pub(super) fn inspect(image: &dyn Bytes, parent: Option<&str>) -> Result<Inspection, Judgement> {
    let short = Block::read(image, 0, SHORT)?;
    let version = short.u32_be(4);
    if !matches!(version, 2 | 3) {
        let detail = format!("qcow version {version}; 2 and 3 are let in");
        return refuse(RefusalCode::Unsupported, detail);
    }
    no_other_file(image, &short, parent)?;
    let cluster_bits = short.u32_be(20);
    ensure((9..=21).contains(&cluster_bits), "cluster_bits must be 9 to 21")?;
    let features = if version == 3 { features(image, cluster_bits)? } else { 0 };
    let backing = extensions(image, version, cluster_bits)?;
    if parent.is_some() && backing.as_deref() != Some(b"qcow2") {
        // whoever opens it would guess, and a guest could have its parent taken for another format
        let detail = "a qcow2 image that does not say that its backing file is of format qcow2";
        return refuse(RefusalCode::BackingFile, detail);
    }
    let virtual_size = short.u64_be(24);
    tables(image, &short, cluster_bits, features)?;
    Ok(Inspection { format: Format::Qcow2, variant: format!("v{version}"), virtual_size })
}

fn no_other_file(image: &dyn Bytes, header: &Block, parent: Option<&str>) -> Result<(), Judgement> {
    let (at, length) = (header.u64_be(8), u64::from(header.u32_be(16)));
    match parent {
        None if at != 0 || length != 0 => {
            return refuse(RefusalCode::BackingFile, "a qcow2 image with a backing file");
        }
        None => {}
        Some(parent) => backing_file_is(image, at, length, parent)?,
    }
    if header.u32_be(32) != 0 {
        return refuse(RefusalCode::Encrypted, "an encrypted qcow2 image");
    }
    Ok(())
}

/// Longest name of a backing file (QEMU's own limit).
const NAME_MOST: u64 = 1023;

fn backing_file_is(image: &dyn Bytes, at: u64, length: u64, parent: &str) -> Result<(), Judgement> {
    ensure(length <= NAME_MOST, "the name of the backing file is longer than 1023 bytes")?;
    let named = at != 0 && Block::read(image, at, length)?.bytes() == parent.as_bytes();
    if named {
        return Ok(());
    }
    refuse(RefusalCode::BackingFile, format!("a qcow2 image whose backing file is not {parent}"))
}

/// The incompatible features of a version 3 header.
fn features(image: &dyn Bytes, cluster_bits: u32) -> Result<u64, Judgement> {
    let header = Block::read(image, 0, LONG)?;
    let features = header.u64_be(72);
    if features & EXTERNAL_DATA != 0 {
        return refuse(RefusalCode::ExternalData, "a qcow2 image with its data in another file");
    }
    if features & !KNOWN != 0 {
        let detail = format!("qcow2 incompatible features {:#x} are not known", features & !KNOWN);
        return refuse(RefusalCode::UnknownFeature, detail);
    }
    if features & (DIRTY | CORRUPT) != 0 {
        let detail = "a qcow2 image that says itself it must be repaired first (dirty or corrupt)";
        return refuse(RefusalCode::Dirty, detail);
    }
    ensure(header.u32_be(96) <= 6, "refcount_order must be at most 6")?;
    let length = header.u32_be(100);
    let fits = length >= 104 && length <= 1 << cluster_bits && length.is_multiple_of(8);
    ensure(fits, "header_length must be 104 to a cluster, in steps of 8")?;
    let compression = if length > 104 { header.bytes().get(104).copied().unwrap_or(0) } else { 0 };
    ensure(compression <= 1, "compression_type must be 0 (zlib) or 1 (zstd)")?;
    Ok(features)
}

/// Walks the header extensions, which end with type 0 or with the first cluster; returns the format of the backing file.
fn extensions(
    image: &dyn Bytes,
    version: u32,
    cluster_bits: u32,
) -> Result<Option<Vec<u8>>, Judgement> {
    let cluster = 1_u64 << cluster_bits;
    let mut backing = None;
    let mut at =
        if version == 2 { SHORT } else { u64::from(Block::read(image, 100, 4)?.u32_be(0)) };
    while at + 8 <= cluster {
        let Some(head) = Block::read_if_there(image, at, 8)? else { return Ok(backing) };
        let (kind, length) = (head.u32_be(0), u64::from(head.u32_be(4)));
        if kind == 0 {
            return Ok(backing);
        }
        if kind == DATA_FILE_NAME {
            let detail = "a qcow2 image that names an external data file";
            return refuse(RefusalCode::ExternalData, detail);
        }
        ensure(length <= cluster, "a header extension is longer than a cluster")?;
        if kind == BACKING_FORMAT && length <= 16 {
            backing = Some(Block::read(image, at + 8, length)?.bytes().to_vec());
        }
        at += 8 + length.next_multiple_of(8);
    }
    Ok(backing)
}

/// The mapping must cover the disk and lie inside the file.
fn tables(
    image: &dyn Bytes,
    header: &Block,
    cluster_bits: u32,
    features: u64,
) -> Result<(), Judgement> {
    let cluster = 1_u64 << cluster_bits;
    let entry = if features & EXTENDED_L2 == 0 { 8 } else { 16 };
    let mapped = u128::from(cluster) * u128::from(cluster / entry);
    let (size, entries) = (header.u64_be(24), u64::from(header.u32_be(36)));
    let covered = u128::from(size).div_ceil(mapped) <= u128::from(entries);
    ensure(covered, "the L1 table does not cover the disk")?;
    ensure(entries * 8 <= L1_MOST, "the L1 table is larger than 32 MiB")?;
    let (l1, refcounts) = (header.u64_be(40), header.u64_be(48));
    let aligned = l1.is_multiple_of(cluster) && refcounts.is_multiple_of(cluster);
    ensure(aligned, "the L1 or refcount table does not begin at a cluster")?;
    ensure(refcounts >= cluster, "the refcount table lies in the header")?;
    ensure(entries == 0 || l1 >= cluster, "the L1 table lies in the header")?;
    let length = image.length().ok_or(Judgement::NotYet)?;
    let refcounts_end = u64::from(header.u32_be(56)).saturating_mul(cluster);
    let inside = refcounts.checked_add(refcounts_end).is_some_and(|end| end <= length);
    if !inside {
        return refuse(RefusalCode::Truncated, "the refcount table lies beyond the end");
    }
    second_level_inside(&Block::read(image, l1, entries * 8)?, length)
}

/// A file that was cut off has L2 tables beyond its end.
fn second_level_inside(l1: &Block, length: u64) -> Result<(), Judgement> {
    for entry in l1.bytes().as_chunks::<8>().0 {
        let offset = u64::from_be_bytes(*entry) & OFFSET;
        if offset >= length && offset != 0 {
            return refuse(RefusalCode::Truncated, "an L2 table lies beyond the end of the image");
        }
    }
    Ok(())
}
