//! A file tree put together in memory: what goes into the root, the initrd and the disk.
//!
//! Paths are relative, sorted, and everything belongs to root with a fixed time, so the same content gives the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::{Result, file, make_dir, read, write};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Directory with its mode.
    Dir(u32),
    /// File with its content and mode.
    File(Vec<u8>, u32),
    /// Symbolic link with its target.
    Link(String),
    /// Character device with mode, major and minor number.
    Char(u32, u32, u32),
}

/// The entries by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Adds an entry and the directories above it. The last one given wins.
    pub(crate) fn add(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            let parent = path.get(..at).unwrap_or_default().to_owned();
            self.nodes.entry(parent).or_insert(Node::Dir(0o755));
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// Adds a directory.
    pub(crate) fn dir(&mut self, path: &str, mode: u32) {
        self.add(path, Node::Dir(mode));
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) {
        self.add(path, Node::File(content.into(), mode));
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.add(path, Node::Link(target.to_owned()));
    }

    /// Adds a file or link as it is on disk; whether it may be run is kept, other rights are ours.
    pub(crate) fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let meta = fs::symlink_metadata(from).map_err(file("read", from))?;
        if meta.is_symlink() {
            let target = fs::read_link(from).map_err(file("read", from))?;
            self.link(path, &target.to_string_lossy());
        } else {
            let mode = if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            self.file(path, read(from)?, mode);
        }
        Ok(())
    }

    /// What is at this path.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path.trim_matches('/'))
    }

    /// All entries, parents first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Number of files and their size in bytes.
    pub(crate) fn totals(&self) -> (usize, u64) {
        let sizes = self.nodes.values().filter_map(|node| match node {
            Node::File(content, _) => Some(content.len() as u64),
            _ => None,
        });
        sizes.fold((0, 0), |(count, total), size| (count + 1, total + size))
    }

    /// Writes it below a directory, devices left out: a root gets them from the kernel.
    pub(crate) fn write_to(&self, dir: &Path) -> Result<()> {
        make_dir(dir)?;
        self.iter().try_for_each(|(path, node)| write_node(&dir.join(path), node))
    }
}

fn write_node(path: &Path, node: &Node) -> Result<()> {
    match node {
        Node::Dir(mode) => make_dir(path).and_then(|()| set_mode(path, *mode)),
        Node::File(content, mode) => write(path, content).and_then(|()| set_mode(path, *mode)),
        Node::Link(target) => symlink(PathBuf::from(target), path).map_err(file("create", path)),
        Node::Char(..) => Ok(()),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(file("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first() {
        let mut tree = Tree::default();
        tree.file("/usr/bin/a", "x", 0o755);
        tree.dir("usr", 0o700);
        let paths: Vec<_> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["usr", "usr/bin", "usr/bin/a"]);
        assert_eq!(tree.get("usr"), Some(&Node::Dir(0o700)));
        assert_eq!(tree.totals(), (1, 1));
    }

    #[test]
    fn what_is_written_can_be_copied_back() {
        let mut tree = Tree::default();
        tree.file("bin/run", "x", 0o755);
        tree.link("sh", "bin/run");
        let dir = tempfile::tempdir().unwrap();
        tree.write_to(dir.path()).unwrap();
        let mut back = Tree::default();
        back.copy("bin/run", &dir.path().join("bin/run")).unwrap();
        back.copy("sh", &dir.path().join("sh")).unwrap();
        assert_eq!(back, tree);
    }
}
