//! The initial RAM file system: PID 1, its libraries, and what it takes to find a disk.
//!
//! Compressed with lz4: half as large again as with zstd, and unpacked 0.25 s sooner on an emulated processor.

use std::path::Path;

use crate::debian::Debian;
use crate::error::{Error, Result};
use crate::modules::{Chosen, Kernel};
use crate::root::BIN;
use crate::tree::{Node, Tree};
use crate::{cpio, libraries, lists, tool};

/// Puts it together and packs it.
pub(crate) fn build(
    debian: &Debian,
    kernel: &Kernel,
    modules: &Chosen,
    binaries: &Path,
) -> Result<Vec<u8>> {
    pack(&tree(debian, kernel, modules, binaries)?)
}

fn tree(debian: &Debian, kernel: &Kernel, modules: &Chosen, binaries: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    for path in ["proc", "sys", "dev", "run", "sysroot", "overlay"] {
        tree.dir(path, 0o755);
    }
    // the kernel opens it for PID 1 before anything is mounted
    tree.add("dev/console", Node::Char(0o600, 5, 1));
    tree.link("lib64", "usr/lib64");
    let program = binaries.join("sluice-init");
    if !program.exists() {
        return Err(Error::Binary { path: program });
    }
    tree.copy("init", &program)?;
    tree.link(&format!("{BIN}/sluice-modprobe"), "/init");
    libraries::complete(&mut tree, debian)?;
    kernel.install(modules, &mut tree);
    tree.file("usr/lib/sluice/stage1.modules", lists::as_file(lists::MODULES_STAGE1), 0o644);
    Ok(tree)
}

fn pack(tree: &Tree) -> Result<Vec<u8>> {
    let archive = cpio::write(tree, tool::epoch());
    // the legacy format (-l) is the one that kernels unpack
    tool::run_with(tool::command("lz4").args(["-l", "-9", "-q", "-c"]), archive)
}
