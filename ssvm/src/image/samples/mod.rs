//! Small images, sound and hostile, made in memory: what tests send in by every way there is.
//!
//! Each hostile one differs from a sound one in the one thing that it must be refused for.

mod archives;
mod vhdx;
mod virtual_pc;
mod vmware;

use super::{Format, RefusalCode};

pub use archives::{Member, ova, tar};
pub use vhdx::vhdx;
pub use virtual_pc::{dynamic_vhd, fixed_vhd};
pub use vmware::{descriptor, vmdk};

/// Disks of all samples, in bytes.
pub const DISK: u64 = 1 << 20;

/// An image and what becomes of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name, also a good file name.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is declared to be.
    pub declared: Option<Format>,
    /// The format it is found to be, or why it is refused.
    pub expected: Result<Format, RefusalCode>,
}

/// Makes every checksum of an image right that is where its format has it, as a forger would.
pub fn sum_up(image: &mut [u8]) {
    virtual_pc::sum_up(image);
    vhdx::sum_up(image);
    archives::sum_up(image);
}

fn good(name: &'static str, format: Format, bytes: Vec<u8>) -> Sample {
    Sample { name, bytes, declared: None, expected: Ok(format) }
}

fn bad(name: &'static str, code: RefusalCode, bytes: Vec<u8>) -> Sample {
    Sample { name, bytes, declared: None, expected: Err(code) }
}

/// One of every format and variant.
pub fn sound() -> Vec<Sample> {
    vec![
        good("qcow2-v2", Format::Qcow2, qcow2(2)),
        good("qcow2-v3", Format::Qcow2, qcow2(3)),
        good("raw-mbr", Format::Raw, raw()),
        good("raw-empty", Format::Raw, vec![0; 1 << 20]),
        good("vhd-fixed", Format::Vhd, fixed_vhd()),
        good("vhd-dynamic", Format::Vhd, dynamic_vhd()),
        good("vhdx", Format::Vhdx, vhdx()),
        good("vmdk", Format::Vmdk, vmdk(&descriptor("monolithicSparse", "disk.vmdk"))),
        good("ova", Format::Ova, ova("disk.vmdk")),
        good("iso", Format::Iso, iso()),
    ]
}

/// One for every reason to refuse.
pub fn hostile() -> Vec<Sample> {
    let mut all = pages();
    all.extend(qcow2s());
    all.extend(virtual_pc::hostile());
    all.extend(vhdx::hostile());
    all.extend(vmware::hostile());
    all.extend(archives::hostile());
    all.extend(others());
    all
}

/// Writes `value` at `at`; what is beyond the end is left out, which no sample does.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// `bytes` with `value` at `at`.
fn with(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    put(&mut bytes, at, value);
    bytes
}

/// The first `length` bytes.
fn cut(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.truncate(length);
    bytes
}

/// A disk with a partition table and text in it.
pub fn raw() -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    put(&mut bytes, 510, b"\x55\xaa");
    for (number, sector) in bytes.chunks_mut(512).enumerate().skip(2).step_by(3) {
        let text = format!("sector {number} of a disk");
        put(sector, 0, text.as_bytes());
    }
    bytes
}

/// An image of clusters of 512 bytes: header, refcount table, refcount block, L1 table.
pub fn qcow2(version: u32) -> Vec<u8> {
    const CLUSTER: usize = 512;
    let mut bytes = vec![0; 4 * CLUSTER];
    put(&mut bytes, 0, b"QFI\xfb");
    put(&mut bytes, 4, &version.to_be_bytes());
    put(&mut bytes, 20, &9_u32.to_be_bytes());
    put(&mut bytes, 24, &DISK.to_be_bytes());
    put(&mut bytes, 36, &32_u32.to_be_bytes()); // L1 entries, 32 KiB each
    put(&mut bytes, 40, &(3 * CLUSTER as u64).to_be_bytes());
    put(&mut bytes, 48, &(CLUSTER as u64).to_be_bytes());
    put(&mut bytes, 56, &1_u32.to_be_bytes());
    if version == 3 {
        put(&mut bytes, 96, &4_u32.to_be_bytes());
        put(&mut bytes, 100, &104_u32.to_be_bytes());
    }
    put(&mut bytes, CLUSTER, &(2 * CLUSTER as u64).to_be_bytes());
    for used in 0..4 {
        put(&mut bytes, 2 * CLUSTER + 2 * used, &1_u16.to_be_bytes());
    }
    bytes
}

fn qcow2s() -> Vec<Sample> {
    use RefusalCode as Code;
    let v3 = |at: usize, value: &[u8]| with(qcow2(3), at, value);
    let backing = with(v3(8, &200_u64.to_be_bytes()), 16, &11_u32.to_be_bytes());
    let named = |name: &[u8]| {
        let length = u32::try_from(name.len()).unwrap_or(0);
        let extension = [&0x4441_5441_u32.to_be_bytes()[..], &length.to_be_bytes(), name].concat();
        v3(104, &extension)
    };
    vec![
        bad("qcow2-backing-file", Code::BackingFile, with(backing, 200, b"/etc/shadow")),
        bad("qcow2-v2-backing-file", Code::BackingFile, with(qcow2(2), 8, &200_u64.to_be_bytes())),
        bad("qcow2-external-data", Code::ExternalData, v3(72, &4_u64.to_be_bytes())),
        bad("qcow2-external-data-name", Code::ExternalData, named(b"/dev/vda")),
        bad("qcow2-unknown-feature", Code::UnknownFeature, v3(72, &(1_u64 << 40).to_be_bytes())),
        bad("qcow2-corrupt", Code::Dirty, v3(72, &2_u64.to_be_bytes())),
        bad("qcow2-encrypted", Code::Encrypted, v3(32, &2_u32.to_be_bytes())),
        bad("qcow2-version-1", Code::Unsupported, v3(4, &1_u32.to_be_bytes())),
        bad("qcow2-version-4", Code::Unsupported, v3(4, &4_u32.to_be_bytes())),
        bad("qcow2-cluster-bits", Code::Malformed, v3(20, &63_u32.to_be_bytes())),
        bad("qcow2-l1-too-small", Code::Malformed, v3(24, &(1_u64 << 40).to_be_bytes())),
        bad("qcow2-l1-in-header", Code::Malformed, v3(40, &0_u64.to_be_bytes())),
        bad("qcow2-l1-huge", Code::Malformed, v3(36, &u32::MAX.to_be_bytes())),
        bad("qcow2-l2-beyond", Code::Truncated, with(qcow2(3), 1536, &(1_u64 << 30).to_be_bytes())),
        bad("qcow2-cut-off", Code::Truncated, cut(qcow2(3), 1600)),
        bad("qcow2-header-cut-off", Code::Truncated, cut(qcow2(3), 40)),
    ]
}

/// ISO 9660 with a primary descriptor, a terminator and one sector.
pub fn iso() -> Vec<u8> {
    let mut bytes = vec![0; 19 * 2048];
    put(&mut bytes, 16 * 2048, b"\x01CD001\x01");
    put(&mut bytes, 16 * 2048 + 80, &19_u32.to_le_bytes());
    put(&mut bytes, 16 * 2048 + 84, &19_u32.to_be_bytes());
    put(&mut bytes, 16 * 2048 + 128, &2048_u16.to_le_bytes());
    put(&mut bytes, 17 * 2048, b"\xffCD001\x01");
    bytes
}

fn pages() -> Vec<Sample> {
    use RefusalCode as Code;
    let html = b"\n<!DOCTYPE html>\n<html><body>Please log in</body></html>\n".to_vec();
    let with_mark = [b"\xef\xbb\xbf", &html[..]].concat();
    let long = [b"<html>".to_vec(), b"mirror ".repeat(1 << 18)].concat();
    vec![
        bad("page", Code::WebPage, html),
        bad("page-with-byte-order-mark", Code::WebPage, with_mark),
        bad("page-as-long-as-a-disk", Code::WebPage, long),
        bad("text", Code::Text, b"404 page not found\n".to_vec()),
        bad("json", Code::Text, br#"{"error":"no such key"}"#.to_vec()),
        bad("nothing", Code::TooSmall, Vec::new()),
        bad("a-sector-of-anything", Code::TooSmall, vec![0xa5; 512]),
        bad("raw-uneven", Code::Malformed, vec![0xa5; (1 << 20) + 7]),
    ]
}

fn others() -> Vec<Sample> {
    use RefusalCode as Code;
    let named = |magic: &[u8]| with(raw(), 0, magic);
    let mut all = vec![
        bad("still-gzip", Code::Compressed, named(b"\x1f\x8b\x08")),
        bad("still-xz", Code::Compressed, named(b"\xfd7zXZ\0")),
        bad("still-zstd", Code::Compressed, named(b"\x28\xb5\x2f\xfd")),
        bad("seven-zip", Code::Compressed, named(b"7z\xbc\xaf\x27\x1c")),
        bad("qed", Code::Unsupported, named(b"QED\0")),
        bad("luks", Code::Unsupported, named(b"LUKS\xba\xbe\x00\x02")),
        bad("vdi", Code::Unsupported, with(raw(), 0x40, b"\x7f\x10\xda\xbe")),
        bad("iso-cut-off", Code::Truncated, cut(iso(), 18 * 2048)),
        bad("iso-two-sizes", Code::Malformed, with(iso(), 16 * 2048 + 80, &7_u32.to_le_bytes())),
    ];
    let mismatch = |name, declared, bytes| Sample {
        name,
        bytes,
        declared: Some(declared),
        expected: Err(Code::FormatMismatch),
    };
    all.extend([
        mismatch("qcow2-declared-raw", Format::Raw, qcow2(3)),
        mismatch("raw-declared-qcow2", Format::Qcow2, raw()),
        mismatch("vhd-declared-raw", Format::Raw, fixed_vhd()),
        mismatch("qcow2-inside-fixed-vhd", Format::Vhd, with(fixed_vhd(), 0, &qcow2(3))),
        mismatch("qcow2-in-front-of-iso", Format::Iso, with(iso(), 0, &qcow2(3))),
    ]);
    all
}
