//! Which file system a path is on, and how much room it has: what tells a mounted store from an empty mount point.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `f_type` of NFS of any version (statfs(2)).
pub const NFS: u64 = 0x6969;

/// A file system as a path sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesystemState {
    /// Its type, `f_type` of statfs(2).
    pub kind: u64,
    /// The device number of what is mounted there, `st_dev`; another mount has another one.
    pub device: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that may still be written by us.
    pub free: u64,
}

/// The file system that `path` is on.
///
/// Errors: as statfs(2); a mount whose server is gone may block, so call it where that harms nobody.
pub fn state(path: &Path) -> io::Result<FilesystemState> {
    let found = rustix::fs::statfs(path)?;
    let unit = u64::try_from(found.f_bsize).unwrap_or(0);
    Ok(FilesystemState {
        kind: u64::try_from(found.f_type).unwrap_or(0),
        device: path.metadata()?.dev(),
        size: found.f_blocks.saturating_mul(unit),
        free: found.f_bavail.saturating_mul(unit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mounts_differ_and_one_is_itself() {
        let proc = state(Path::new("/proc")).unwrap();
        assert_eq!(proc.kind, 0x9fa0, "PROC_SUPER_MAGIC");
        assert_ne!(proc.device, state(Path::new("/")).unwrap().device);
        let root = state(Path::new("/")).unwrap();
        assert!(root.size >= root.free && root.size > 0);
    }
}
