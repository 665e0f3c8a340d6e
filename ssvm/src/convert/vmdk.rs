//! VMDK in one file, `monolithicSparse` (VMware Virtual Disk Format 5.0): header, description, both grain directories with
//! their tables, then the grains that hold anything.

use std::io;

use super::disk::GuestDisk;
use super::used::Used;
use super::{MadeUp, copy, filled};

pub(super) const SECTOR: u64 = 512;
/// Bytes of a grain, and entries of a table.
pub(super) const GRAIN: u64 = 65_536;
pub(super) const ENTRIES: u64 = 512;
/// Sectors of a table.
pub(super) const TABLE: u64 = ENTRIES * 4 / SECTOR;
/// Sectors of the description, behind the header.
const DESCRIPTION: u64 = 20;
/// Flags: line ends are tested; there is a second directory.
const FLAGS: u32 = 3;

/// The file; all places are sectors.
pub(super) struct SparseVmdk {
    disk: GuestDisk,
    used: Used,
    head: Vec<u8>,
    /// Tables of each directory, and sectors of the directory itself.
    tables: u64,
    directory: u64,
    /// Where the grains begin.
    grains: u64,
}

impl SparseVmdk {
    pub(super) fn new(disk: GuestDisk) -> io::Result<Self> {
        let used = Used::of(&disk, GRAIN, ENTRIES)?;
        let tables = disk.bytes().div_ceil(GRAIN).div_ceil(ENTRIES);
        let directory = (tables * 4).div_ceil(SECTOR);
        let first = 1 + DESCRIPTION;
        let second = first + directory + tables * TABLE;
        let grains = (second + directory + tables * TABLE).next_multiple_of(GRAIN / SECTOR);
        fits(grains + used.count * (GRAIN / SECTOR))?;
        let header = Header {
            version: 1,
            flags: FLAGS,
            capacity: disk.bytes() / SECTOR,
            redundant: first,
            directory: second,
            overhead: grains,
            compression: 0,
        };
        let mut head = header.bytes();
        head.extend(description(disk.bytes(), "monolithicSparse"));
        Ok(Self { disk, used, head, tables, directory, grains })
    }

    /// A sector between the description and the grains; `place` counts from the start of a directory.
    fn sector(&self, start: u64, place: u64) -> Vec<u8> {
        let word = |index: u64| -> u64 {
            if place < self.directory {
                let table = place * (SECTOR / 4) + index;
                if table < self.tables { start + self.directory + table * TABLE } else { 0 }
            } else {
                let grain = (place - self.directory) * (SECTOR / 4) + index;
                self.used.rank(grain).map_or(0, |rank| self.grains + rank * (GRAIN / SECTOR))
            }
        };
        words(SECTOR / 4, word)
    }
}

impl MadeUp for SparseVmdk {
    fn size(&self) -> u64 {
        self.grains * SECTOR + self.used.count * GRAIN
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let (sector, first) = (at / SECTOR, 1 + DESCRIPTION);
        let length = self.directory + self.tables * TABLE;
        if sector < first {
            return Ok(copy(&self.head, 0, at, into));
        }
        if sector < first + 2 * length {
            let start = if sector < first + length { first } else { first + length };
            return Ok(copy(&self.sector(start, sector - start), sector * SECTOR, at, into));
        }
        let grains = self.grains * SECTOR;
        if at < grains {
            return Ok(filled(0, grains - at, into));
        }
        let (rank, skip) = ((at - grains) / GRAIN, (at - grains) % GRAIN);
        let grain = self.used.nth(rank).ok_or(io::ErrorKind::NotFound)?;
        self.disk.padded(grain * GRAIN + skip, GRAIN - skip, into)
    }
}

/// Places in a VMDK are sectors of 32 bits.
pub(super) fn fits(sectors: u64) -> io::Result<()> {
    if sectors < u64::from(u32::MAX) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "too large for a VMDK in one file"))
}

/// `count` words of a table.
pub(super) fn words(count: u64, word: impl Fn(u64) -> u64) -> Vec<u8> {
    (0..count).flat_map(|at| u32::try_from(word(at)).unwrap_or(0).to_le_bytes()).collect()
}

/// What the first sector says.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) flags: u32,
    pub(super) capacity: u64,
    pub(super) redundant: u64,
    pub(super) directory: u64,
    pub(super) overhead: u64,
    pub(super) compression: u16,
}

impl Header {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend(b"KDMV");
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.capacity.to_le_bytes());
        bytes.extend((GRAIN / SECTOR).to_le_bytes());
        bytes.extend(1_u64.to_le_bytes()); // the description
        bytes.extend(DESCRIPTION.to_le_bytes());
        bytes.extend(u32::try_from(ENTRIES).unwrap_or(0).to_le_bytes());
        bytes.extend(self.redundant.to_le_bytes());
        bytes.extend(self.directory.to_le_bytes());
        bytes.extend(self.overhead.to_le_bytes());
        bytes.push(0); // closed properly
        bytes.extend(b"\n \r\n"); // what a transfer as text would change
        bytes.extend(self.compression.to_le_bytes());
        bytes.resize(512, 0);
        bytes
    }
}

/// The description, padded to its sectors.
pub(super) fn description(size: u64, kind: &str) -> Vec<u8> {
    let sectors = size / SECTOR;
    let cylinders = sectors / (255 * 63);
    // tells one content from another where there are parents; nobody has this as one
    let id = u32::try_from(sectors & 0x0fff_ffff).unwrap_or(0) | 0x5000_0000;
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID={id:08x}\nparentCID=ffffffff\n\
         createType=\"{kind}\"\n\n# Extent description\nRW {sectors} SPARSE \"disk.vmdk\"\n\n\
         # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"255\"\n\
         ddb.geometry.sectors = \"63\"\nddb.adapterType = \"lsilogic\"\n"
    );
    let mut bytes = text.into_bytes();
    bytes.resize(usize::try_from(DESCRIPTION * SECTOR).unwrap_or_default(), 0);
    bytes
}
