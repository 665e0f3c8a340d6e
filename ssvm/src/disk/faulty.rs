//! A disk whose N-th change fails, and every one after it: as if the machine had lost it at that moment.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_sys::filesystem::FilesystemState;

use super::{Disk, File};

/// Wraps a disk. Reading always works: what is asked is what is left behind.
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    left: Arc<AtomicU64>,
}

struct FaultyFile {
    inner: Arc<dyn File>,
    left: Arc<AtomicU64>,
}

impl FaultyDisk {
    /// `inner`, of which the first `good` changes succeed.
    pub fn new(inner: Arc<dyn Disk>, good: u64) -> Self {
        Self { inner, left: Arc::new(AtomicU64::new(good)) }
    }

    /// Whether a change was refused.
    pub fn failed(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

/// Counts one change; the one that finds nothing left fails.
fn spend(left: &AtomicU64) -> io::Result<()> {
    let take = |left: u64| left.checked_sub(1);
    match left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::from_raw_os_error(5)), // EIO
    }
}

impl File for FaultyFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(at, into)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.write_at(at, bytes)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.set_length(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn sync(&self) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.sync()
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        spend(&self.left)?;
        let inner = self.inner.create(path)?;
        Ok(Arc::new(FaultyFile { inner, left: Arc::clone(&self.left) }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.inner.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.remove(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.make_directory(path)
    }

    fn remove_empty(&self, path: &Path) -> io::Result<bool> {
        spend(&self.left)?;
        self.inner.remove_empty(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.inner.read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.replace(path, bytes)
    }

    fn state(&self, path: &Path) -> io::Result<FilesystemState> {
        self.inner.state(path)
    }
}
