//! Shared libraries: exactly those that the shipped programs need, found by following what ELF files ask for.

use std::collections::BTreeSet;

use crate::debian::Debian;
use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::modules;
use crate::tree::{Node, Tree};

/// Adds the loader and every library that any program in the tree needs, directly or through another.
pub(crate) fn complete(tree: &mut Tree, debian: &Debian) -> Result<()> {
    loop {
        let missing = missing(tree, debian)?;
        if missing.is_empty() {
            return Ok(());
        }
        for path in missing {
            add(tree, debian, &path)?;
        }
    }
}

/// Paths in the packages that programs of the tree need and the tree lacks.
fn missing(tree: &Tree, debian: &Debian) -> Result<BTreeSet<String>> {
    let mut paths = BTreeSet::new();
    for (path, node) in tree.iter() {
        let Node::File(content, _) = node else { continue };
        let Some(elf) = Elf::parse(content).filter(|_| !modules::is_module(path)) else { continue };
        let loader = elf
            .interpreter()
            .map(|path| path.trim_start_matches('/').replacen("lib64", "usr/lib64", 1));
        let libraries = elf.needed().into_iter().map(|library| {
            let found = debian.library(&library);
            found.ok_or_else(|| Error::Library { file: path.to_owned(), library })
        });
        paths.extend(libraries.collect::<Result<Vec<_>>>()?);
        paths.extend(loader);
    }
    paths.retain(|path| tree.get(path).is_none());
    Ok(paths)
}

/// Adds a path and, through links, what it stands for.
fn add(tree: &mut Tree, debian: &Debian, path: &str) -> Result<()> {
    let mut path = path.to_owned();
    // links in the packages are one or two long; the bound is against a loop
    for _ in 0..8 {
        tree.copy(&path, &debian.root.join(&path))?;
        let Some(Node::Link(target)) = tree.get(&path) else { return Ok(()) };
        path = resolve(&path, target);
    }
    Err(Error::Damaged { path, reason: "its links go in circles" })
}

/// Where a link leads, as a path from the root.
pub(crate) fn resolve(link: &str, target: &str) -> String {
    let mut parts: Vec<&str> =
        if target.starts_with('/') { Vec::new() } else { link.split('/').collect() };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Fails when a program of ours asks for a newer C library than the tree has.
pub(crate) fn check_glibc(tree: &Tree, ours: &str) -> Result<()> {
    const LIBC: &str = "usr/lib/x86_64-linux-gnu/libc.so.6";
    let versions = |node: &Node| match node {
        Node::File(content, _) => {
            Elf::parse(content).map(|elf| elf.glibc_versions()).unwrap_or_default()
        }
        _ => BTreeSet::new(),
    };
    let has = tree.get(LIBC).map(versions).unwrap_or_default().last().copied().unwrap_or_default();
    for (path, node) in tree.iter().filter(|(path, _)| path.starts_with(ours)) {
        let wanted = versions(node).last().copied().unwrap_or_default();
        if wanted > has {
            let text = |(major, minor): (u32, u32)| format!("glibc {major}.{minor}");
            return Err(Error::Glibc {
                file: path.to_owned(),
                wanted: text(wanted),
                has: text(has),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_from_where_they_are() {
        assert_eq!(resolve("usr/lib64/ld.so", "../lib/x86/ld.so"), "usr/lib/x86/ld.so");
        assert_eq!(resolve("usr/lib/liba.so.1", "liba.so.1.2"), "usr/lib/liba.so.1.2");
        assert_eq!(resolve("a/b", "/etc/x"), "etc/x");
        assert_eq!(resolve("a", "../../x"), "x");
    }
}
