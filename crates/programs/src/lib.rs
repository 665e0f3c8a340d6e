//! Programs of the host: each is started through this crate, which knows the Debian package that has it.
//!
//! Guarantees: a program that the table does not name cannot be started through here, on any machine, so that a test
//! that passes where the program happens to be installed does not fail on a fresh one. It does not install anything:
//! `cargo xtask` does, from the same table.

mod table;

use std::path::PathBuf;
use std::process::Command;

pub use table::{
    BENCH, BUILD, CONSOLE, DESK, ESSENTIAL, FUZZ, GROUPS, IMAGE, MACHINES, NAMESPACES, Package,
};

/// Why a program cannot be started.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProgramError {
    /// The table has no package for it; a mistake in the code that starts it.
    #[error("no package is named for the program {0}: add it to crates/programs/src/table.rs")]
    Unknown(String),
    /// Its package is not installed.
    #[error("{program} is not installed; install it with: apt-get install {package}")]
    Missing {
        /// The program.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
}

/// The Debian package that has `program`.
///
/// # Errors
/// [`ProgramError::Unknown`].
pub fn package(program: &str) -> Result<&'static Package, ProgramError> {
    let all = GROUPS.iter().flat_map(|group| group.iter());
    all.into_iter()
        .find(|package| package.programs.contains(&program))
        .ok_or_else(|| ProgramError::Unknown(program.to_owned()))
}

/// Where `program` is: where Debian's packages have theirs, the administrator's included, which an ordinary user's PATH
/// lacks; then along PATH. In this order, for a PATH may lead to wrappers that need more than the package.
///
/// # Errors
/// When the table does not name it, or it is not installed.
pub fn find(program: &str) -> Result<PathBuf, ProgramError> {
    let package = package(program)?.name;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let packaged = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    packaged
        .into_iter()
        .chain(databases())
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|path| path.exists())
        .ok_or_else(|| ProgramError::Missing { program: program.to_owned(), package })
}

/// Where Debian keeps the programs of database servers, the newest version first.
fn databases() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders
}

/// A command for `program`.
///
/// # Errors
/// As [`find`].
pub fn command(program: &str) -> Result<Command, ProgramError> {
    Ok(Command::new(find(program)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_package_and_a_strange_one_is_refused() {
        assert_eq!(package("qemu-img").unwrap().name, "qemu-utils");
        assert!(find("sh").unwrap().is_absolute());
        assert_eq!(find("sheep"), Err(ProgramError::Unknown("sheep".to_owned())));
    }

    #[test]
    fn a_package_is_named_where_its_program_is_not_here() {
        let error = ProgramError::Missing { program: "dig".to_owned(), package: "bind9-dnsutils" };
        assert!(error.to_string().ends_with("apt-get install bind9-dnsutils"), "{error}");
    }

    #[test]
    fn a_program_has_one_package() {
        let mut seen: Vec<(&str, &str)> = GROUPS
            .iter()
            .flat_map(|group| group.iter())
            .flat_map(|package| package.programs.iter().map(|program| (*program, package.name)))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        for pair in seen.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "in {} and {}", pair[0].1, pair[1].1);
        }
    }
}
