//! VMDK in one file, `streamOptimized` (VMware Virtual Disk Format 5.0): header and description, then each table behind the
//! grains that it is of, the directory, the footer, and a mark of the end.
//!
//! Grains are zlib streams of stored blocks (RFC 1951 3.2.4): all of one length, so that any byte of the file can be asked for.

use std::io;

use super::disk::GuestDisk;
use super::used::Used;
use super::vmdk::{ENTRIES, GRAIN, Header, SECTOR, TABLE, description, fits, words};
use super::{MadeUp, as_u64, copy, filled};

/// Sectors in front of the first grain.
const FRONT: u64 = 128;
/// Flags: line ends are tested; grains are compressed; there are markers.
const FLAGS: u32 = 0x3_0001;
/// Compressed by zlib.
const DEFLATE: u16 = 1;
/// `gdOffset` that says: look into the footer.
const AT_END: u64 = u64::MAX;
/// Bytes of a grain as a zlib stream: two of its own, two blocks with five each, and the sum.
const STREAM: u64 = 2 + 2 * 5 + GRAIN + 4;
/// Sectors of a grain with its marker.
const PACKED: u64 = (12 + STREAM).div_ceil(SECTOR);
/// Sectors of a table with its marker.
const MARKED: u64 = 1 + TABLE;
/// Most bytes of a stored block.
const STORED: usize = 65_535;

/// The file; all places are sectors.
pub(super) struct StreamVmdk {
    disk: GuestDisk,
    used: Used,
    head: Vec<u8>,
    foot: Vec<u8>,
    /// Where each table that is there begins with its grains, and the number of the first of them.
    groups: Vec<(u64, u64)>,
    /// Where the directory's marker is.
    directory: u64,
    tables: u64,
}

impl StreamVmdk {
    pub(super) fn new(disk: GuestDisk) -> io::Result<Self> {
        let used = Used::of(&disk, GRAIN, ENTRIES)?;
        let (mut groups, mut sector) = (Vec::with_capacity(used.tables.len()), FRONT);
        for table in &used.tables {
            let (first, end) = (used.before(table * ENTRIES), used.before((table + 1) * ENTRIES));
            groups.push((sector, first));
            sector += (end - first) * PACKED + MARKED;
        }
        let (directory, capacity) = (sector, disk.bytes() / SECTOR);
        let tables = disk.bytes().div_ceil(GRAIN).div_ceil(ENTRIES);
        let header = |directory| Header {
            version: 3,
            flags: FLAGS,
            capacity,
            redundant: 0,
            directory,
            overhead: FRONT,
            compression: DEFLATE,
        };
        let mut head = header(AT_END).bytes();
        head.extend(description(disk.bytes(), "streamOptimized"));
        let mut foot = marker(1, 3);
        foot.extend(header(directory + 1).bytes());
        foot.extend(marker(0, 0));
        let made = Self { disk, used, head, foot, groups, directory, tables };
        fits(made.footer())?;
        Ok(made)
    }

    /// Sectors of the directory.
    fn length(&self) -> u64 {
        (self.tables * 4).div_ceil(SECTOR)
    }

    /// Where the footer's marker is.
    fn footer(&self) -> u64 {
        self.directory + 1 + self.length()
    }

    /// Grains before the table that is the `number`th there, and those up to its end.
    fn grains(&self, number: usize) -> (u64, u64) {
        let first = self.groups.get(number).map_or(self.used.count, |(_, first)| *first);
        let end = self.groups.get(number + 1).map_or(self.used.count, |(_, first)| *first);
        (first, end)
    }

    /// The sector of the table that is the `number`th there.
    fn table_at(&self, number: usize) -> u64 {
        let (first, end) = self.grains(number);
        let start = self.groups.get(number).map_or(0, |(start, _)| *start);
        start + (end - first) * PACKED + 1
    }

    /// The directory.
    fn directory(&self) -> Vec<u8> {
        let word = |table| {
            let number = self.used.table_rank(table).and_then(|rank| usize::try_from(rank).ok());
            number.map_or(0, |number| self.table_at(number))
        };
        let mut bytes = marker(self.length(), 2);
        bytes.extend(words(self.length() * SECTOR / 4, word));
        bytes
    }

    /// The table that is the `number`th there.
    fn table(&self, number: usize) -> Vec<u8> {
        let (first, _) = self.grains(number);
        let start = self.groups.get(number).map_or(0, |(start, _)| *start);
        let table = self.used.tables.get(number).copied().unwrap_or(0);
        let word = |index: u64| {
            let rank = self.used.rank(table * ENTRIES + index);
            rank.map_or(0, |rank| start + (rank - first) * PACKED)
        };
        let mut bytes = marker(TABLE, 1);
        bytes.extend(words(ENTRIES, word));
        bytes
    }

    /// The grain of this number with its marker.
    fn packed(&self, rank: u64) -> io::Result<Vec<u8>> {
        let number = self.used.nth(rank).ok_or(io::ErrorKind::NotFound)?;
        let mut grain = vec![0; usize::try_from(GRAIN).unwrap_or_default()];
        self.disk.padded(number * GRAIN, GRAIN, &mut grain)?;
        let mut bytes = Vec::with_capacity(usize::try_from(PACKED * SECTOR).unwrap_or_default());
        bytes.extend((number * (GRAIN / SECTOR)).to_le_bytes());
        bytes.extend(u32::try_from(STREAM).unwrap_or(0).to_le_bytes());
        bytes.extend([0x78, 0x01]);
        let mut blocks = grain.chunks(STORED).peekable();
        while let Some(block) = blocks.next() {
            let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
            bytes.push(u8::from(blocks.peek().is_none()));
            bytes.extend(length.to_le_bytes());
            bytes.extend((!length).to_le_bytes());
            bytes.extend(block);
        }
        bytes.extend(adler32(&grain).to_be_bytes());
        bytes.resize(usize::try_from(PACKED * SECTOR).unwrap_or_default(), 0);
        Ok(bytes)
    }
}

impl MadeUp for StreamVmdk {
    fn size(&self) -> u64 {
        self.footer() * SECTOR + as_u64(self.foot.len())
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let sector = at / SECTOR;
        if at < as_u64(self.head.len()) {
            return Ok(copy(&self.head, 0, at, into));
        }
        if sector < FRONT {
            return Ok(filled(0, FRONT * SECTOR - at, into));
        }
        if sector >= self.footer() {
            return Ok(copy(&self.foot, self.footer() * SECTOR, at, into));
        }
        if sector >= self.directory {
            return Ok(copy(&self.directory(), self.directory * SECTOR, at, into));
        }
        let number = self.groups.partition_point(|(start, _)| *start <= sector);
        let number = number.checked_sub(1).ok_or(io::ErrorKind::NotFound)?;
        let table = self.table_at(number) - 1;
        if sector >= table {
            return Ok(copy(&self.table(number), table * SECTOR, at, into));
        }
        let (start, first) = self.groups.get(number).copied().unwrap_or_default();
        let grain = (sector - start) / PACKED;
        let bytes = self.packed(first + grain)?;
        Ok(copy(&bytes, (start + grain * PACKED) * SECTOR, at, into))
    }
}

/// A sector that says what the `sectors` behind it are: 1 a table, 2 the directory, 3 the footer, 0 the end.
fn marker(sectors: u64, kind: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend(sectors.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(kind.to_le_bytes());
    bytes.resize(512, 0);
    bytes
}

/// RFC 1950 8.2; sums are reduced before they can leave 32 bits.
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut one, mut two) = (1_u32, 0_u32);
    for some in bytes.chunks(5552) {
        for byte in some {
            one += u32::from(*byte);
            two += one;
        }
        one %= MODULUS;
        two %= MODULUS;
    }
    (two << 16) | one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_rfc_1950() {
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        let many = vec![0xff_u8; 70_000];
        let sum = |(one, two): (u64, u64), byte: &u8| {
            let one = (one + u64::from(*byte)) % 65_521;
            (one, (two + one) % 65_521)
        };
        let (one, two) = many.iter().fold((1, 0), sum);
        assert_eq!(u64::from(adler32(&many)), (two << 16) | one);
    }
}
