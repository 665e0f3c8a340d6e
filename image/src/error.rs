//! Why an image was not built.

use std::io;
use std::path::{Path, PathBuf};

/// Everything that can stop a build. Only [`Error::Tool`] of the package fetch can go away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program of the host is missing.
    #[error(transparent)]
    Program(#[from] sluice_programs::ProgramError),
    /// A file of a package is missing.
    #[error("{path} is not here; install it with: apt-get install {package}")]
    Missing {
        /// The file looked for.
        path: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program of the host failed.
    #[error("{program} failed ({status}): {tail}")]
    Tool {
        /// Which program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines it printed.
        tail: String,
    },
    /// A required binary of ours is not built.
    #[error("{path} is missing; build it with: cargo build --release --bins")]
    Binary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A checked-in list names something that the packages do not hold.
    #[error("{list} names {name}, which no package of the list holds")]
    Unknown {
        /// Which list.
        list: &'static str,
        /// Which name.
        name: String,
    },
    /// An ELF file needs a library that is not there.
    #[error("{file} needs the library {library}, which no package of the list holds")]
    Library {
        /// Who needs it.
        file: String,
        /// Which one.
        library: String,
    },
    /// A binary was linked against a newer C library than the image has.
    #[error("{file} needs {wanted} and the image has {has}; build it on an older system")]
    Glibc {
        /// Which binary.
        file: String,
        /// The version it asks for.
        wanted: String,
        /// The newest version that the image's C library has.
        has: String,
    },
    /// A file is not what it must be.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The image would hold what an appliance must not have.
    #[error("the image would hold what it must not: {}", .0.join(", "))]
    Forbidden(Vec<String>),
    /// A part does not fit its partition.
    #[error("{what} has {size} bytes and its partition {capacity}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// What fits, in bytes.
        capacity: u64,
    },
    /// What ships differs from the checked-in list.
    #[error("what ships is not what {list} says ({diff}); if it is meant, run: cargo xtask bless")]
    Golden {
        /// Which list.
        list: PathBuf,
        /// The differences, `+new` and `-gone`.
        diff: String,
    },
}

/// What building answers.
pub type Result<T> = std::result::Result<T, Error>;

/// For `map_err`: an error on a file.
pub(crate) fn file<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::File { action, path: path.to_owned(), source }
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(file("read", path))
}

/// Writes a whole file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(file("write", path))
}

/// What is in a directory; one entry that cannot be read is an error, not an absence.
pub(crate) fn dir_entries(dir: &Path) -> Result<Vec<std::fs::DirEntry>> {
    let entries = std::fs::read_dir(dir).map_err(file("read", dir))?;
    entries.collect::<io::Result<_>>().map_err(file("read", dir))
}

/// Creates a directory and those above it.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(file("create", path))
}

/// Size in bytes.
pub(crate) fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(file("read", path))?.len())
}
