//! The disk as a guest sees it.

use std::fmt;
use std::io;

use imago::file::File as ImageFile;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::storage::{Storage as _, StorageOpenOptions};
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder as _, Mapping};
use tokio::runtime::Handle;

use super::blocks::Blocks;
use super::{Layer, MOST_LAYERS, MadeUp, unknown};
use crate::disk::{Disk as _, RealDisk};
use crate::image::Format;

/// Length of the footer of a VHD, which is no part of the disk.
const FOOTER: u64 = 512;

/// A disk that can be read at any place.
pub(super) struct GuestDisk {
    access: Access,
    size: u64,
}

enum Access {
    /// qcow2 with its parents.
    Imago(Box<FormatAccess<ImageFile>>),
    /// Plain sectors.
    Plain(Box<FormatAccess<ImageFile>>),
    /// What stands in pieces.
    Blocks(Box<Blocks>),
}

impl fmt::Debug for GuestDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestDisk").field("size", &self.size).finish_non_exhaustive()
    }
}

impl GuestDisk {
    /// Opens the layers, the last one first: each is told what is behind it.
    pub(super) fn open(layers: &[Layer]) -> io::Result<Self> {
        if layers.len() > MOST_LAYERS {
            return Err(io::Error::other(format!("a chain of more than {MOST_LAYERS} images")));
        }
        if let [layer] = layers
            && let Some(blocks) = blocks(layer)?
        {
            return Ok(Self { size: blocks.size, access: Access::Blocks(Box::new(blocks)) });
        }
        let mut below = None;
        for layer in layers.iter().rev() {
            below = Some(Handle::current().block_on(open(layer, below))?);
        }
        below.ok_or_else(|| io::Error::other("no image"))
    }

    /// Its size in bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.size
    }

    /// Whether nothing in it says what is empty.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.access, Access::Plain(_))
    }

    /// Reads at `at`, inside the disk.
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.access {
            Access::Imago(access) | Access::Plain(access) => {
                Handle::current().block_on(access.read(into, at))
            }
            Access::Blocks(blocks) => blocks.read(at, into),
        }
    }

    /// Fills `into` with at most `most` bytes from `at` on, as zeros what is beyond the disk's end; returns how many.
    pub(super) fn padded(&self, at: u64, most: u64, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let there = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let into = into.get_mut(..length).unwrap_or_default();
        let (bytes, beyond) = into.split_at_mut(there.min(length));
        if !bytes.is_empty() {
            self.read(at, bytes)?;
        }
        beyond.fill(0);
        Ok(length)
    }

    /// How far the bytes at `at` are alike, and whether they are zeros that take no room.
    pub(super) fn extent(&self, at: u64) -> io::Result<(bool, u64)> {
        let left = self.size - at;
        let access = match &self.access {
            Access::Imago(access) | Access::Plain(access) => access,
            Access::Blocks(blocks) => return blocks.extent(at),
        };
        let (mapping, length) = Handle::current().block_on(access.get_mapping(at, left))?;
        let hole = matches!(mapping, Mapping::Zero { .. } | Mapping::Eof { .. });
        // nothing is said of no bytes
        Ok((hole, length.clamp(1, left)))
    }
}

/// A disk that stands in pieces; none: it does not.
fn blocks(layer: &Layer) -> io::Result<Option<Blocks>> {
    match layer.format {
        Format::Qcow2 | Format::Raw => Ok(None),
        format => Blocks::of(RealDisk.open(&layer.path)?, format),
    }
}

async fn open(layer: &Layer, below: Option<GuestDisk>) -> io::Result<GuestDisk> {
    let options = StorageOpenOptions::new().filename(&layer.path);
    let file = ImageFile::open(options).await?;
    let length = file.size()?;
    let gate = DenyImplicitOpenGate::default();
    match layer.format {
        Format::Qcow2 => {
            let below = match below.map(|below| below.access) {
                Some(Access::Imago(access) | Access::Plain(access)) => Some(*access),
                Some(Access::Blocks(_)) => return Err(unknown(layer.format)),
                None => None,
            };
            let image = Qcow2::<ImageFile>::builder(file).backing(below).open(gate).await?;
            let access = FormatAccess::new(image);
            Ok(GuestDisk { size: access.size(), access: Access::Imago(Box::new(access)) })
        }
        Format::Raw | Format::Vhd => {
            let access = FormatAccess::new(Raw::builder(file).open(gate).await?);
            let footer = if layer.format == Format::Vhd { FOOTER } else { 0 };
            let size = length.saturating_sub(footer);
            Ok(GuestDisk { size, access: Access::Plain(Box::new(access)) })
        }
        other => Err(unknown(other)),
    }
}

impl MadeUp for GuestDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.read(at, into)?;
        Ok(into.len())
    }
}
