//! Images of an object store that stay on the store in front of it, by their digests.
//!
//! Guarantees: what is taken out has the length that was put in and stands under the digest that was compared; the ones that
//! were not asked for the longest go first; after a crash at any point no file is there that the index does not name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, File};

const INDEX: &str = "index.json";

/// The images that stay.
pub(super) struct Cache {
    disk: Arc<dyn Disk>,
    /// Most bytes of them.
    most: u64,
    /// Held while the index changes.
    turn: Mutex<()>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    sha256: String,
    size: u64,
}

impl Cache {
    pub(super) fn new(disk: Arc<dyn Disk>, most: u64) -> Self {
        Self { disk, most, turn: Mutex::default() }
    }

    /// Whether an image of `size` bytes may stay at all.
    pub(super) const fn has_room_for(&self, size: u64) -> bool {
        size <= self.most
    }

    /// The image `sha256` of `size` bytes in `folder`, if it stayed; it is then the last to go.
    pub(super) fn open(
        &self,
        folder: &Path,
        sha256: &str,
        size: u64,
    ) -> io::Result<Option<Arc<dyn File>>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut items = self.index(folder)?;
        let Some(at) = items.iter().position(|item| item.sha256 == sha256) else {
            return Ok(None);
        };
        let item = items.remove(at);
        let file = match self.disk.open(&folder.join(sha256)) {
            Ok(file) if file.length()? == size => Some(file),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if file.is_some() && at == items.len() {
            return Ok(file);
        }
        if file.is_some() {
            items.push(item);
        } else {
            self.disk.remove(&folder.join(sha256))?;
        }
        self.write(folder, &items)?;
        Ok(file)
    }

    /// Takes in a file that has the digest `sha256` and is `size` bytes long; others go to make room.
    pub(super) fn take_in(
        &self,
        folder: &Path,
        file: &Path,
        sha256: &str,
        size: u64,
    ) -> io::Result<()> {
        if !self.has_room_for(size) {
            return self.disk.remove(file);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut items = self.index(folder)?;
        items.retain(|item| item.sha256 != sha256);
        let mut used: u64 = items.iter().map(|item| item.size).sum();
        while used.saturating_add(size) > self.most && !items.is_empty() {
            let oldest = items.remove(0);
            self.disk.remove(&folder.join(&oldest.sha256))?;
            used = used.saturating_sub(oldest.size);
        }
        items.push(Item { sha256: sha256.to_owned(), size });
        // named first: what is not named would never go
        self.write(folder, &items)?;
        self.disk.rename(file, &folder.join(sha256))
    }

    /// Where a file may be put together that is then taken in.
    pub(super) fn part(folder: &Path) -> PathBuf {
        folder.join(format!(".{}.part", uuid::Uuid::new_v4()))
    }

    fn index(&self, folder: &Path) -> io::Result<Vec<Item>> {
        let bytes = self.disk.read(&folder.join(INDEX))?;
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        match serde_json::from_slice(&bytes) {
            Ok(items) => Ok(items),
            Err(error) => {
                tracing::error!(%error, "the index of a cache is unreadable, it begins anew");
                for name in self.disk.list(folder)? {
                    self.disk.remove(&folder.join(name))?;
                }
                Ok(Vec::new())
            }
        }
    }

    fn write(&self, folder: &Path, items: &[Item]) -> io::Result<()> {
        let bytes = serde_json::to_vec(items).map_err(io::Error::other)?;
        self.disk.replace(&folder.join(INDEX), &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn put(cache: &Cache, folder: &Path, name: &str, size: usize) {
        let part = Cache::part(folder);
        std::fs::write(&part, vec![1; size]).unwrap();
        cache.take_in(folder, &part, name, size as u64).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        RealDisk.list(folder).unwrap().into_iter().filter(|name| name != INDEX).collect()
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Arc::new(RealDisk), 10);
        for name in ["a", "b", "c"] {
            put(&cache, folder.path(), name, 3);
        }
        assert!(cache.open(folder.path(), "a", 3).unwrap().is_some());
        put(&cache, folder.path(), "d", 4);
        assert_eq!(names(folder.path()), ["a", "c", "d"]);
        put(&cache, folder.path(), "e", 10);
        assert_eq!(names(folder.path()), ["e"]);
        put(&cache, folder.path(), "f", 11);
        assert_eq!(names(folder.path()), ["e"], "what is larger than all of it does not stay");
    }

    #[test]
    fn one_that_was_cut_or_lost_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Arc::new(RealDisk), 100);
        put(&cache, folder.path(), "a", 3);
        put(&cache, folder.path(), "b", 3);
        std::fs::write(folder.path().join("a"), "x").unwrap();
        std::fs::remove_file(folder.path().join("b")).unwrap();
        for name in ["a", "b", "c"] {
            assert!(cache.open(folder.path(), name, 3).unwrap().is_none(), "{name}");
        }
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}
