//! GRUB for BIOS and UEFI without its installer: images are made as files, and two numbers are written into them.

use std::path::Path;

use crate::error::{Error, Result, read};
use crate::layout::{ESP_SERIAL, SECTOR};
use crate::tool;

const DIR: &str = "/usr/lib/grub";
/// Where boot.img keeps the sector of core.img.
const CORE_SECTOR_AT: usize = 0x5c;
/// A jump here skips a workaround for BIOSes that name the wrong drive; GRUB's installer removes it for hard disks.
const DRIVE_CHECK_AT: usize = 0x66;
/// Code of the MBR ends here, the partition table follows.
const MBR_CODE: usize = 440;
/// Where core.img's first sector keeps the sector of the rest.
const REST_AT: usize = 0x1f4;

const MODULES: &[&str] = &[
    "part_gpt",
    "fat",
    "search",
    "search_fs_uuid",
    "configfile",
    "normal",
    "linux",
    "serial",
    "terminal",
    "test",
];

/// Code for the first sector of a disk whose core image begins at this sector.
pub(crate) fn boot_code(core_sector: u64) -> Result<Vec<u8>> {
    let path = Path::new(DIR).join("i386-pc/boot.img");
    patch_boot(read(&path)?, core_sector)
        .ok_or(Error::Damaged { path: path.display().to_string(), reason: "too short" })
}

/// The core image, to be written at this sector.
pub(crate) fn core_image(scratch: &Path, sector: u64) -> Result<Vec<u8>> {
    let image = make(scratch, "i386-pc", "(,gpt2)/grub", &["biosdisk"])?;
    patch_core(image, sector).ok_or(Error::Damaged { path: "core.img".into(), reason: "too short" })
}

/// The program for the removable-media path of UEFI.
pub(crate) fn efi_image(scratch: &Path) -> Result<Vec<u8>> {
    make(scratch, "x86_64-efi", "/grub", &["efi_gop", "efi_uga"])
}

/// What GRUB does: no menu, no wait. The second way is for small machines under UEFI, see `small_memory`. Slot B is for a
/// later version to choose.
pub(crate) fn config(kernel_options: &str) -> String {
    let options = format!("{kernel_options} sluice.root=sluice-root-a");
    format!(
        "if serial --unit=0 --speed=115200; then\n  terminal_output console serial\nfi\n\
         if linux /slot-a/vmlinuz {options}; then\n  initrd /slot-a/initrd\n\
         else\n  linux /slot-a/small {options}\n  initrd /slot-a/vmlinuz /slot-a/initrd\nfi\nboot\n"
    )
}

fn make(scratch: &Path, format: &str, prefix: &str, extra: &[&str]) -> Result<Vec<u8>> {
    let early = scratch.join("early.cfg");
    let serial = format!("{:04x}-{:04x}", ESP_SERIAL >> 16, ESP_SERIAL & 0xffff).to_uppercase();
    let text = format!(
        "search.fs_uuid {serial} root\nset prefix=($root)/grub\nconfigfile /grub/grub.cfg\n"
    );
    crate::error::write(&early, text.as_bytes())?;
    let output = scratch.join(format);
    let mut command = tool::command("grub-mkimage");
    command.args(["-O", format, "-p", prefix, "-d"]).arg(Path::new(DIR).join(format));
    command.arg("-o").arg(&output).arg("-c").arg(&early).args(MODULES).args(extra);
    tool::run(&mut command)?;
    read(&output)
}

fn patch_boot(mut code: Vec<u8>, core_sector: u64) -> Option<Vec<u8>> {
    put(&mut code, CORE_SECTOR_AT, &core_sector.to_le_bytes())?;
    put(&mut code, DRIVE_CHECK_AT, &[0x90, 0x90])?;
    code.truncate(MBR_CODE);
    (code.len() == MBR_CODE).then_some(code)
}

fn patch_core(mut image: Vec<u8>, sector: u64) -> Option<Vec<u8>> {
    put(&mut image, REST_AT, &(sector + 1).to_le_bytes())?;
    image.resize(image.len().next_multiple_of(usize::try_from(SECTOR).ok()?), 0);
    Some(image)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + value.len())?.copy_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sector_knows_the_core_image() {
        let code = patch_boot(vec![0xcc; 512], 0x0102_0304).unwrap();
        assert_eq!(code.len(), MBR_CODE);
        assert_eq!(&code[0x5b..0x65], [0xcc, 4, 3, 2, 1, 0, 0, 0, 0, 0xcc]);
        assert_eq!(&code[0x65..0x69], [0xcc, 0x90, 0x90, 0xcc]);
        assert!(patch_boot(vec![0; 100], 1).is_none());
    }

    #[test]
    fn the_core_image_knows_its_rest() {
        let image = patch_core(vec![0xcc; 1000], 2048).unwrap();
        assert_eq!(image.len(), 1024);
        assert_eq!(&image[0x1f3..0x1fd], [0xcc, 1, 8, 0, 0, 0, 0, 0, 0, 0xcc]);
        assert!(patch_core(vec![0; 10], 1).is_none());
    }

    #[test]
    fn the_configuration_boots_slot_a() {
        let text = config("quiet");
        assert!(
            text.contains("if linux /slot-a/vmlinuz quiet sluice.root=sluice-root-a; then"),
            "{text}"
        );
        assert!(!text.contains("timeout"));
    }
}
