//! A config drive: an ISO 9660 file system labelled `SLUICE` with one file, `boot.json`.
//!
//! Guarantees: the same document gives the same bytes; no program is needed to make it. Plain
//! ISO 9660 without extensions: Linux shows its one name in lower case (mount option `map=normal`,
//! the default). Format: ECMA-119.

const SECTOR: usize = 2048;
const PATH_TABLE_L: u32 = 18;
const PATH_TABLE_M: u32 = 19;
const ROOT: u32 = 20;
const FILE: u32 = 21;
const PATH_TABLE_LENGTH: u32 = 10;
const DIRECTORY: u8 = 2;
const LABEL: &[u8] = b"SLUICE";
const NAME: &[u8] = b"BOOT.JSON;1";
/// 2026-01-01 00:00:00 UTC: a real clock would make equal drives differ.
const DATE: [u8; 7] = [126, 1, 1, 0, 0, 0, 0];

/// The bytes of the drive. The document is at most 4 GiB, as the format's sizes are 32 bits.
pub fn config_drive(document: &[u8]) -> Vec<u8> {
    let file_sectors = document.len().div_ceil(SECTOR).max(1);
    let sectors = FILE as usize + file_sectors;
    let mut image = vec![0; sectors * SECTOR];
    let length = u32::try_from(document.len()).unwrap_or(u32::MAX);
    put(&mut image, 16, &volume_descriptor(u32::try_from(sectors).unwrap_or(u32::MAX)));
    put(&mut image, 17, b"\xffCD001\x01");
    put(&mut image, PATH_TABLE_L, &path_table(ROOT.to_le_bytes(), 1_u16.to_le_bytes()));
    put(&mut image, PATH_TABLE_M, &path_table(ROOT.to_be_bytes(), 1_u16.to_be_bytes()));
    put(&mut image, ROOT, &root_directory(length));
    put(&mut image, FILE, document);
    image
}

fn put(image: &mut [u8], sector: u32, bytes: &[u8]) {
    let start = sector as usize * SECTOR;
    if let Some(place) = image.get_mut(start..start + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn volume_descriptor(sectors: u32) -> Vec<u8> {
    let mut out = b"\x01CD001\x01\x00".to_vec();
    padded(&mut out, b"", 32);
    padded(&mut out, LABEL, 32);
    out.extend([0; 8]);
    out.extend(both32(sectors));
    out.extend([0; 32]);
    out.extend(both16(1)); // volumes in the set
    out.extend(both16(1)); // this one's number
    out.extend(both16(2048));
    out.extend(both32(PATH_TABLE_LENGTH));
    out.extend(PATH_TABLE_L.to_le_bytes());
    out.extend([0; 4]);
    out.extend(PATH_TABLE_M.to_be_bytes());
    out.extend([0; 4]);
    out.extend(record(ROOT, SECTOR_LENGTH, DIRECTORY, b"\0"));
    padded(&mut out, b"", 4 * 128 + 3 * 37); // set, publisher, preparer, application, three files
    for _ in 0..4 {
        out.extend(b"0000000000000000\0"); // created, changed, expires, effective: not given
    }
    out.extend([1, 0]);
    out
}

const SECTOR_LENGTH: u32 = 2048;

fn root_directory(document_length: u32) -> Vec<u8> {
    let mut out = record(ROOT, SECTOR_LENGTH, DIRECTORY, b"\0");
    out.extend(record(ROOT, SECTOR_LENGTH, DIRECTORY, b"\x01"));
    out.extend(record(FILE, document_length, 0, NAME));
    out
}

/// A directory record (ECMA-119, 9.1).
fn record(extent: u32, length: u32, flags: u8, name: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend(both32(extent));
    out.extend(both32(length));
    out.extend(DATE);
    out.extend([flags, 0, 0]);
    out.extend(both16(1));
    out.push(u8::try_from(name.len()).unwrap_or(0));
    out.extend(name);
    if out.len() % 2 == 1 {
        out.push(0);
    }
    let whole = u8::try_from(out.len()).unwrap_or(0);
    if let Some(first) = out.first_mut() {
        *first = whole;
    }
    out
}

fn path_table(root: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    let mut out = vec![1, 0];
    out.extend(root);
    out.extend(parent);
    out.extend([0, 0]);
    out
}

fn padded(out: &mut Vec<u8>, text: &[u8], length: usize) {
    let end = out.len() + length;
    out.extend(text);
    out.resize(end, b' ');
}

fn both16(number: u16) -> [u8; 4] {
    let mut both = [0; 4];
    both[..2].copy_from_slice(&number.to_le_bytes());
    both[2..].copy_from_slice(&number.to_be_bytes());
    both
}

fn both32(number: u32) -> [u8; 8] {
    let mut both = [0; 8];
    both[..4].copy_from_slice(&number.to_le_bytes());
    both[4..].copy_from_slice(&number.to_be_bytes());
    both
}
