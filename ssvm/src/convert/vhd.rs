//! A fixed VHD: the disk, then its footer (Virtual Hard Disk Image Format Specification 1.0).

use std::io;

use super::disk::GuestDisk;
use super::{MadeUp, copy};

const FOOTER: usize = 512;
const FOOTER_LENGTH: u64 = 512;
/// Kinds of disk.
const FIXED: u32 = 2;
pub(super) const DYNAMIC: u32 = 3;
/// Where the header is that a fixed one has not.
const NO_HEADER: u64 = u64::MAX;

/// The file.
pub(super) struct FixedVhd {
    disk: GuestDisk,
    footer: Vec<u8>,
}

impl FixedVhd {
    pub(super) fn new(disk: GuestDisk) -> Self {
        let footer = footer(disk.bytes(), FIXED, NO_HEADER);
        Self { disk, footer }
    }
}

impl MadeUp for FixedVhd {
    fn size(&self) -> u64 {
        self.disk.bytes() + FOOTER_LENGTH
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let end = self.disk.bytes();
        if at >= end {
            return Ok(copy(&self.footer, end, at, into));
        }
        let length = into.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let into = into.get_mut(..length).unwrap_or_default();
        self.disk.read(at, into)?;
        Ok(length)
    }
}

/// The same for the same size: neither a time nor a random id stands in it.
pub(super) fn footer(size: u64, kind: u32, header: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FOOTER);
    bytes.extend(b"conectix");
    bytes.extend(2_u32.to_be_bytes()); // features: none but the bit that is always set
    bytes.extend(0x1_0000_u32.to_be_bytes()); // version 1.0
    bytes.extend(header.to_be_bytes());
    bytes.extend([0; 4]); // time
    // XenServer's: of its images the size stands in the footer, of strangers' readers take that of the geometry
    bytes.extend(b"tap\0");
    bytes.extend(0x1_0000_u32.to_be_bytes());
    bytes.extend(b"Wi2k"); // creator's host
    bytes.extend(size.to_be_bytes()); // as made
    bytes.extend(size.to_be_bytes()); // as it is
    bytes.extend(geometry(size));
    bytes.extend(kind.to_be_bytes());
    let sum_at = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(id(size));
    bytes.resize(FOOTER, 0);
    sum_up(&mut bytes, sum_at);
    bytes
}

/// Puts the checksum of `bytes` at `at`, where zeros stand.
pub(super) fn sum_up(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    if let Some(field) = bytes.get_mut(at..at + 4) {
        field.copy_from_slice(&(!sum).to_be_bytes());
    }
}

/// Sixteen bytes that are not all zero.
fn id(size: u64) -> [u8; 16] {
    let mut id = *b"sluice\0\0\0\0\0\0\0\0\0\0";
    if let Some(end) = id.get_mut(8..) {
        end.copy_from_slice(&size.to_be_bytes());
    }
    id
}

/// Cylinders, heads and sectors by the specification's appendix, for old firmware alone.
fn geometry(size: u64) -> [u8; 4] {
    let sectors = (size / 512).min(65535 * 16 * 255);
    let (mut heads, mut per_track, mut cylinder_heads);
    if sectors >= 65535 * 16 * 63 {
        (per_track, heads) = (255, 16);
        cylinder_heads = sectors / per_track;
    } else {
        per_track = 17;
        cylinder_heads = sectors / per_track;
        heads = cylinder_heads.div_ceil(1024).max(4);
        if cylinder_heads >= heads * 1024 || heads > 16 {
            (per_track, heads) = (31, 16);
            cylinder_heads = sectors / per_track;
        }
        if cylinder_heads >= heads * 1024 {
            (per_track, heads) = (63, 16);
            cylinder_heads = sectors / per_track;
        }
    }
    let cylinders = u16::try_from(cylinder_heads / heads).unwrap_or(u16::MAX).to_be_bytes();
    let byte = |number| u8::try_from(number).unwrap_or(u8::MAX);
    [cylinders[0], cylinders[1], byte(heads), byte(per_track)]
}
