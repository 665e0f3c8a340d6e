//! What is in an image: every package with its version, every program of ours, sizes and checksums.
//!
//! Room is left for an SPDX document, which will be written from the same facts.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::debian::Debian;
use crate::error::{Result, file, read, write};
use crate::root::BIN;
use crate::tree::{Node, Tree};
use crate::{Flavour, licences, modules, tool};

/// Version of the manifest's form.
const FORM: u32 = 1;

#[derive(Debug, Serialize)]
pub(crate) struct Manifest {
    form: u32,
    name: &'static str,
    version: &'static str,
    flavour: Flavour,
    /// Seconds since 1970 that all times in the image are.
    source_date_epoch: u64,
    kernel: String,
    packages: Vec<PackageEntry>,
    programs: Vec<FileEntry>,
    modules: Totals,
    root: Totals,
    images: Vec<ImageEntry>,
}

#[derive(Debug, Serialize)]
struct PackageEntry {
    name: String,
    version: String,
    source: String,
    /// What of it is shipped.
    #[serde(flatten)]
    shipped: Totals,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    files: usize,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct FileEntry {
    path: String,
    bytes: u64,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct ImageEntry {
    file: String,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Describes a finished root.
    pub(crate) fn new(tree: &Tree, debian: &Debian, kernel: &str, flavour: Flavour) -> Self {
        let (files, bytes) = tree.totals();
        Self {
            form: FORM,
            name: "sluice",
            version: env!("CARGO_PKG_VERSION"),
            flavour,
            source_date_epoch: tool::epoch(),
            kernel: kernel.to_owned(),
            packages: packages(tree, debian),
            programs: programs(tree),
            modules: totals(tree, modules::is_module),
            root: Totals { files, bytes },
            images: Vec::new(),
        }
    }

    /// Adds a finished image file.
    pub(crate) fn image(&mut self, path: &Path) -> Result<()> {
        let content = read(path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.images.push(ImageEntry {
            file,
            bytes: content.len() as u64,
            sha256: sha256(&content),
        });
        Ok(())
    }

    /// Names of the packages that files are shipped of.
    pub(crate) fn package_names(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().map(|package| package.name.as_str())
    }

    /// Writes it as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)
            .map_err(std::io::Error::from)
            .map_err(file("write", path))?;
        write(path, format!("{json}\n").as_bytes())
    }
}

fn packages(tree: &Tree, debian: &Debian) -> Vec<PackageEntry> {
    let entry = |package: &&crate::debian::Package| {
        let is_its = |path: &str| {
            let owner = debian.owner(path).or_else(|| debian.owner(&format!("{path}.xz")));
            owner.is_some_and(|owner| owner.name == package.name)
        };
        PackageEntry {
            name: package.name.clone(),
            version: package.version.clone(),
            source: package.source.clone(),
            shipped: totals(tree, is_its),
        }
    };
    licences::shipped(tree, debian).iter().map(entry).collect()
}

fn programs(tree: &Tree) -> Vec<FileEntry> {
    let ours = tree.iter().filter(|(path, _)| path.starts_with(BIN));
    let entry = |(path, node): (&str, &Node)| match node {
        Node::File(content, _) => Some(FileEntry {
            path: path.to_owned(),
            bytes: content.len() as u64,
            sha256: sha256(content),
        }),
        _ => None,
    };
    ours.filter_map(entry).collect()
}

fn totals(tree: &Tree, wanted: impl Fn(&str) -> bool) -> Totals {
    let mut totals = Totals::default();
    for (path, node) in tree.iter() {
        if let Node::File(content, _) = node
            && wanted(path)
        {
            totals.files += 1;
            totals.bytes += content.len() as u64;
        }
    }
    totals
}

/// As hexadecimal text.
pub(crate) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_sha256sum() {
        assert!(sha256(b"abc").starts_with("ba7816bf8f01cfea"));
    }

    #[test]
    fn totals_count_what_is_wanted() {
        let mut tree = Tree::default();
        tree.file("a.ko", "123", 0o644);
        tree.file("b", "12", 0o644);
        let totals = totals(&tree, modules::is_module);
        assert_eq!((totals.files, totals.bytes), (1, 3));
    }
}
