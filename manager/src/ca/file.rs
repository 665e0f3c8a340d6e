//! The authority's file: whole or not at all, and never readable by others.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::CaError;

pub(super) fn empty(path: &Path) -> CaError {
    CaError::Empty { path: path.to_owned() }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CaError {
    move |source| CaError::File { path: path.to_owned(), source }
}

pub(super) fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(failed(path))
}

/// A file beside `path` for this thread alone.
fn draft(path: &Path) -> PathBuf {
    let thread = std::thread::current().id();
    path.with_extension(format!("{}-{thread:?}.new", std::process::id()))
}

/// Writes `text` to `path`, unless another manager was faster; theirs is as good.
pub(super) fn create(path: &Path, text: &str) -> Result<(), CaError> {
    let draft = draft(path);
    let written = write_private(&draft, text).and_then(|()| match fs::hard_link(&draft, path) {
        // a link is made only where there is nothing, so exactly one manager wins
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(path),
    });
    let removed = fs::remove_file(&draft);
    written.and(removed).map_err(failed(path))
}

/// Puts `text` in the place of what is at `path`.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), CaError> {
    let draft = draft(path);
    let written = write_private(&draft, text)
        .and_then(|()| fs::rename(&draft, path))
        .and_then(|()| sync_folder(path));
    written.map_err(failed(path))
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // a draft of a manager that was killed, with the same process id
    let _ = fs::remove_file(path);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
