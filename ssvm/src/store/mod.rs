//! Stores: where objects are, and whether the store that answers is the one that was meant.
//!
//! Guarantees: an object is there whole or not at all, under its final name; a store is known by the mark it carries, so an
//! empty mount point, another export or the machine's own disk is never taken for it, and nothing is then read, written,
//! listed or deleted; what is done is durable when it is said to be done.
//!
//! All of it may block for as long as a file server takes; the callers keep it off the threads that answer others.

mod beside;
mod bucket;
mod directory;
mod error;
mod manifest;
mod mark;
mod properties;

pub use bucket::BucketStore;
pub use directory::DirectoryStore;
pub(crate) use directory::mount_failure;
pub use error::StoreError;
pub use manifest::{Manifest, Origin};
pub use mark::Known;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use sluice_api::types::ObjectId;

use crate::convert::Layer;
use crate::disk::{Disk, File};
use crate::pass::Terms;
use crate::slice::Place;

/// How much room a store has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Space {
    /// In all.
    pub size: u64,
    /// Still free.
    pub free: u64,
}

impl Space {
    /// Of a store without a bound.
    pub const UNBOUNDED: Self = Self { size: u64::MAX, free: u64::MAX };

    /// Whether more than `percent` of it are used.
    pub fn fuller_than(self, percent: u8) -> bool {
        let used = u128::from(self.size.saturating_sub(self.free));
        used * 100 > u128::from(self.size) * u128::from(percent)
    }
}

/// Where the unfinished parts of a job are.
#[derive(Clone)]
pub struct Workspace {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The folder on it.
    pub folder: PathBuf,
}

/// An object that can be read.
pub struct Opened {
    /// What is known of it.
    pub manifest: Manifest,
    /// Its bytes.
    pub file: Arc<dyn File>,
    /// Its file's name.
    pub name: String,
}

/// An object with what it is the difference to.
pub struct Layers {
    /// What is known of the object.
    pub manifest: Manifest,
    /// Its file, and those of its parents.
    pub files: Vec<Layer>,
}

/// One store.
pub trait Store: Send + Sync {
    /// Its id.
    fn id(&self) -> &ObjectId;

    /// Makes sure that the store is the one that was meant, can be written and read back, and tells its room.
    fn probe(&self) -> Result<Space, StoreError>;

    /// Where unfinished objects for this store are kept; made if needed.
    ///
    /// Errors: the store is not there, read-only, or too full to begin another object.
    fn workspace(&self) -> Result<Workspace, StoreError>;

    /// Removes our unfinished parts but those whose file name `keep` answers for.
    fn remove_parts(&self, keep: &dyn Fn(&str) -> bool) -> Result<(), StoreError>;

    /// Brings the finished `part` to where it will stand, if that is elsewhere than in the workspace: it is not an object
    /// before [`Store::publish`]. Takes as long as its bytes take; `sent` is told how many went, and asked whether to go on.
    ///
    /// Errors: another object is there; the store failed, or `sent` said no.
    fn send(
        &self,
        _part: &str,
        _manifest: &Manifest,
        _sent: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// An address of the object itself that is good for `seconds`, whoever has it.
    ///
    /// Errors: the store hands out none; there is no such object.
    fn address(&self, _place: &Place, _seconds: u32) -> Result<String, StoreError> {
        Err(StoreError::NoAddress { store: self.id().clone() })
    }

    /// Turns the finished `part` in the workspace into the object at `manifest.place`. Called again after a crash at any
    /// point of it, it completes what was begun.
    ///
    /// Errors: another object is there; the store is not there or failed.
    fn publish(&self, part: &str, manifest: &Manifest) -> Result<(), StoreError>;

    /// Makes sure that no other image is where an object at `place` would stand.
    ///
    /// Errors: there is one; the store is not there.
    fn vacant(&self, _place: &Place) -> Result<(), StoreError> {
        Ok(())
    }

    /// What is known of the object at `place`.
    fn find(&self, place: &Place) -> Result<Manifest, StoreError>;

    /// Opens the object at `place`.
    fn open(&self, place: &Place) -> Result<Opened, StoreError>;

    /// The files of the object at `place` and of its parents, in this order, after each was compared with its record; `read`
    /// as for [`judge`](crate::pass::judge).
    ///
    /// Errors: one of them is not there, or not what its record says.
    fn layers(&self, _place: &Place, _read: &dyn Fn(u64) -> bool) -> Result<Layers, StoreError> {
        Err(StoreError::NoFiles { store: self.id().clone() })
    }

    /// Gives the file that stands at `place` a record of ours; one that has it is done already. `job` is who asks, `read` as
    /// for [`judge`](crate::pass::judge).
    ///
    /// Errors: there is no such file, or it is not let in.
    fn adopt(
        &self,
        place: &Place,
        _job: &ObjectId,
        _terms: &Terms,
        _read: &dyn Fn(u64) -> bool,
    ) -> Result<Manifest, StoreError> {
        Err(StoreError::NotFound { store: self.id().clone(), place: place.clone() })
    }

    /// Removes the object at `place` with all that belongs to it; what is not there is removed already, provided that the
    /// store itself is there.
    fn delete(&self, place: &Place) -> Result<(), StoreError>;
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::semicolon_if_nothing_returned)]
// numbers of a test
mod tests;
