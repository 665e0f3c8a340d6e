//! The read-only root's file system: squashfs with zstd.

use std::path::Path;

use crate::error::{Result, file};
use crate::tool;
use crate::tree::Tree;

/// Effort for what ships: slow to pack, as fast to read as any.
pub(crate) const SMALL: &str = "19";
/// Effort for what stays here.
pub(crate) const QUICK: &str = "3";

/// Packs a tree into a file, all owned by root, all of one time.
pub(crate) fn pack(tree: &Tree, scratch: &Path, to: &Path, effort: &str) -> Result<()> {
    let staging = tempfile::tempdir_in(scratch).map_err(file("create", scratch))?;
    tree.write_to(staging.path())?;
    let mut command = tool::command("mksquashfs");
    command.arg(staging.path()).arg(to);
    // 128 KiB blocks: larger ones pack a little better and cost more memory per read in a 128 MiB machine
    command.args(["-comp", "zstd", "-Xcompression-level", effort, "-b", "128K"]);
    command.args(["-noappend", "-all-root", "-no-xattrs", "-no-progress", "-quiet"]);
    let time = tool::epoch().to_string();
    command.args(["-all-time", &time, "-mkfs-time", &time]).env_remove("SOURCE_DATE_EPOCH");
    tool::run(&mut command).map(drop)
}
