//! Licence notices: Debian's copyright file of every package that a shipped file comes from, the common licences they
//! point to, and our own.

use std::collections::BTreeSet;
use std::fs;

use crate::debian::{Debian, Package};
use crate::error::{Result, dir_entries, read};
use crate::tree::Tree;

const OWN: &str = include_str!("../../LICENSE");
const COMMON: &str = "usr/share/common-licenses";

/// Adds the notices to a finished tree.
pub(crate) fn add(tree: &mut Tree, debian: &Debian) -> Result<()> {
    let packages: BTreeSet<&str> =
        shipped(tree, debian).into_iter().map(|package| package.name.as_str()).collect();
    for package in packages {
        let path = format!("usr/share/doc/{package}/copyright");
        // a package may share the notice of another one by a link of the directory
        if let Ok(from) = fs::canonicalize(debian.root.join(&path)) {
            tree.file(&path, read(&from)?, 0o644);
        }
    }
    let common = debian.root.join(COMMON);
    for entry in dir_entries(&common)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        tree.copy(&format!("{COMMON}/{name}"), &entry.path())?;
    }
    tree.file("usr/share/doc/sluice/copyright", OWN, 0o644);
    Ok(())
}

/// The packages that at least one file of the tree comes from, by name.
pub(crate) fn shipped<'a>(tree: &Tree, debian: &'a Debian) -> Vec<&'a Package> {
    // modules are unpacked in the tree and packed in the package
    let owner = |path: &str| debian.owner(path).or_else(|| debian.owner(&format!("{path}.xz")));
    let mut packages: Vec<_> = tree.iter().filter_map(|(path, _)| owner(path)).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages.dedup_by(|a, b| a.name == b.name);
    packages
}
