//! What a shell of the tests finds: the programs of the table of packages and no others, so that a line of shell that
//! runs here runs on a fresh machine too.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::nft::nft;

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
        let found = if *name == "nft" { Ok(nft().to_owned()) } else { sluice_programs::find(name) };
        if let Ok(found) = found {
            link(&found, &folder.join(name))?;
        }
    }
    Ok(folder)
}

/// Other processes do the same at the same time: a link is put in place whole, or is there already.
fn link(found: &Path, link: &Path) -> io::Result<()> {
    if std::fs::read_link(link).is_ok_and(|there| there == found) {
        return Ok(());
    }
    let own = link.with_extension(std::process::id().to_string());
    symlink(found, &own)?;
    std::fs::rename(own, link)
}
