//! Which format an image is of, by its bytes alone: names and media types are hints that anybody can write.
//!
//! The order is that of how other programs probe: a magic number at offset 0 decides, then the marks further inside,
//! then the footer of a fixed VHD. What is left is RAW.

use super::Format;
use super::bytes::Bytes;
use super::layout::Block;
use super::refusal::{Judgement, RefusalCode, refuse};
use super::{iso, tar, vhd};

/// Magic numbers of what is let in.
const MAGIC: [(&[u8], Format); 6] = [
    (b"QFI\xfb", Format::Qcow2),
    (b"vhdxfile", Format::Vhdx),
    (b"KDMV", Format::Vmdk),
    (b"COWD", Format::Vmdk),
    (b"# Disk DescriptorFile", Format::Vmdk),
    (vhd::COOKIE, Format::Vhd),
];

/// Magic numbers of compression.
const COMPRESSED: [(&[u8], &str); 9] = [
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x1f\x9d", "compress"),
];

/// Magic numbers of what is known and not let in.
const OTHERS: [(usize, &[u8], &str); 11] = [
    (0, b"QED\0", "a QED image"),
    (0, b"OOOM\0", "a COW image"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0, b"WithoutFreeSpace", "a Parallels image"),
    (0, b"WithouFreSpacExt", "a Parallels image"),
    (0, b"Bochs Virtual HD Image", "a Bochs image"),
    (0, b"#!/bin/sh\n#V2.0 Format\n", "a cloop image"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x7fELF", "a program"),
    (0, b"\x89PNG", "a picture"),
    (0x40, b"\x7f\x10\xda\xbe", "a VDI image"),
];

/// Smallest length that is worth a look.
const SECTOR: u64 = 512;

/// The format of `image`, or why it is none that is let in.
pub(super) fn detect(image: &dyn Bytes) -> Result<Format, Judgement> {
    if image.length() == Some(0) {
        return refuse(RefusalCode::TooSmall, "the image is empty");
    }
    let head = match image.length() {
        Some(length) => Block::read(image, 0, length.min(SECTOR))?,
        None => Block::read(image, 0, SECTOR)?,
    };
    if let Some((_, name)) = COMPRESSED.into_iter().find(|(magic, _)| head.starts_with(magic)) {
        let detail = format!("still compressed with {name} after unpacking");
        return refuse(RefusalCode::Compressed, detail);
    }
    let found = MAGIC.into_iter().find(|(magic, _)| head.starts_with(magic));
    if let Some((_, format)) = found {
        return Ok(format);
    }
    not_another(&head)?;
    not_text(&head)?;
    further_inside(image, &head)
}

fn not_another(head: &Block) -> Result<(), Judgement> {
    let is = |at: usize, magic: &[u8]| head.bytes().get(at..).is_some_and(|b| b.starts_with(magic));
    match OTHERS.into_iter().find(|(at, magic, _)| is(*at, magic)) {
        Some((_, _, name)) => refuse(RefusalCode::Unsupported, format!("{name} is not let in")),
        None => Ok(()),
    }
}

/// A disk has bytes that no text has within its first sector; one that has none of them is a page or a message.
fn not_text(head: &Block) -> Result<(), Judgement> {
    let bytes = head.bytes().strip_prefix(b"\xef\xbb\xbf").unwrap_or(head.bytes());
    let control = |byte: &u8| *byte < 0x20 && !matches!(*byte, b'\t' | b'\n' | b'\r' | 0x0c);
    if bytes.is_empty() || bytes.iter().any(|byte| control(byte) || *byte == 0x7f) {
        return Ok(());
    }
    // cut in the middle of a character is still text
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => "",
        Err(_) => return Ok(()),
    };
    if bytes.trim_ascii_start().starts_with(b"<") {
        return refuse(RefusalCode::WebPage, "a web page, not an image");
    }
    let line: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
    refuse(RefusalCode::Text, format!("text, not an image; it begins with {line:?}"))
}

fn further_inside(image: &dyn Bytes, head: &Block) -> Result<Format, Judgement> {
    if tar::is_header(head.bytes()) {
        return Ok(Format::Ova);
    }
    if iso::is_one(image)? {
        return Ok(Format::Iso);
    }
    // the end is known last, so RAW and fixed VHD are told apart only when all has arrived
    if vhd::has_footer(image)? { Ok(Format::Vhd) } else { Ok(Format::Raw) }
}
