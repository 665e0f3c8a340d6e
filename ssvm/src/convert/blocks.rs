//! Formats that keep a disk in pieces: where each stands in the file (dynamic VHD, VHDX, VMDK, and that of an OVA).
//!
//! What is read here was inspected when it came in; a table that leads out of the file all the same is an error, not a panic.

use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::ZlibDecoder;

use super::{MadeUp, as_u64, ova};
use crate::disk::File;
use crate::image::Format;
use crate::image::vhdx::{BLOCK_TABLE, DISK_SIZE, FILE_PARAMETERS, Guid, LOGICAL_SECTOR, METADATA};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// Largest piece of a VHD or VHDX (MS-VHDX 2.6.2.1), and of a VMDK, which is unpacked in memory.
const MOST_PIECE: u64 = 256 * MIB;
const MOST_GRAIN: u64 = 16 * MIB;
/// Smallest piece of a VMDK: eight sectors, by its specification.
const LEAST_GRAIN: u64 = 8 * SECTOR;

/// A disk in pieces of one size.
pub(super) struct Blocks {
    file: Arc<dyn File>,
    /// Size of the disk in bytes.
    pub(super) size: u64,
    /// Size of a piece in bytes.
    unit: u64,
    table: Table,
    /// The piece that was unpacked last.
    last: Mutex<Option<(u64, Arc<Vec<u8>>)>>,
    /// The table of a VMDK that was looked at last, by its sector.
    looked: Mutex<Option<(u64, Arc<Vec<u8>>)>>,
}

/// How a piece is found; offsets in bytes.
enum Table {
    /// Sectors of blocks, each behind a bitmap.
    Vhd { at: u64, bitmap: u64 },
    /// Blocks, with an entry that says something else after each `ratio` of them.
    Vhdx { at: u64, ratio: u64 },
    /// Sectors of tables of sectors.
    Vmdk { directory: u64, entries: u64, packed: bool, zeroed: bool },
}

/// What is known of a piece.
enum Piece {
    Hole,
    /// At this offset.
    Stored(u64),
    /// There, packed by zlib behind a marker.
    Packed(u64),
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// `N` bytes at `at`.
fn bytes<const N: usize>(file: &dyn File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    if file.read_at(at, &mut bytes)? < N {
        return Err(malformed("a table of the image lies beyond its end"));
    }
    Ok(bytes)
}

fn u32_be(file: &dyn File, at: u64) -> io::Result<u64> {
    Ok(u32::from_be_bytes(bytes(file, at)?).into())
}

fn u64_be(file: &dyn File, at: u64) -> io::Result<u64> {
    Ok(u64::from_be_bytes(bytes(file, at)?))
}

fn u32_le(file: &dyn File, at: u64) -> io::Result<u64> {
    Ok(u32::from_le_bytes(bytes(file, at)?).into())
}

fn u64_le(file: &dyn File, at: u64) -> io::Result<u64> {
    Ok(u64::from_le_bytes(bytes(file, at)?))
}

/// `number * each + base`, which no table of a sound image takes beyond what a file can have.
fn offset(base: u64, number: u64, each: u64) -> io::Result<u64> {
    let offset = number.checked_mul(each).and_then(|offset| offset.checked_add(base));
    let offset = offset.filter(|offset| i64::try_from(*offset).is_ok());
    offset.ok_or_else(|| malformed("a table of the image leads beyond 63 bits"))
}

impl Blocks {
    /// The disk of an image; none: it does not stand in pieces.
    pub(super) fn of(file: Arc<dyn File>, format: Format) -> io::Result<Option<Self>> {
        match format {
            Format::Vhd => Self::vhd(file),
            Format::Vhdx => Self::vhdx(file).map(Some),
            Format::Vmdk => Self::vmdk(file).map(Some),
            Format::Ova => Self::vmdk(ova::disk(file)?).map(Some),
            Format::Qcow2 | Format::Raw | Format::Iso => Ok(None),
        }
    }

    /// A VHD; none when it is a fixed one.
    fn vhd(file: Arc<dyn File>) -> io::Result<Option<Self>> {
        if bytes::<8>(&*file, 0)? != *b"conectix" {
            return Ok(None);
        }
        let (size, header) = (u64_be(&*file, 48)?, u64_be(&*file, 16)?);
        let at = u64_be(&*file, offset(header, 1, 16)?)?;
        let unit = u32_be(&*file, offset(header, 1, 32)?)?;
        let bitmap = unit.div_ceil(SECTOR).div_ceil(8).next_multiple_of(SECTOR);
        Self::new(file, size, unit, (SECTOR, MOST_PIECE), Table::Vhd { at, bitmap }).map(Some)
    }

    /// A VHDX.
    fn vhdx(file: Arc<dyn File>) -> io::Result<Self> {
        let regions = 192 * 1024;
        let (mut table, mut metadata) = (None, None);
        for number in 0..u32_le(&*file, regions + 8)?.min(2047) {
            let entry = regions + 16 + number * 32;
            let at = u64_le(&*file, entry + 16)?;
            match bytes::<16>(&*file, entry)? {
                BLOCK_TABLE => table = Some(at),
                METADATA => metadata = Some(at),
                _ => {}
            }
        }
        let at = table.ok_or_else(|| malformed("the VHDX has no block table"))?;
        let metadata = metadata.ok_or_else(|| malformed("the VHDX has no metadata"))?;
        let size = u64_le(&*file, item(&*file, metadata, &DISK_SIZE)?)?;
        let unit = u32_le(&*file, item(&*file, metadata, &FILE_PARAMETERS)?)?;
        let sector = u32_le(&*file, item(&*file, metadata, &LOGICAL_SECTOR)?)?;
        if sector != 512 && sector != 4096 {
            return Err(malformed("the VHDX's sectors are neither 512 nor 4096 bytes"));
        }
        // MS-VHDX 2.5: so many blocks have one bitmap
        let ratio = (sector << 23) / unit.max(1);
        Self::new(file, size, unit, (MIB, MOST_PIECE), Table::Vhdx { at, ratio: ratio.max(1) })
    }

    /// A VMDK in one file.
    fn vmdk(file: Arc<dyn File>) -> io::Result<Self> {
        let flags = u32_le(&*file, 8)?;
        let mut directory = u64_le(&*file, 56)?;
        if directory == u64::MAX {
            // a stream says at its end where its directory is
            let footer = file.length()?.checked_sub(2 * SECTOR);
            let footer = footer.ok_or_else(|| malformed("the VMDK has no footer"))?;
            directory = u64_le(&*file, footer + 56)?;
        }
        let size = offset(0, u64_le(&*file, 12)?, SECTOR)?;
        let unit = offset(0, u64_le(&*file, 20)?, SECTOR)?;
        let entries = u32_le(&*file, 44)?;
        if !(1..=4096).contains(&entries) {
            return Err(malformed("the VMDK has a strange number of entries a table"));
        }
        let (packed, zeroed) = (flags & (1 << 16) != 0, flags & 4 != 0);
        let directory = offset(0, directory, SECTOR)?;
        let table = Table::Vmdk { directory, entries, packed, zeroed };
        Self::new(file, size, unit, (LEAST_GRAIN, MOST_GRAIN), table)
    }

    fn new(
        file: Arc<dyn File>,
        size: u64,
        unit: u64,
        (least, most): (u64, u64),
        table: Table,
    ) -> io::Result<Self> {
        if !unit.is_power_of_two() || !(least..=most).contains(&unit) {
            return Err(malformed("the image's blocks have a strange size"));
        }
        let (last, looked) = (Mutex::default(), Mutex::default());
        Ok(Self { file, size, unit, table, last, looked })
    }

    /// Where the piece `number` is.
    fn piece(&self, number: u64) -> io::Result<Piece> {
        let file = &*self.file;
        match self.table {
            Table::Vhd { at, bitmap } => match u32_be(file, offset(at, number, 4)?)? {
                0xffff_ffff => Ok(Piece::Hole),
                sector => Ok(Piece::Stored(offset(bitmap, sector, SECTOR)?)),
            },
            Table::Vhdx { at, ratio } => {
                let entry = u64_le(file, offset(at, number + number / ratio, 8)?)?;
                match entry & 7 {
                    6 => Ok(Piece::Stored(entry & !(MIB - 1))),
                    7 => Err(malformed("a block of the VHDX is partly its parent's")),
                    _ => Ok(Piece::Hole),
                }
            }
            Table::Vmdk { directory, entries, packed, zeroed } => {
                let table = u32_le(file, offset(directory, number / entries, 4)?)?;
                if table == 0 {
                    return Ok(Piece::Hole);
                }
                let sector = self.entry(table, number % entries, entries)?;
                Ok(match sector {
                    0 => Piece::Hole,
                    1 if zeroed => Piece::Hole,
                    sector if packed => Piece::Packed(sector * SECTOR),
                    sector => Piece::Stored(sector * SECTOR),
                })
            }
        }
    }

    /// An entry of the table of a VMDK at a sector.
    fn entry(&self, sector: u64, index: u64, entries: u64) -> io::Result<u64> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = looked.as_ref().filter(|(at, _)| *at == sector).map(|(_, table)| table);
        let table = if let Some(table) = known {
            Arc::clone(table)
        } else {
            let mut table = vec![0; usize::try_from(entries * 4).unwrap_or_default()];
            if self.file.read_at(sector * SECTOR, &mut table)? < table.len() {
                return Err(malformed("a grain table lies beyond the end of the VMDK"));
            }
            let table = Arc::new(table);
            *looked = Some((sector, Arc::clone(&table)));
            table
        };
        let (words, _) = table.as_chunks::<4>();
        let word = usize::try_from(index).ok().and_then(|index| words.get(index));
        Ok(word.map_or(0, |word| u64::from(u32::from_le_bytes(*word))))
    }

    /// Reads at `at`, inside the disk.
    pub(super) fn read(&self, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let (number, skip) = (at / self.unit, at % self.unit);
            let length = usize::try_from(self.unit - skip).unwrap_or(usize::MAX).min(into.len());
            let (now, later) = into.split_at_mut(length);
            match self.piece(number)? {
                Piece::Hole => now.fill(0),
                Piece::Stored(start) => {
                    let read = self.file.read_at(offset(skip, 1, start)?, now)?;
                    if read < now.len() {
                        return Err(malformed("a block lies beyond the end of the image"));
                    }
                }
                Piece::Packed(start) => {
                    let grain = self.unpacked(start)?;
                    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                    let from = grain.get(skip..).unwrap_or_default();
                    let there = from.len().min(now.len());
                    let (some, beyond) = now.split_at_mut(there);
                    some.copy_from_slice(from.get(..there).unwrap_or_default());
                    beyond.fill(0);
                }
            }
            at += as_u64(length);
            into = later;
        }
        Ok(())
    }

    /// The grain whose marker is at `start` (VMware Virtual Disk Format 5.0, stream-optimized).
    fn unpacked(&self, start: u64) -> io::Result<Arc<Vec<u8>>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, grain)) = last.as_ref().filter(|(at, _)| *at == start) {
            return Ok(Arc::clone(grain));
        }
        let length = u32_le(&*self.file, offset(8, 1, start)?)?;
        if length > 2 * self.unit + 4096 {
            return Err(malformed("a packed grain is larger than what it is of"));
        }
        let mut packed = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        if self.file.read_at(offset(12, 1, start)?, &mut packed)? < packed.len() {
            return Err(malformed("a grain lies beyond the end of the VMDK"));
        }
        let mut grain = Vec::new();
        let unpacked = ZlibDecoder::new(&*packed).take(self.unit).read_to_end(&mut grain);
        unpacked.map_err(|_| malformed("a grain of the VMDK cannot be unpacked"))?;
        let grain = Arc::new(grain);
        *last = Some((start, Arc::clone(&grain)));
        Ok(grain)
    }

    /// How far the bytes at `at` are alike, and whether they take no room.
    pub(super) fn extent(&self, at: u64) -> io::Result<(bool, u64)> {
        let hole = matches!(self.piece(at / self.unit)?, Piece::Hole);
        Ok((hole, (self.unit - at % self.unit).min(self.size - at)))
    }
}

impl MadeUp for Blocks {
    fn size(&self) -> u64 {
        self.size
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.read(at, into)?;
        Ok(into.len())
    }
}

/// Where the value of a metadata item of a VHDX is (MS-VHDX 2.6.1).
fn item(file: &dyn File, region: u64, wanted: &Guid) -> io::Result<u64> {
    let count = u64::from(u16::from_le_bytes(bytes(file, offset(10, 1, region)?)?));
    for number in 0..count.min(2047) {
        let entry = offset(region, number, 32)?.saturating_add(32);
        if bytes::<16>(file, entry)? == *wanted {
            return offset(region, u32_le(file, entry.saturating_add(16))?, 1);
        }
    }
    Err(malformed("metadata of the VHDX are missing"))
}
