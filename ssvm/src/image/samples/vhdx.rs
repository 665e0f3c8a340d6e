//! VHDX.

use super::super::vhdx as format;
use super::{DISK, RefusalCode, Sample, bad, cut, put, with};

const KIB: usize = 1024;
const METADATA: usize = 2048 * KIB;

/// Its regions at 1 MiB (blocks) and 2 MiB (metadata); two headers, two region tables.
pub fn vhdx() -> Vec<u8> {
    made(|_| (), |_| (), |_| ())
}

fn made(
    header: impl Fn(&mut [u8]),
    regions: impl Fn(&mut [u8]),
    metadata: impl Fn(&mut [u8]),
) -> Vec<u8> {
    let mut bytes = vec![0; 3072 * KIB];
    put(&mut bytes, 0, b"vhdxfile");
    for (number, at) in [(1_u64, 64 * KIB), (2, 128 * KIB)] {
        let mut block = vec![0; 4 * KIB];
        put(&mut block, 0, b"head");
        put(&mut block, 8, &number.to_le_bytes());
        put(&mut block, 66, &1_u16.to_le_bytes());
        header(&mut block);
        put(&mut bytes, at, &summed(block));
    }
    let mut table = vec![0; 64 * KIB];
    put(&mut table, 0, b"regi");
    put(&mut table, 8, &2_u32.to_le_bytes());
    entry(&mut table, 16, &format::BLOCK_TABLE, 1024 * KIB);
    entry(&mut table, 48, &format::METADATA, METADATA);
    regions(&mut table);
    let table = summed(table);
    put(&mut bytes, 192 * KIB, &table);
    put(&mut bytes, 256 * KIB, &table);
    let mut block = vec![0; 128 * KIB];
    put(&mut block, 0, b"metadata");
    put(&mut block, 10, &2_u16.to_le_bytes());
    item(&mut block, 0, &format::FILE_PARAMETERS, 64 * KIB);
    item(&mut block, 1, &format::DISK_SIZE, 64 * KIB + 8);
    put(&mut block, 64 * KIB, &(1_u32 << 20).to_le_bytes());
    put(&mut block, 64 * KIB + 8, &DISK.to_le_bytes());
    metadata(&mut block);
    put(&mut bytes, METADATA, &block);
    bytes
}

fn entry(table: &mut [u8], at: usize, guid: &[u8; 16], offset: usize) {
    put(table, at, guid);
    put(table, at + 16, &(offset as u64).to_le_bytes());
    put(table, at + 24, &(1_u32 << 20).to_le_bytes());
    put(table, at + 28, &1_u32.to_le_bytes());
}

fn item(block: &mut [u8], number: usize, guid: &[u8; 16], offset: usize) {
    let at = 32 + 32 * number;
    put(block, at, guid);
    put(block, at + 16, &u32::try_from(offset).unwrap_or(0).to_le_bytes());
    put(block, at + 20, &8_u32.to_le_bytes());
    put(block, at + 24, &4_u32.to_le_bytes());
}

fn summed(block: Vec<u8>) -> Vec<u8> {
    let sum = format::crc32c(block.iter().copied());
    with(block, 4, &sum.to_le_bytes())
}

/// Both headers and both region tables.
pub(super) fn sum_up(image: &mut [u8]) {
    for (at, magic, length) in [
        (64 * KIB, b"head", 4 * KIB),
        (128 * KIB, b"head", 4 * KIB),
        (192 * KIB, b"regi", 64 * KIB),
        (256 * KIB, b"regi", 64 * KIB),
    ] {
        let Some(block) = image.get_mut(at..at + length) else { continue };
        if block.starts_with(magic) {
            let sum = summed(with(block.to_vec(), 4, &[0; 4]));
            block.copy_from_slice(&sum);
        }
    }
}

pub(super) fn hostile() -> Vec<Sample> {
    use RefusalCode as Code;
    let has_parent = made(|_| (), |_| (), |block| put(block, 64 * KIB + 4, &2_u32.to_le_bytes()));
    let locator = made(
        |_| (),
        |_| (),
        |block| {
            put(block, 10, &3_u16.to_le_bytes());
            item(block, 2, &format::PARENT_LOCATOR, 64 * KIB + 16);
        },
    );
    let log = made(|header| put(header, 48, b"a log to replay!"), |_| (), |_| ());
    let unknown = made(|_| (), |table| put(table, 16, b"nobody knows it!"), |_| ());
    let beyond = made(|_| (), |table| entry(table, 48, &format::METADATA, 1 << 40), |_| ());
    let no_size = made(|_| (), |_| (), |block| put(block, 10, &1_u16.to_le_bytes()));
    let other = with(vhdx(), 256 * KIB + 16, b"something else!!");
    vec![
        bad("vhdx-has-parent", Code::Parent, has_parent),
        bad("vhdx-parent-locator", Code::Parent, locator),
        bad("vhdx-log", Code::Dirty, log),
        bad("vhdx-unknown-region", Code::UnknownFeature, unknown),
        bad("vhdx-region-beyond", Code::Truncated, beyond),
        bad("vhdx-no-size", Code::Malformed, no_size),
        bad("vhdx-two-region-tables", Code::Malformed, other),
        bad("vhdx-cut-off", Code::Truncated, cut(vhdx(), METADATA + KIB)),
        bad("vhdx-headers", Code::Malformed, with(vhdx(), 64 * KIB, &vec![1; 68 * KIB])),
    ]
}
