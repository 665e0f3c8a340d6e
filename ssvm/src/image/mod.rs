//! What a disk image is and whether a tool may be let near it, told from its own bytes.
//!
//! Guarantees: one inspection for every way in (import, upload, copy, a file already on a store). An image that names any
//! other file (backing file, data file, parent, extent, member outside its archive) is refused, whatever else it says, but a
//! snapshot that names just the parent that it was said to have; so is
//! one that is cut off, encrypted, or carries a feature nobody here knows. Nothing is written and no other program is asked.
//! No bytes may panic; memory is bounded whatever a header claims.
//!
//! Not here: whether the guest's data inside make sense. RAW has no header, so all that can be said of it is what it is not.

mod bytes;
mod detect;
mod iso;
mod layout;
mod ova;
mod ovf;
mod qcow2;
mod raw;
mod refusal;
pub mod samples;
mod tar;
mod vhd;
pub(crate) mod vhdx;
mod vmdk;
mod vmdk_descriptor;

use serde::{Deserialize, Serialize};

pub use bytes::{Bytes, Gap, Head, Part};
pub(crate) use ova::disks as disks_of_ova;
pub use refusal::{Judgement, Refusal, RefusalCode};
pub use sluice_api::types::ImageFormat as Format;

/// What an image was found to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inspection {
    /// Its format.
    pub format: Format,
    /// Its variant, such as `v3`, `dynamic` or `gpt`.
    pub variant: String,
    /// Size of the disk that a guest sees, in bytes; of an OVA the sum of its disks.
    pub virtual_size: u64,
}

/// What an image has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The format that it was declared to be. None: any.
    pub format: Option<Format>,
    /// Largest disk that a guest may see, in bytes. None: any.
    pub most_virtual: Option<u64>,
    /// File name of the image that it must be the difference to. None: it must stand alone.
    pub parent: Option<String>,
}

/// Judges an image that may still be arriving; [`Judgement::NotYet`] asks for more of it.
///
/// Errors: see [`RefusalCode`].
pub fn inspect(image: &dyn Bytes, wanted: &Wanted) -> Result<Inspection, Judgement> {
    let format = detect::detect(image)?;
    if let Some(declared) = wanted.format
        && declared != format
    {
        let detail = format!("declared {declared}, found {format}");
        return Err(Refusal::new(RefusalCode::FormatMismatch, detail).into());
    }
    let found = match &wanted.parent {
        None => inspect_as(image, format)?,
        Some(parent) if format == Format::Qcow2 => qcow2::inspect(image, Some(parent))?,
        Some(_) => {
            let detail = format!("only qcow2 images are let in with a parent, not {format}");
            return Err(Refusal::new(RefusalCode::Parent, detail).into());
        }
    };
    match wanted.most_virtual {
        Some(most) if found.virtual_size > most => {
            let detail = format!("a disk of {} bytes, limit {most}", found.virtual_size);
            Err(Refusal::new(RefusalCode::VirtualSize, detail).into())
        }
        _ => Ok(found),
    }
}

/// Judges an image that is known to be of `format`, or nothing at all.
///
/// Errors: as [`inspect`].
pub fn inspect_as(image: &dyn Bytes, format: Format) -> Result<Inspection, Judgement> {
    match format {
        Format::Qcow2 => qcow2::inspect(image, None),
        Format::Raw => raw::inspect(image),
        Format::Vhd => vhd::inspect(image),
        Format::Vhdx => vhdx::inspect(image),
        Format::Vmdk => vmdk::inspect(image),
        Format::Ova => ova::inspect(image),
        Format::Iso => iso::inspect(image),
    }
}

#[cfg(test)]
mod tests;
