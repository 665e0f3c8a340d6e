//! One format seen as another: the disk of an object as the guest sees it, laid out anew while it is read.
//!
//! Guarantees: what is read is the same every time, so that a conversion is resumed like any other import, and goes through
//! the same pass; only the files that the caller names are opened, each as the format that the caller says; nothing that
//! stands in an image names another file. No other program is started.
//!
//! Read are qcow2 with its parents, raw, VHD, VHDX, VMDK in one file and the one disk of an OVA; written are the same but
//! OVA, VHD and VMDK in the layout that is asked for. Rejected: qemu-img, which would
//! parse what tenants sent in a language without bounds, and needs a sandbox of its own.

mod blocks;
mod disk;
mod dynamic;
mod ova;
mod qcow2;
mod stream;
mod used;
mod vhd;
mod vhdx;
mod vmdk;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::File;
use crate::image::Format;
use crate::slice::ImageLayout;
use blocks::Blocks;
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

/// Whether images of `format` are made.
pub const fn is_written(format: Format) -> bool {
    match format {
        Format::Qcow2 | Format::Raw | Format::Vhd | Format::Vhdx | Format::Vmdk => true,
        Format::Ova | Format::Iso => false,
    }
}

/// Whether images of `format` can be made into others.
pub const fn is_read(format: Format) -> bool {
    is_written(format) || matches!(format, Format::Ova)
}

/// What an image says of itself that is laid out so ([`Inspection::variant`](crate::image::Inspection)).
pub const fn variant(layout: ImageLayout) -> &'static str {
    match layout {
        ImageLayout::Fixed => "fixed",
        ImageLayout::Dynamic => "dynamic",
        ImageLayout::Sparse => "monolithicSparse",
        ImageLayout::StreamOptimized => "streamOptimized",
    }
}

/// The disk of `layers`, the object first and then its parents, as an image of `format` in this `layout`. Blocks, and has to be called where
/// that and a runtime are at hand; so has every read of what it returns.
///
/// Errors: an image cannot be read, or one of the formats is not known here.
pub fn view(
    layers: &[Layer],
    format: Format,
    layout: Option<ImageLayout>,
) -> io::Result<Arc<dyn File>> {
    let disk = GuestDisk::open(layers)?;
    Ok(match format {
        Format::Raw => Arc::new(disk),
        Format::Vhd if layout == Some(ImageLayout::Dynamic) => {
            Arc::new(dynamic::DynamicVhd::new(disk)?)
        }
        Format::Vhd => Arc::new(vhd::FixedVhd::new(disk)),
        Format::Vhdx => Arc::new(vhdx::Vhdx::new(disk)?),
        Format::Vmdk if layout == Some(ImageLayout::Sparse) => {
            Arc::new(vmdk::SparseVmdk::new(disk)?)
        }
        Format::Vmdk => Arc::new(stream::StreamVmdk::new(disk)?),
        Format::Qcow2 => Arc::new(qcow2::Qcow2File::new(disk)?),
        other => return Err(unknown(other)),
    })
}

/// The disk of an image that keeps it in pieces, read alone; none: the format, or this image, keeps it otherwise.
///
/// Errors: its tables cannot be read.
pub fn in_pieces(file: Arc<dyn File>, format: Format) -> io::Result<Option<Arc<dyn File>>> {
    let blocks = Blocks::of(file, format)?;
    Ok(blocks.map(|blocks| Arc::new(blocks) as Arc<dyn File>))
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

/// Fills the start of `into` with `byte`, at most `most` of it; returns how much.
fn filled(byte: u8, most: u64, into: &mut [u8]) -> usize {
    let length = into.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    into.get_mut(..length).unwrap_or_default().fill(byte);
    length
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // numbers of a test
mod tests;
