//! Where everything is on the disk: fixed places and fixed identities, so that slots can be exchanged and images compared.

use uuid::Uuid;

/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 512;
const MIB: u64 = 1024 * 1024 / SECTOR;

/// Identity of the disk.
pub(crate) const DISK: Uuid = uuid(0x00);
/// Serial number of the EFI file system: how GRUB finds it, whatever the disk is called.
pub(crate) const ESP_SERIAL: u32 = 0x534c_5543;
/// Identity of the data file system.
pub(crate) const DATA_FS: Uuid = uuid(0x15);

const BIOS_BOOT: Uuid = Uuid::from_u128(0x2168_6148_6449_6e6f_744e_6565_6445_4649);
const EFI_SYSTEM: Uuid = Uuid::from_u128(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
const ROOT_X86_64: Uuid = Uuid::from_u128(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
const LINUX_DATA: Uuid = Uuid::from_u128(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4);

/// A partition of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Its GPT label, by which PID 1 finds it.
    pub(crate) label: &'static str,
    /// What it is for.
    pub(crate) kind: Uuid,
    /// Its identity.
    pub(crate) id: Uuid,
    /// First sector.
    pub(crate) first: u64,
    /// Number of sectors.
    pub(crate) sectors: u64,
}

impl Slice {
    const fn new(number: u8, label: &'static str, kind: Uuid, first: u64, mib: u64) -> Self {
        Self { label, kind, id: uuid(number), first, sectors: mib * MIB }
    }

    /// Place on the disk in bytes.
    pub(crate) fn offset(&self) -> u64 {
        self.first * SECTOR
    }

    /// Size in bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.sectors * SECTOR
    }

    const fn end(&self) -> u64 {
        self.first + self.sectors
    }
}

/// GRUB's second stage.
pub(crate) const BIOS: Slice = Slice::new(1, "sluice-bios", BIOS_BOOT, MIB, 1);
/// Boot loader, and kernel and initrd of both slots.
pub(crate) const ESP: Slice = Slice::new(2, "sluice-esp", EFI_SYSTEM, BIOS.end(), 64);
/// Root of slot A, with room for a hash tree behind it.
pub(crate) const ROOT_A: Slice = Slice::new(3, "sluice-root-a", ROOT_X86_64, ESP.end(), 96);
/// Root of slot B: empty in a new image, the place of the next version.
pub(crate) const ROOT_B: Slice = Slice::new(4, "sluice-root-b", ROOT_X86_64, ROOT_A.end(), 96);
/// The ledger; last, so that a larger disk gives it more room. As it is it holds four configurations of the largest size
/// (`sluice_api::MAX_CONFIG`: the committed one, two before it and the one under way) and all blobs, 120 MiB together.
pub(crate) const DATA: Slice = Slice::new(5, "sluice-data", LINUX_DATA, ROOT_B.end(), 160);

/// The template's partitions in order.
pub(crate) const TEMPLATE: [Slice; 5] = [BIOS, ESP, ROOT_A, ROOT_B, DATA];

/// A test host's one partition, for a root of this many bytes.
pub(crate) fn host_root(bytes: u64) -> Slice {
    Slice {
        sectors: bytes.div_ceil(SECTOR * MIB) * MIB,
        ..Slice::new(0x20, "sluice-host", ROOT_X86_64, MIB, 0)
    }
}

/// Sectors of a disk with these partitions: the backup table is behind the last one.
pub(crate) fn disk_sectors(slices: &[Slice]) -> u64 {
    slices.iter().map(Slice::end).max().unwrap_or_default() + MIB
}

/// Our identities differ in the last byte.
const fn uuid(number: u8) -> Uuid {
    Uuid::from_u128(0x736c_7569_6365_4000_8000_0000_0000_0000 | number as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_on_whole_mebibytes() {
        for pair in TEMPLATE.windows(2) {
            assert_eq!(pair[0].end(), pair[1].first);
        }
        assert!(TEMPLATE.iter().all(|slice| slice.first % MIB == 0));
        assert_eq!(disk_sectors(&TEMPLATE) * SECTOR, 419 * 1024 * 1024);
    }

    #[test]
    fn identities_differ() {
        let mut ids: Vec<_> =
            TEMPLATE.iter().map(|slice| slice.id).chain([DISK, DATA_FS]).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 7);
    }

    #[test]
    fn a_host_root_fits() {
        assert_eq!(host_root(1).sectors, MIB);
        assert!(host_root(5 * 1024 * 1024 + 1).capacity() > 5 * 1024 * 1024);
    }
}
