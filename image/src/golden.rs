//! The checked-in lists of what ships: a new package or library is then a visible change and never an accident.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, make_dir, write};
use crate::lists;

/// Where the lists are, in the source tree this builder was compiled from.
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");

/// Compares a list with the checked-in one, or replaces that one when blessing.
pub(crate) fn check(name: &str, lines: &BTreeSet<String>, bless: bool) -> Result<()> {
    check_in(Path::new(DIR), name, lines, bless)
}

fn check_in(dir: &Path, name: &str, lines: &BTreeSet<String>, bless: bool) -> Result<()> {
    let list: PathBuf = dir.join(name);
    if bless {
        make_dir(dir)?;
        return write(&list, lists::lines(lines).as_bytes());
    }
    // a missing list is an empty one: everything is then new
    let text = std::fs::read_to_string(&list).unwrap_or_default();
    let old: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let new = lines.difference(&old).map(|line| format!("+{line}"));
    let gone = old.difference(lines).map(|line| format!("-{line}"));
    let diff: Vec<_> = new.chain(gone).collect();
    if diff.is_empty() { Ok(()) } else { Err(Error::Golden { list, diff: diff.join(" ") }) }
}

/// A package's name without the version that kernel packages carry in it.
pub(crate) fn package_name(name: &str) -> String {
    match name.strip_prefix("linux-image-") {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("linux-image-VERSION-{}", rest.rsplit('-').next().unwrap_or_default())
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn differences_are_named_and_blessing_ends_them() {
        let dir = tempfile::tempdir().unwrap();
        check_in(dir.path(), "list", &set(&["a", "b"]), true).unwrap();
        check_in(dir.path(), "list", &set(&["b", "a"]), false).unwrap();
        let error = check_in(dir.path(), "list", &set(&["b", "c"]), false).unwrap_err();
        assert!(error.to_string().contains("(+c -a)"), "{error}");
    }

    #[test]
    fn a_kernel_update_is_no_change_of_the_list() {
        assert_eq!(package_name("linux-image-6.12.107+deb13-amd64"), "linux-image-VERSION-amd64");
        assert_eq!(package_name("linux-image-amd64"), "linux-image-amd64");
        assert_eq!(package_name("libc6"), "libc6");
    }
}
