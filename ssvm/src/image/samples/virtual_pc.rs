//! VHD.

use super::{DISK, RefusalCode, Sample, bad, cut, put, with};

const FOOTER: usize = 512;

fn footer(kind: u32, header: u64) -> Vec<u8> {
    let mut bytes = vec![0; FOOTER];
    put(&mut bytes, 0, b"conectix");
    put(&mut bytes, 8, &2_u32.to_be_bytes());
    put(&mut bytes, 12, &0x1_0000_u32.to_be_bytes());
    put(&mut bytes, 16, &header.to_be_bytes());
    put(&mut bytes, 40, &DISK.to_be_bytes());
    put(&mut bytes, 48, &DISK.to_be_bytes());
    put(&mut bytes, 60, &kind.to_be_bytes());
    put(&mut bytes, 68, b"0123456789abcdef");
    summed(bytes, 64)
}

/// `bytes` with their checksum at `at`.
fn summed(bytes: Vec<u8>, at: usize) -> Vec<u8> {
    let bytes = with(bytes, at, &[0; 4]);
    let sum = bytes.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    with(bytes, at, &(!sum).to_be_bytes())
}

/// Footers at the start and the end, the header where the first says.
pub(super) fn sum_up(image: &mut [u8]) {
    let end = image.len().saturating_sub(FOOTER);
    let header = image.get(16..24).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let header = header.and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
    for (at, magic, length, field) in [
        (0, b"conectix", FOOTER, 64),
        (end, b"conectix", FOOTER, 64),
        (header, b"cxsparse", 1024, 36),
    ] {
        let Some(block) = at.checked_add(length).and_then(|end| image.get_mut(at..end)) else {
            continue;
        };
        if block.starts_with(magic) {
            let sum = summed(block.to_vec(), field);
            block.copy_from_slice(&sum);
        }
    }
}

fn header(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    put(&mut bytes, 0, b"cxsparse");
    put(&mut bytes, 8, &u64::MAX.to_be_bytes());
    put(&mut bytes, 16, &1536_u64.to_be_bytes());
    put(&mut bytes, 24, &0x1_0000_u32.to_be_bytes());
    put(&mut bytes, 28, &1_u32.to_be_bytes());
    put(&mut bytes, 32, &(2_u32 << 20).to_be_bytes());
    change(&mut bytes);
    summed(bytes, 36)
}

fn dynamic(kind: u32, header: &[u8], entry: u32) -> Vec<u8> {
    let footer = footer(kind, 512);
    let table = with(vec![0xff; 512], 0, &entry.to_be_bytes());
    [&footer, header, &table, &footer].concat()
}

/// Data, then a footer.
pub fn fixed_vhd() -> Vec<u8> {
    [super::raw(), footer(2, u64::MAX)].concat()
}

/// Footer, header, an empty block table, footer.
pub fn dynamic_vhd() -> Vec<u8> {
    dynamic(3, &header(|_| ()), u32::MAX)
}

pub(super) fn hostile() -> Vec<Sample> {
    use RefusalCode as Code;
    let plain = header(|_| ());
    let locator = header(|bytes| put(bytes, 576, b"W2ku"));
    let parent = header(|bytes| put(bytes, 40, b"fedcba9876543210"));
    let blocks = header(|bytes| put(bytes, 28, &0_u32.to_be_bytes()));
    let whole = dynamic_vhd();
    let other_footer =
        [whole.get(..whole.len() - FOOTER).unwrap_or_default(), &footer(2, u64::MAX)].concat();
    vec![
        bad("vhd-differencing", Code::Parent, dynamic(4, &plain, u32::MAX)),
        bad("vhd-parent-locator", Code::Parent, dynamic(3, &locator, u32::MAX)),
        bad("vhd-parent-id", Code::Parent, dynamic(3, &parent, u32::MAX)),
        bad("vhd-footer-sum", Code::Malformed, with(whole.clone(), 41, b"\x07")),
        bad("vhd-header-sum", Code::Malformed, with(whole.clone(), 512 + 30, b"\x07")),
        bad("vhd-table-too-small", Code::Malformed, dynamic(3, &blocks, u32::MAX)),
        bad("vhd-block-beyond", Code::Truncated, dynamic(3, &plain, 1 << 20)),
        bad("vhd-two-footers", Code::Malformed, other_footer),
        bad("vhd-cut-off", Code::Truncated, cut(whole.clone(), whole.len() - FOOTER)),
        bad("vhd-fixed-size", Code::Malformed, [vec![0; 2 << 20], footer(2, u64::MAX)].concat()),
    ]
}
