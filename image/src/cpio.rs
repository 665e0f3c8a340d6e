//! The initrd's archive format, "newc" (kernel documentation, initramfs buffer format).

use crate::tree::{Node, Tree};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFCHR: u32 = 0o020_000;

/// Writes the tree as an archive, all owned by root, all of one time.
pub(crate) fn write(tree: &Tree, epoch: u64) -> Vec<u8> {
    let mut out = Vec::new();
    // inode numbers only have to differ, or the kernel takes files for hard links of each other
    for (inode, (path, node)) in (1_u32..).zip(tree.iter()) {
        entry(&mut out, &Fields::of(inode, node, epoch), path, content(node));
    }
    entry(&mut out, &Fields::default(), TRAILER, &[]);
    out
}

/// An archive with one program in it.
pub fn archive(path: &str, program: Vec<u8>) -> Vec<u8> {
    let mut tree = Tree::default();
    tree.file(path, program, 0o755);
    write(&tree, 0)
}

#[derive(Default)]
struct Fields {
    inode: u32,
    mode: u32,
    links: u32,
    time: u32,
    major: u32,
    minor: u32,
}

impl Fields {
    fn of(inode: u32, node: &Node, epoch: u64) -> Self {
        let (mode, links, major, minor) = match *node {
            Node::Dir(mode) => (S_IFDIR | mode, 2, 0, 0),
            Node::File(_, mode) => (S_IFREG | mode, 1, 0, 0),
            Node::Link(_) => (S_IFLNK | 0o777, 1, 0, 0),
            Node::Char(mode, major, minor) => (S_IFCHR | mode, 1, major, minor),
        };
        Self { inode, mode, links, time: u32::try_from(epoch).unwrap_or(u32::MAX), major, minor }
    }
}

fn content(node: &Node) -> &[u8] {
    match node {
        Node::File(content, _) => content,
        Node::Link(target) => target.as_bytes(),
        Node::Dir(_) | Node::Char(..) => &[],
    }
}

fn entry(out: &mut Vec<u8>, fields: &Fields, name: &str, content: &[u8]) {
    out.extend(MAGIC.as_bytes());
    let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    let Fields { inode, mode, links, time, major, minor } = *fields;
    for value in [inode, mode, 0, 0, links, time, size, 0, 0, major, minor, name_size, 0] {
        out.extend(format!("{value:08X}").as_bytes());
    }
    out.extend(name.as_bytes());
    out.push(0);
    pad(out);
    out.extend(content);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool;

    #[test]
    fn cpio_reads_it_back() {
        let mut tree = Tree::default();
        tree.file("etc/name", "value\n", 0o640);
        tree.link("bin", "usr/bin");
        let archive = write(&tree, 1);
        assert_eq!(archive.len() % 4, 0);
        let mut cpio = tool::command("cpio");
        let list = tool::run_with(cpio.args(["-itv", "--numeric-uid-gid"]), archive).unwrap();
        let list = String::from_utf8(list).unwrap();
        assert!(list.contains("-rw-r-----   1 0        0               6"), "{list}");
        assert!(list.contains("bin -> usr/bin"), "{list}");
        assert_eq!(list.lines().count(), 3, "{list}");
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let mut tree = Tree::default();
        tree.add("dev/console", Node::Char(0o600, 5, 1));
        assert_eq!(write(&tree, 5), write(&tree.clone(), 5));
    }
}
