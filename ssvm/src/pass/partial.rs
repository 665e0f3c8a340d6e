//! A part on disk as the inspectors see it.

use crate::disk::File;
use crate::image::{Bytes, Gap};

/// The first `length` bytes of an image in a file.
#[derive(Clone, Copy)]
pub(crate) struct Partial<'a> {
    /// The file; beyond its own end it reads as zeros, as a hole there will.
    pub(crate) file: &'a dyn File,
    /// Bytes that have arrived.
    pub(crate) length: u64,
    /// Whether that is all.
    pub(crate) complete: bool,
}

impl Bytes for Partial<'_> {
    fn length(&self) -> Option<u64> {
        self.complete.then_some(self.length)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Gap> {
        let end = at.checked_add(u64::try_from(into.len()).unwrap_or(u64::MAX));
        if end.is_none_or(|end| end > self.length) {
            return Err(if self.complete { Gap::Past } else { Gap::NotYet });
        }
        let read = self.file.read_at(at, into).map_err(Gap::Io)?;
        into.get_mut(read..).unwrap_or_default().fill(0);
        Ok(())
    }
}
