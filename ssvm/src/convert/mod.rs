//! One format seen as another: the disk of an object as the guest sees it, laid out anew while it is read.
//!
//! Guarantees: what is read is the same every time, so that a conversion is resumed like any other import, and goes through
//! the same pass; only the files that the caller names are opened, each as the format that the caller says; nothing that
//! stands in an image names another file. No other program is started.
//!
//! Read are qcow2 with its parents, raw, and fixed VHD; written are qcow2, raw and fixed VHD. Rejected: qemu-img, which would
//! parse what tenants sent in a language without bounds, and needs a sandbox of its own.

mod disk;
mod qcow2;
mod vhd;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::File;
use crate::image::Format;
use disk::GuestDisk;

/// Most images of a chain.
pub const MOST_LAYERS: usize = 64;

/// An image that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its file.
    pub path: PathBuf,
    /// What it was found to be when it came in.
    pub format: Format,
}

/// Whether `format` can be read, or written.
pub const fn is_known(format: Format) -> bool {
    matches!(format, Format::Qcow2 | Format::Raw | Format::Vhd)
}

/// The disk of `layers`, the object first and then its parents, as an image of `format`. Blocks, and has to be called where
/// that and a runtime are at hand; so has every read of what it returns.
///
/// Errors: an image cannot be read, or one of the formats is not known here.
pub fn view(layers: &[Layer], format: Format) -> io::Result<Arc<dyn File>> {
    let disk = GuestDisk::open(layers)?;
    Ok(match format {
        Format::Raw => Arc::new(disk),
        Format::Vhd => Arc::new(vhd::FixedVhd::new(disk)),
        Format::Qcow2 => Arc::new(qcow2::Qcow2File::new(disk)?),
        other => return Err(unknown(other)),
    })
}

fn unknown(format: Format) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{format} is not converted"))
}

/// Reads of files that are made up while they are read.
trait MadeUp: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// Fills `into` with the bytes from `at` on, as far as they belong to one part of the file; returns how many those were,
    /// at least one.
    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl<T: MadeUp> File for T {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = at + as_u64(filled);
            let Some(left) = self.size().checked_sub(at).filter(|left| *left > 0) else { break };
            let length = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(rest) = rest.get_mut(..length) else { break };
            match self.some_at(at, rest)? {
                0 => break,
                some => filled += some,
            }
        }
        Ok(filled)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.size())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Copies of `from`, which is at `start` of a file, what `into` at `at` wants; returns how much.
fn copy(from: &[u8], start: u64, at: u64, into: &mut [u8]) -> usize {
    let skip = usize::try_from(at - start).unwrap_or(usize::MAX);
    let from = from.get(skip..).unwrap_or_default();
    let length = from.len().min(into.len());
    if let (Some(to), Some(from)) = (into.get_mut(..length), from.get(..length)) {
        to.copy_from_slice(from);
    }
    length
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // numbers of a test
mod tests;
