//! An image as the inspectors see it: bytes at offsets, some of which may not be there yet.

use std::io;

/// Why bytes could not be had.
#[derive(Debug)]
pub enum Gap {
    /// They have not arrived.
    NotYet,
    /// The image ends before them.
    Past,
    /// Reading failed.
    Io(io::Error),
}

/// Random access to an image.
pub trait Bytes {
    /// Its length in bytes, as soon as it is known.
    fn length(&self) -> Option<u64>;

    /// Fills `into` from offset `at`, all of it or none.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Gap>;
}

impl Bytes for [u8] {
    fn length(&self) -> Option<u64> {
        u64::try_from(self.len()).ok()
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Gap> {
        copy(self, at, into).ok_or(Gap::Past)
    }
}

impl Bytes for Vec<u8> {
    fn length(&self) -> Option<u64> {
        self.as_slice().length()
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Gap> {
        self.as_slice().read(at, into)
    }
}

fn copy(from: &[u8], at: u64, into: &mut [u8]) -> Option<()> {
    let start = usize::try_from(at).ok()?;
    let end = start.checked_add(into.len())?;
    into.copy_from_slice(from.get(start..end)?);
    Some(())
}

/// The first bytes of an image that is still arriving.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// What has arrived, from offset 0.
    pub bytes: &'a [u8],
}

impl Bytes for Head<'_> {
    fn length(&self) -> Option<u64> {
        None
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Gap> {
        copy(self.bytes, at, into).ok_or(Gap::NotYet)
    }
}

/// A range of another image, such as a member of an archive.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// The whole.
    pub of: &'a dyn Bytes,
    /// Offset of the part in it.
    pub at: u64,
    /// Length of the part in bytes.
    pub length: u64,
}

impl Bytes for Part<'_> {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Gap> {
        let length = u64::try_from(into.len()).map_err(|_| Gap::Past)?;
        let end = at.checked_add(length).ok_or(Gap::Past)?;
        if end > self.length {
            return Err(Gap::Past);
        }
        self.of.read(self.at.checked_add(at).ok_or(Gap::Past)?, into)
    }
}
