//! VMDK.

use super::{DISK, RefusalCode, Sample, bad, cut, put, with};

const SECTOR: usize = 512;
/// Sectors of the disk.
const SECTORS: u64 = DISK / 512;

/// A description of one extent.
pub fn descriptor(kind: &str, file: &str) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"{kind}\"\n\n\
         # Extent description\nRW {SECTORS} SPARSE \"{file}\"\n\n# The Disk Data Base\n\
         ddb.adapterType = \"ide\"\n"
    )
}

/// A sparse extent with `text` as its description: header, description, directory, one table of grains that are not there.
pub fn vmdk(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 26 * SECTOR];
    put(&mut bytes, 0, b"KDMV");
    put(&mut bytes, 4, &1_u32.to_le_bytes());
    put(&mut bytes, 8, &3_u32.to_le_bytes());
    put(&mut bytes, 12, &SECTORS.to_le_bytes());
    put(&mut bytes, 20, &128_u64.to_le_bytes());
    put(&mut bytes, 28, &1_u64.to_le_bytes());
    put(&mut bytes, 36, &20_u64.to_le_bytes());
    put(&mut bytes, 44, &512_u32.to_le_bytes());
    put(&mut bytes, 56, &21_u64.to_le_bytes());
    put(&mut bytes, 64, &128_u64.to_le_bytes());
    put(&mut bytes, 73, b"\n \r\n");
    put(&mut bytes, SECTOR, text.as_bytes());
    put(&mut bytes, 21 * SECTOR, &22_u32.to_le_bytes());
    bytes
}

fn edited(from: &str, to: &str) -> Vec<u8> {
    vmdk(&descriptor("monolithicSparse", "disk.vmdk").replace(from, to))
}

pub(super) fn hostile() -> Vec<Sample> {
    use RefusalCode as Code;
    let whole = || vmdk(&descriptor("monolithicSparse", "disk.vmdk"));
    let external = |file: &str| vmdk(&descriptor("monolithicSparse", file));
    let two = format!("SPARSE \"disk.vmdk\"\nRW {SECTORS} SPARSE \"b.vmdk\"");
    let footer_missing =
        with(with(whole(), 56, &u64::MAX.to_le_bytes()), 8, &(0x1_0003_u32).to_le_bytes());
    vec![
        bad(
            "vmdk-description-alone",
            Code::ExternalExtent,
            (descriptor("monolithicFlat", "/etc/shadow") + &"#\n".repeat(512)).into_bytes(),
        ),
        bad("vmdk-flat", Code::ExternalExtent, vmdk(&descriptor("monolithicFlat", "disk.vmdk"))),
        bad("vmdk-flat-extent", Code::ExternalExtent, edited("SPARSE", "FLAT")),
        bad("vmdk-extent-path", Code::ExternalExtent, external("/dev/vda")),
        bad("vmdk-extent-parent-path", Code::ExternalExtent, external("../other.vmdk")),
        bad("vmdk-extent-url", Code::ExternalExtent, external("nbd:10.0.0.1:10809")),
        bad("vmdk-two-extents", Code::ExternalExtent, edited("SPARSE \"disk.vmdk\"", &two)),
        bad(
            "vmdk-change-tracking",
            Code::ExternalExtent,
            edited("CID=12345678", "changeTrackPath=\"/etc/x\""),
        ),
        bad("vmdk-parent", Code::Parent, edited("parentCID=ffffffff", "parentCID=00000001")),
        bad(
            "vmdk-parent-hint",
            Code::Parent,
            edited("CID=12345678", "parentFileNameHint=\"/etc/x\""),
        ),
        // QEMU opens the extents of a description whose header has no capacity
        bad("vmdk-no-capacity", Code::Malformed, with(whole(), 12, &0_u64.to_le_bytes())),
        bad("vmdk-two-sizes", Code::Malformed, with(whole(), 12, &(SECTORS * 2).to_le_bytes())),
        bad("vmdk-no-description", Code::ExternalExtent, with(whole(), 28, &0_u64.to_le_bytes())),
        bad("vmdk-description-huge", Code::Malformed, with(whole(), 36, &u64::MAX.to_le_bytes())),
        bad("vmdk-footer-missing", Code::Truncated, footer_missing),
        bad("vmdk-esx", Code::Unsupported, with(whole(), 0, b"COWD")),
        bad("vmdk-cut-off", Code::Truncated, cut(whole(), 21 * SECTOR)),
        bad(
            "vmdk-table-beyond",
            Code::Truncated,
            with(whole(), 21 * SECTOR, &u32::MAX.to_le_bytes()),
        ),
    ]
}
