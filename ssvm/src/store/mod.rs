//! Stores: where objects are, and whether the store that answers is the one that was meant.
//!
//! Guarantees: an object is there whole or not at all, under its final name; a store is known by the mark it carries, so an
//! empty mount point, another export or the machine's own disk is never taken for it, and nothing is then read, written,
//! listed or deleted; what is done is durable when it is said to be done.
//!
//! All of it may block for as long as a file server takes; the callers keep it off the threads that answer others.

mod directory;
mod error;
mod manifest;
mod mark;
mod properties;

pub use directory::DirectoryStore;
pub use error::StoreError;
pub use manifest::{Manifest, Origin};
pub use mark::Known;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use sluice_api::types::ObjectId;

use crate::disk::{Disk, File};
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

    /// Turns the finished `part` in the workspace into the object at `manifest.place`. Called again after a crash at any
    /// point of it, it completes what was begun.
    ///
    /// Errors: another object is there; the store is not there or failed.
    fn publish(&self, part: &str, manifest: &Manifest) -> Result<(), StoreError>;

    /// What is known of the object at `place`.
    fn find(&self, place: &Place) -> Result<Manifest, StoreError>;

    /// Opens the object at `place`.
    fn open(&self, place: &Place) -> Result<Opened, StoreError>;

    /// Removes the object at `place` with all that belongs to it; what is not there is removed already, provided that the
    /// store itself is there.
    fn delete(&self, place: &Place) -> Result<(), StoreError>;
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::semicolon_if_nothing_returned)]
// numbers of a test
mod tests;
