//! Images of an object store that stay on the store in front of it, by their digests.
//!
//! Guarantees: what is taken out has the length that was put in and stands under the digest that was compared; the one whose last
//! use is the longest ago goes first, over restarts too, and none goes while it is used; what a crash left that the index does
//! not name goes when it is next used. A restart takes the beginning of a use for its end, if nothing was asked for between.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, File};

const INDEX: &str = "index.json";

/// The images that stay.
pub(super) struct Cache {
    disk: Arc<dyn Disk>,
    /// Most bytes of them.
    most: u64,
    /// Held while the index changes: whether what a crash left was looked for.
    turn: Mutex<bool>,
    uses: Arc<Mutex<Uses>>,
}

/// Who reads what.
#[derive(Default)]
struct Uses {
    /// How many read an image now, by its digest.
    now: BTreeMap<String, usize>,
    /// Images that were read to the end of their last use since the index was written, the latest last.
    ended: Vec<String>,
}

/// An image that is being read.
struct Used {
    file: Arc<dyn File>,
    sha256: String,
    uses: Arc<Mutex<Uses>>,
}

impl Used {
    fn new(file: Arc<dyn File>, sha256: &str, uses: &Arc<Mutex<Uses>>) -> Self {
        *locked(uses).now.entry(sha256.to_owned()).or_default() += 1;
        Self { file, sha256: sha256.to_owned(), uses: Arc::clone(uses) }
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        let mut uses = locked(&self.uses);
        let left = uses.now.get_mut(&self.sha256).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            uses.now.remove(&self.sha256);
            uses.ended.retain(|sha256| *sha256 != self.sha256);
            uses.ended.push(self.sha256.clone());
        }
    }
}

impl File for Used {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(at, into)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(at, bytes)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    sha256: String,
    size: u64,
}

impl Cache {
    pub(super) fn new(disk: Arc<dyn Disk>, most: u64) -> Self {
        Self { disk, most, turn: Mutex::default(), uses: Arc::default() }
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
        let mut turn = locked(&self.turn);
        let kept = self.items(folder, None, &mut turn)?;
        let mut items = kept.clone();
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
        if file.is_some() {
            items.push(item);
        } else {
            self.disk.remove(&folder.join(sha256))?;
        }
        if items != kept {
            self.write(folder, &items)?;
        }
        Ok(file.map(|file| -> Arc<dyn File> { Arc::new(Used::new(file, sha256, &self.uses)) }))
    }

    /// Takes in a file that has the digest `sha256` and is `size` bytes long; others go to make room. It does not stay if those
    /// that are being used leave none.
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
        let mut turn = locked(&self.turn);
        let kept = self.items(folder, Some(file), &mut turn)?;
        let others = kept.iter().filter(|item| item.sha256 != sha256).cloned().collect();
        let (stays, goes) = self.room_for(size, others);
        let Some(mut items) = stays else {
            self.write(folder, &kept)?;
            return self.disk.remove(file);
        };
        for gone in goes {
            self.disk.remove(&folder.join(&gone.sha256))?;
        }
        items.push(Item { sha256: sha256.to_owned(), size });
        // named first: what is not named would never go
        self.write(folder, &items)?;
        self.disk.rename(file, &folder.join(sha256))
    }

    /// Which of `items` stay and which go so that `size` bytes have room; none stay: there is no room.
    fn room_for(&self, size: u64, items: Vec<Item>) -> (Option<Vec<Item>>, Vec<Item>) {
        let uses = locked(&self.uses);
        let mut used: u64 = items.iter().map(|item| item.size).sum();
        let (mut stays, mut goes) = (Vec::new(), Vec::new());
        for item in items {
            if used.saturating_add(size) > self.most && !uses.now.contains_key(&item.sha256) {
                used = used.saturating_sub(item.size);
                goes.push(item);
            } else {
                stays.push(item);
            }
        }
        let enough = used.saturating_add(size) <= self.most;
        (enough.then_some(stays), goes)
    }

    /// Where a file may be put together that is then taken in.
    pub(super) fn part(folder: &Path) -> PathBuf {
        folder.join(format!(".{}.part", uuid::Uuid::new_v4()))
    }

    /// The images, the one that was used last at the end; the file `coming` is about to be one.
    fn items(
        &self,
        folder: &Path,
        coming: Option<&Path>,
        looked: &mut bool,
    ) -> io::Result<Vec<Item>> {
        let mut items = self.index(folder)?;
        if !*looked {
            self.sweep(folder, coming, &items)?;
            *looked = true;
        }
        let ended = std::mem::take(&mut locked(&self.uses).ended);
        for sha256 in ended {
            if let Some(at) = items.iter().position(|item| item.sha256 == sha256) {
                let item = items.remove(at);
                items.push(item);
            }
        }
        Ok(items)
    }

    /// Takes away what a crash left. Nothing else of this process is there yet.
    fn sweep(&self, folder: &Path, coming: Option<&Path>, items: &[Item]) -> io::Result<()> {
        for name in self.disk.list(folder)? {
            let path = folder.join(&name);
            let known = name == INDEX || items.iter().any(|item| item.sha256 == name);
            if !known && coming != Some(path.as_path()) {
                self.disk.remove(&path)?;
            }
        }
        Ok(())
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
    fn a_restart_does_not_forget_what_was_used_last() {
        let folder = tempfile::tempdir().unwrap();
        let cache = || Cache::new(Arc::new(RealDisk), 10);
        for name in ["a", "b", "c"] {
            put(&cache(), folder.path(), name, 3);
        }
        assert!(cache().open(folder.path(), "a", 3).unwrap().is_some());
        put(&cache(), folder.path(), "d", 4);
        assert_eq!(names(folder.path()), ["a", "c", "d"]);
    }

    #[test]
    fn none_goes_while_it_is_used_and_the_end_of_a_use_counts() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Arc::new(RealDisk), 10);
        for name in ["a", "b", "c"] {
            put(&cache, folder.path(), name, 3);
        }
        let open = |name| cache.open(folder.path(), name, 3).unwrap().unwrap();
        let (used, too) = (open("a"), open("a"));
        drop((open("b"), open("c")));
        put(&cache, folder.path(), "d", 4);
        assert_eq!(names(folder.path()), ["a", "c", "d"], "b was used before c");
        put(&cache, folder.path(), "e", 8);
        assert_eq!(names(folder.path()), ["a", "c", "d"], "there is no room beside one in use");
        drop(too);
        put(&cache, folder.path(), "e", 8);
        assert_eq!(names(folder.path()), ["a", "c", "d"], "one of two uses goes on");
        assert_eq!(used.read_at(0, &mut [0; 3]).unwrap(), 3);
        drop(used);
        put(&cache, folder.path(), "f", 3);
        assert_eq!(names(folder.path()), ["a", "d", "f"], "a was used until just now");
    }

    #[test]
    fn what_a_crash_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = || Cache::new(Arc::new(RealDisk), 100);
        put(&cache(), folder.path(), "a", 3);
        // killed while an object was put together, and between the index and the rename
        std::fs::write(Cache::part(folder.path()), "half").unwrap();
        std::fs::write(folder.path().join("b"), "nobody knows it").unwrap();
        let cache = cache();
        assert!(cache.open(folder.path(), "a", 3).unwrap().is_some());
        assert_eq!(names(folder.path()), ["a"]);
        // what this process puts together stays until it is done
        let part = Cache::part(folder.path());
        std::fs::write(&part, "abc").unwrap();
        assert!(cache.open(folder.path(), "b", 3).unwrap().is_none());
        cache.take_in(folder.path(), &part, "b", 3).unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
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
