//! What a shell of the tests finds: the programs of the table of packages and no others, so that a line of shell that
//! runs here runs on a fresh machine too.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder with a link to every program of the table that is installed; made once in each process.
pub(super) fn path() -> io::Result<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder);
    }
    let folder = make()?;
    Ok(FOLDER.get_or_init(|| folder))
}

/// Beside the running program, where whatever builds it keeps files of its own.
fn make() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("/tmp")).join("programs");
    std::fs::create_dir_all(&folder)?;
    let names = sluice_programs::GROUPS.iter().flat_map(|group| group.iter());
    for name in names.flat_map(|package| package.programs) {
        let Ok(found) = sluice_programs::find(name) else { continue };
        match symlink(found, folder.join(name)) {
            // another process was here before
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(folder)
}
