//! Files on a store: the few operations that the service makes, behind one trait.
//!
//! Guarantees of the real one: what [`Disk::replace`] and [`File::sync`] returned for survives a power cut; a rename is seen
//! whole or not at all. The faulty one fails any chosen call, so that tests can ask what is left after each.

mod faulty;
mod real;

use std::io;
use std::path::Path;
use std::sync::Arc;

use sluice_sys::filesystem::FilesystemState;

pub use faulty::FaultyDisk;
pub use real::RealDisk;

/// An open file; offsets and lengths in bytes.
pub trait File: Send + Sync {
    /// Reads at `at` until `into` is full or the file ends; returns how much.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `at`.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or grows the file; what grows reads as zeros and takes no room.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Its length.
    fn length(&self) -> io::Result<u64>;

    /// Returns when what was written is on the medium.
    fn sync(&self) -> io::Result<()>;
}

/// A file system.
pub trait Disk: Send + Sync {
    /// Opens for reading and writing; makes the file if it is not there, and then its name is durable.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Moves a file within the file system and makes that durable.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file and makes that durable; one that is not there is removed already.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and those above it.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory if it is empty; returns whether it is gone.
    fn remove_empty(&self, path: &Path) -> io::Result<bool>;

    /// Names in a directory, sorted; none when it is not there.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// A small file, whole; none when it is not there.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Replaces a small file, whole.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// The file system that `path` is on.
    fn state(&self, path: &Path) -> io::Result<FilesystemState>;
}
