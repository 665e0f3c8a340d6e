//! The kernel's files.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_sys::filesystem::{self, FilesystemState};

use super::{Disk, File};

/// Hosts read images as whom the export makes them, so files are readable for all, writable for their owner alone.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
/// Largest small file.
const SMALL: u64 = 4 << 20;

/// Files as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let offset = at + u64::try_from(filled).map_err(io::Error::other)?;
            match self.0.read_at(rest, offset) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).truncate(false).mode(FILE_MODE);
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = options.create(true).open(path)?;
                // what is written into it later is of no use without its name
                sync_parent(path)?;
                file
            }
            other => other?,
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a plain file"));
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        sync_parent(to)?;
        sync_parent(from)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Ok(()) => sync_parent(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        path.ancestors().take_while(|above| !above.as_os_str().is_empty()).try_for_each(sync_parent)
    }

    fn remove_empty(&self, path: &Path) -> io::Result<bool> {
        match fs::remove_dir(path) {
            Ok(()) => sync_parent(path).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
        let mut names: Vec<String> =
            entries.filter_map(|entry| name(entry).transpose()).collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::metadata(path) {
            Ok(found) if found.len() <= SMALL => fs::read(path).map(Some),
            Ok(_) => Err(io::Error::other("a record that is larger than any of ours")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // one of its own for each call: two at once must not take each other's away
        let number = REPLACED.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_file_name(format!(".{name}.{number}.new"));
        let mut options = fs::OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    }

    fn state(&self, path: &Path) -> io::Result<FilesystemState> {
        filesystem::state(path)
    }
}

/// Calls of `replace` so far.
static REPLACED: AtomicU64 = AtomicU64::new(0);

/// A name in a directory is durable when the directory is.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_moved_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let disk = RealDisk;
        disk.make_directory(&at("a/b")).unwrap();
        let file = disk.create(&at("part")).unwrap();
        file.write_at(4096, b"end").unwrap();
        file.set_length(8192).unwrap();
        file.sync().unwrap();
        disk.rename(&at("part"), &at("a/b/whole")).unwrap();
        let mut bytes = [1; 5];
        let whole = disk.open(&at("a/b/whole")).unwrap();
        assert_eq!(whole.read_at(4094, &mut bytes).unwrap(), 5);
        assert_eq!(&bytes, b"\0\0end");
        assert_eq!(whole.read_at(8190, &mut bytes).unwrap(), 2);
        assert!(!disk.remove_empty(&at("a/b")).unwrap());
        disk.remove(&at("a/b/whole")).unwrap();
        disk.remove(&at("a/b/whole")).unwrap();
        assert!(disk.remove_empty(&at("a/b")).unwrap());
        assert_eq!(disk.list(&at("a")).unwrap(), Vec::<String>::new());
        assert_eq!(disk.list(&at("nowhere")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_small_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        assert_eq!(RealDisk.read(&path).unwrap(), None);
        RealDisk.replace(&path, b"a longer one").unwrap();
        RealDisk.replace(&path, b"one").unwrap();
        assert_eq!(RealDisk.read(&path).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(RealDisk.list(folder.path()).unwrap(), ["record"]);
    }
}
