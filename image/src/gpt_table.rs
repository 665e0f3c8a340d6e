//! Writes the partition table: primary, backup and the protective MBR.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::Type;

use crate::error::{Result, file};
use crate::layout::{DISK, Slice};

/// Writes the table onto a disk image of the right size.
pub(crate) fn write(disk: &Path, sectors: u64, slices: &[Slice]) -> Result<()> {
    write_table(disk, sectors, slices).map_err(file("write the partition table of", disk))
}

fn write_table(path: &Path, sectors: u64, slices: &[Slice]) -> io::Result<()> {
    let mut device = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    let covered = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(covered).overwrite_lba0(&mut device).map_err(io::Error::other)?;
    let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut disk = config.create_from_device(device, Some(DISK)).map_err(io::Error::other)?;
    let partitions: BTreeMap<u32, Partition> = (1..).zip(slices.iter().map(partition)).collect();
    disk.update_partitions(partitions).map_err(io::Error::other)?;
    disk.write().map(drop).map_err(io::Error::other)
}

fn partition(slice: &Slice) -> Partition {
    Partition {
        part_type_guid: Type { guid: slice.kind, os: gpt::partition_types::OperatingSystem::None },
        part_guid: slice.id,
        first_lba: slice.first,
        last_lba: slice.first + slice.sectors - 1,
        flags: 0,
        name: slice.label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ROOT_A, SECTOR, TEMPLATE, disk_sectors};

    fn table() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let sectors = disk_sectors(&TEMPLATE);
        std::fs::File::create(&path).unwrap().set_len(sectors * SECTOR).unwrap();
        write(&path, sectors, &TEMPLATE).unwrap();
        let disk = GptConfig::new().open(&path).unwrap();
        let root = &disk.partitions()[&3];
        assert_eq!(
            (root.name.as_str(), root.first_lba, root.part_guid),
            ("sluice-root-a", ROOT_A.first, ROOT_A.id)
        );
        assert_eq!(disk.partitions().len(), TEMPLATE.len());
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn a_table_is_read_back_and_always_the_same() {
        let first = table();
        assert_eq!(&first[510..512], [0x55, 0xaa]);
        assert_eq!(first[450], 0xee, "the protective partition");
        assert_eq!(&first[512..520], b"EFI PART");
        assert!(first == table(), "two tables differ");
    }
}
