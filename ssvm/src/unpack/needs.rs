//! How much memory a compressed stream asks for, read from its first header before a decoder is made.

use super::{Compression, UnpackError};

/// zstd's smallest and largest window (RFC 8878 3.1.1.1.2; the reference decoder stops at 31).
const WINDOW_LOGS: std::ops::RangeInclusive<u32> = 10..=31;
/// Filter id of LZMA2 (.xz format 5.3.1).
const LZMA2: u64 = 0x21;

/// Refuses what needs more than `limit` bytes.
pub(super) fn fits(compression: Compression, head: &[u8], limit: u64) -> Result<(), UnpackError> {
    let needs = match compression {
        // 32 KiB of window; 3.7 MB for blocks of 900 kB
        Compression::Gzip | Compression::Zip | Compression::Bzip2 => 0,
        Compression::Xz => xz(head).unwrap_or(0),
        Compression::Zstd => zstd(head)?.unwrap_or(0),
    };
    if needs > limit { Err(UnpackError::Memory { compression, needs, limit }) } else { Ok(()) }
}

/// The largest window whose buffer fits into `memory` bytes, as a power of two.
pub(super) fn window_log(memory: u64) -> u32 {
    memory.max(1).ilog2().clamp(*WINDOW_LOGS.start(), *WINDOW_LOGS.end())
}

/// The dictionary of the first block: stream header of 12 bytes, block header (.xz format 3.1).
fn xz(head: &[u8]) -> Option<u64> {
    let flags = *head.get(13)?;
    let mut at = 14;
    // compressed and uncompressed size, each if present
    for present in [flags & 0x40, flags & 0x80] {
        if present != 0 {
            number(head, &mut at)?;
        }
    }
    for _ in 0..=(flags & 3) {
        let (id, length) = (number(head, &mut at)?, number(head, &mut at)?);
        if id == LZMA2 {
            return dictionary(*head.get(at)?);
        }
        at = at.checked_add(usize::try_from(length).ok()?)?;
    }
    None
}

/// A dictionary size in one byte: 2 or 3 times a power of two (.xz format 5.3.1).
fn dictionary(code: u8) -> Option<u64> {
    match code {
        0..40 => Some((2 | u64::from(code & 1)) << (u32::from(code) / 2 + 11)),
        40 => Some(u64::from(u32::MAX)),
        _ => None,
    }
}

/// A multibyte integer (.xz format 1.2).
fn number(head: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *head.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The window of the first frame (RFC 8878 3.1.1.1); none when it begins with a skippable one.
fn zstd(head: &[u8]) -> Result<Option<u64>, UnpackError> {
    if !head.starts_with(b"\x28\xb5\x2f\xfd") {
        return Ok(None);
    }
    let Some(descriptor) = head.get(4).copied() else { return Ok(None) };
    if descriptor & 3 != 0 {
        let compression = Compression::Zstd;
        return Err(UnpackError::Needs { compression, what: "a dictionary that is not here" });
    }
    if descriptor & 0x20 == 0 {
        return Ok(head.get(5).map(|window| {
            let base = 1_u64 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        }));
    }
    // a single segment: the window is the whole content
    let width = 1_usize << (descriptor >> 6);
    let mut bytes = [0; 8];
    let Some(field) = head.get(5..5 + width) else { return Ok(None) };
    bytes.get_mut(..width).unwrap_or_default().copy_from_slice(field);
    let size = u64::from_le_bytes(bytes);
    Ok(Some(if width == 2 { size + 256 } else { size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_of_xz_is_read_as_the_format_says() {
        assert_eq!(dictionary(22), Some(8 << 20));
        assert_eq!(dictionary(28), Some(64 << 20));
        assert_eq!(dictionary(37), Some(1536 << 20));
        assert_eq!(dictionary(41), None);
    }

    #[test]
    fn a_window_of_zstd_is_read_as_the_format_says() {
        let head = |window| [0x28, 0xb5, 0x2f, 0xfd, 0x04, window];
        assert_eq!(zstd(&head(0)).unwrap(), Some(1024));
        assert_eq!(zstd(&head(17 << 3)).unwrap(), Some(128 << 20));
        assert_eq!(zstd(&[0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x00, 0x01]).unwrap(), Some(512));
        assert!(zstd(&[0x28, 0xb5, 0x2f, 0xfd, 0x01, 0, 0]).is_err());
    }
}
