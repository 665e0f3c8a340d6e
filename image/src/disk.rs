//! Puts a disk together by writing files into a file: no loop device, no rights.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result, file, read, size};
use crate::layout::{self, BIOS, DATA, DATA_FS, ESP, ROOT_A, SECTOR, Slice};
use crate::{esp, gpt_table, grub, small_memory, tool};

/// Contents of the template's disk.
pub(crate) struct Contents<'a> {
    pub(crate) kernel: &'a [u8],
    pub(crate) initrd: &'a [u8],
    pub(crate) root: &'a Path,
    pub(crate) kernel_options: &'a str,
}

/// Writes the template's disk as a raw file, sparse where it is empty.
pub(crate) fn template(contents: &Contents, scratch: &Path, to: &Path) -> Result<()> {
    let disk = create(to, &layout::TEMPLATE)?;
    put(&disk, to, 0, &grub::boot_code(BIOS.first)?)?;
    place(&disk, to, &BIOS, &grub::core_image(scratch, BIOS.first)?)?;
    place(&disk, to, &ESP, &esp_image(contents, scratch)?)?;
    place(&disk, to, &ROOT_A, &read(contents.root)?)?;
    place(&disk, to, &DATA, &data(scratch)?)
}

/// Writes a test host's disk: a table and a root.
pub(crate) fn host(root: &Path, to: &Path) -> Result<()> {
    let slice = layout::host_root(size(root)?);
    let disk = create(to, &[slice])?;
    place(&disk, to, &slice, &read(root)?)
}

/// Converts a raw disk to a compressed qcow2.
pub(crate) fn qcow2(raw: &Path, to: &Path) -> Result<()> {
    let mut command = tool::command("qemu-img");
    tool::run(command.args(["convert", "-f", "raw", "-O", "qcow2", "-c"]).arg(raw).arg(to))
        .map(drop)
}

fn create(to: &Path, slices: &[Slice]) -> Result<File> {
    let sectors = layout::disk_sectors(slices);
    let disk = File::create(to).map_err(file("create", to))?;
    disk.set_len(sectors * SECTOR).map_err(file("size", to))?;
    gpt_table::write(to, sectors, slices)?;
    OpenOptions::new().write(true).open(to).map_err(file("open", to))
}

fn place(disk: &File, path: &Path, slice: &Slice, content: &[u8]) -> Result<()> {
    let (size, capacity) = (content.len() as u64, slice.capacity());
    if size > capacity {
        return Err(Error::TooLarge { what: slice.label, size, capacity });
    }
    put(disk, path, slice.offset(), content)
}

/// Blocks of zeros are skipped, which keeps the file sparse.
fn put(disk: &File, path: &Path, offset: u64, content: &[u8]) -> Result<()> {
    const BLOCK: usize = 64 * 1024;
    for (at, block) in (offset..).step_by(BLOCK).zip(content.chunks(BLOCK)) {
        if block.iter().any(|&byte| byte != 0) {
            disk.write_all_at(block, at).map_err(file("write", path))?;
        }
    }
    Ok(())
}

fn esp_image(contents: &Contents, scratch: &Path) -> Result<Vec<u8>> {
    let (efi, config) = (grub::efi_image(scratch)?, grub::config(contents.kernel_options));
    let kernel = small_memory::padded(contents.kernel);
    let initrd_size = u32::try_from(contents.initrd.len()).unwrap_or(u32::MAX);
    let small = small_memory::program(&kernel, initrd_size)
        .ok_or(Error::Damaged { path: "vmlinuz".into(), reason: "no Linux kernel" })?;
    let files: [(&str, &[u8]); 5] = [
        ("EFI/BOOT/BOOTX64.EFI", &efi),
        ("grub/grub.cfg", config.as_bytes()),
        ("slot-a/vmlinuz", &kernel),
        ("slot-a/initrd", contents.initrd),
        ("slot-a/small", &small),
    ];
    esp::build(&files).map_err(file("build", &scratch.join("esp")))
}

/// An empty journalled file system. A checksum seed and hash seed of our own keep it the same on every build.
fn data(scratch: &Path) -> Result<Vec<u8>> {
    let path = scratch.join("data.ext4");
    File::create(&path)
        .and_then(|image| image.set_len(DATA.capacity()))
        .map_err(file("create", &path))?;
    let extended = format!(
        "hash_seed={DATA_FS},lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0"
    );
    let mut command = tool::command("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", "sluice-data"]);
    command.args([
        "-U",
        &DATA_FS.to_string(),
        "-E",
        &extended,
        "-O",
        "^resize_inode,^metadata_csum_seed",
    ]);
    // older e2fsprogs know the clock of the build by this name only
    command.env("E2FSPROGS_FAKE_TIME", tool::epoch().to_string());
    tool::run(command.arg(&path))?;
    read(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let disk = create(&path, &layout::TEMPLATE).unwrap();
        let content = vec![1; usize::try_from(BIOS.capacity()).unwrap() + 1];
        assert!(matches!(
            place(&disk, &path, &BIOS, &content),
            Err(Error::TooLarge { what: "sluice-bios", .. })
        ));
    }

    #[test]
    fn the_data_file_system_is_always_the_same() {
        let build = || data(tempfile::tempdir().unwrap().path()).unwrap();
        assert!(build() == build(), "two file systems differ");
    }
}
