//! The disk of an OVA, read where it lies in the archive.
//!
//! The archive was inspected when it came in; whatever it says now is looked at again, so that nothing but the part that is a
//! disk by its description is read.

use std::io;
use std::sync::Arc;

use super::MadeUp;
use crate::disk::File;
use crate::image::{self, Judgement};
use crate::pass::Partial;

/// A part of a file.
struct Section {
    file: Arc<dyn File>,
    at: u64,
    length: u64,
}

/// The disk of the OVA in `file`.
///
/// Errors: it has none or more than one, or cannot be read.
pub(super) fn disk(file: Arc<dyn File>) -> io::Result<Arc<dyn File>> {
    let length = file.length()?;
    let archive = Partial { file: &*file, length, complete: true };
    let disks = image::disks_of_ova(&archive).map_err(refused)?;
    let [(at, length)] = *disks else {
        let reason =
            format!("an OVA with {} disks is not converted: which one is meant?", disks.len());
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    };
    Ok(Arc::new(Section { file, at, length }))
}

fn refused(judgement: Judgement) -> io::Error {
    match judgement {
        Judgement::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("the OVA: {other:?}")),
    }
}

impl MadeUp for Section {
    fn size(&self) -> u64 {
        self.length
    }

    fn some_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(self.at.saturating_add(at), into)
    }
}
