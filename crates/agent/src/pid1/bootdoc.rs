//! Finds the boot document (design section 3) and keeps it in RAM, readable by root alone.
//!
//! Looks in a fixed order and takes the first that is there, even if it is bad: a bad document is to be seen and
//! mended, not silently passed over for an older one somewhere else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::mount::{MsFlags, umount};
use sluice_api::boot::{BootDocument, Role};

use super::devices;
use super::mounts::{self, MountError};

const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/sluice/boot/raw";
const DRIVE_LABEL: &str = "SLUICE";
const DRIVE_MOUNT: &str = "/run/config-drive";
const DRIVE_FILE: &str = "/run/config-drive/boot.json";
/// Where the agent finds it.
pub(crate) const KEPT_AT: &str = "/run/sluice/boot.json";
/// A boot document is a few kilobytes; this bounds what a broken drive can make us read.
const MAX_BYTES: u64 = 256 * 1024;
/// ISO 9660: the primary volume descriptor is sector 16, its label at byte 40, 32 characters.
const DESCRIPTOR_AT: u64 = 16 * 2048;
const LABEL_AT: std::ops::Range<usize> = 40..72;
const MAGIC_AT: std::ops::Range<usize> = 0..6;
const MAGIC: &[u8] = b"\x01CD001";

/// Why there is no usable boot document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootDocError {
    /// No place has one that counts.
    #[error(
        "no boot document: looked at fw_cfg opt/sluice/boot and a config drive labelled {DRIVE_LABEL}"
    )]
    None,
    /// It cannot be read or kept.
    #[error("cannot use {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The config drive cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The command line's is not base64.
    #[error("sluice.boot= on the kernel command line is not base64")]
    Base64,
    /// It is not a boot document.
    #[error("the boot document from {from} is refused: {findings}")]
    Refused {
        /// Which of the three.
        from: &'static str,
        /// All findings.
        findings: String,
    },
}

/// Where it came from and what it says.
#[derive(Debug)]
pub(crate) struct Found {
    /// For people.
    pub(crate) from: &'static str,
    /// Which appliance this is to be.
    pub(crate) role: Role,
    /// The appliance's id.
    pub(crate) appliance: String,
}

/// Why the command line's document does not count.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "sluice.boot= on the kernel command line is ignored: every program of the machine could read the key in it, so only \
     the debug flavour takes it; use fw_cfg or a config drive"
)]
pub(crate) struct Ignored;

/// What of the command line's document may be used.
pub(crate) fn of_laboratory(
    offered: Option<String>,
    debug: bool,
) -> Result<Option<String>, Ignored> {
    if offered.is_some() && !debug { Err(Ignored) } else { Ok(offered) }
}

/// Finds it, checks it and keeps it at [`KEPT_AT`].
pub(crate) fn acquire(on_cmdline: Option<&str>) -> Result<Found, BootDocError> {
    let (from, bytes) = read(on_cmdline)?;
    let document = BootDocument::decode(&bytes).map_err(|findings| BootDocError::Refused {
        from,
        findings: findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    })?;
    keep(&bytes).map_err(|source| BootDocError::File { path: KEPT_AT.into(), source })?;
    Ok(Found { from, role: document.role, appliance: document.appliance.to_string() })
}

fn read(on_cmdline: Option<&str>) -> Result<(&'static str, Vec<u8>), BootDocError> {
    if Path::new(FW_CFG).exists() {
        return Ok(("fw_cfg", read_bounded(Path::new(FW_CFG))?));
    }
    if let Some(drive) = devices::disks().into_iter().find(|disk| is_config_drive(disk)) {
        return Ok(("the config drive", read_drive(&drive)?));
    }
    let text = on_cmdline.ok_or(BootDocError::None)?;
    let bytes = STANDARD.decode(text).map_err(|_| BootDocError::Base64)?;
    Ok(("the kernel command line", bytes))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, BootDocError> {
    let error = |source| BootDocError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(error)?.take(MAX_BYTES).read_to_end(&mut bytes).map_err(error)?;
    Ok(bytes)
}

fn read_drive(drive: &Path) -> Result<Vec<u8>, BootDocError> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mounts::device(drive, DRIVE_MOUNT, "iso9660", flags, "")?;
    let bytes = read_bounded(Path::new(DRIVE_FILE));
    // a drive that stays mounted only cannot be ejected
    let _ = umount(DRIVE_MOUNT);
    bytes
}

/// An empty or broken drive is no config drive.
fn is_config_drive(disk: &Path) -> bool {
    let descriptor = || -> io::Result<[u8; 72]> {
        let mut file = File::open(disk)?;
        file.seek(SeekFrom::Start(DESCRIPTOR_AT))?;
        let mut bytes = [0; 72];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    descriptor().is_ok_and(|bytes| iso_label(&bytes) == Some(DRIVE_LABEL.to_owned()))
}

fn iso_label(descriptor: &[u8]) -> Option<String> {
    descriptor.get(MAGIC_AT).filter(|magic| *magic == MAGIC)?;
    let label = String::from_utf8_lossy(descriptor.get(LABEL_AT)?);
    Some(label.trim_end_matches([' ', '\0']).to_owned())
}

fn keep(bytes: &[u8]) -> io::Result<()> {
    let path = Path::new(KEPT_AT);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_drive_is_known_by_its_label() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive");
        let image = |label: &str| {
            let mut bytes = vec![0; 17 * 2048];
            bytes[32768..32774].copy_from_slice(MAGIC);
            bytes[32808..32840].copy_from_slice(format!("{label:<32}").as_bytes());
            fs::write(&path, bytes).unwrap();
        };
        image("SLUICE");
        assert!(is_config_drive(&path));
        image("OTHER");
        assert!(!is_config_drive(&path));
        fs::write(&path, "short").unwrap();
        assert!(!is_config_drive(&path));
    }

    #[test]
    fn bad_base64_is_said_so() {
        assert!(matches!(read(Some("***")), Err(BootDocError::Base64)));
        assert!(matches!(read(None), Err(BootDocError::None)));
    }

    #[test]
    fn only_the_debug_flavour_takes_the_command_lines() {
        let offered = || Some("e30=".to_owned());
        assert_eq!(of_laboratory(offered(), true), Ok(offered()));
        assert_eq!(of_laboratory(offered(), false), Err(Ignored));
        assert_eq!(of_laboratory(None, false), Ok(None));
    }

    #[test]
    fn the_command_line_carries_any_bytes() {
        let (from, bytes) = read(Some("e30=")).unwrap();
        assert_eq!((from, bytes.as_slice()), ("the kernel command line", b"{}".as_slice()));
    }
}
