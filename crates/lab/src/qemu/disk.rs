//! The files a machine writes to: each machine has its own, the images are never touched.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::spec::{BootVia, Firmware, LabSpec, MachineKind, MachineSpec};

use super::config_drive::config_drive;
use super::error::{MachineError, OfMachine};
use super::layout::Layout;

const BUILD_HINT: &str = "run `cargo xtask image`, or set `images` in the lab file";
const OVMF_HINT: &str = "install the package ovmf";
const UEFI_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const UEFI_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The images a machine is made of, all present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Images {
    pub(super) disk: Option<PathBuf>,
    pub(super) root: Option<PathBuf>,
    pub(super) kernel: Option<PathBuf>,
    pub(super) initrd: Option<PathBuf>,
    pub(super) uefi_code: Option<PathBuf>,
}

impl Images {
    /// Finds them, by the machine's description or at their usual places.
    pub(super) fn find(
        name: &str,
        spec: &MachineSpec,
        folder: &Path,
    ) -> Result<Self, MachineError> {
        let find = Find { name };
        let mut images = Self::default();
        match spec.kind {
            MachineKind::Template => {
                let usual = folder.join("sluice.qcow2");
                images.disk = Some(find.file("disk", spec.disk.as_ref(), &usual)?);
            }
            MachineKind::Host if spec.has_root() => {
                let usual = folder.join("testhost.raw");
                images.root = Some(find.file("root disk", spec.root.as_ref(), &usual)?);
            }
            MachineKind::Host => {}
        }
        if spec.firmware == Firmware::Direct {
            let usual = folder.join("sluice.vmlinuz");
            images.kernel = Some(find.file("kernel", spec.kernel.as_ref(), &usual)?);
            let usual = folder.join("sluice.initrd");
            images.initrd = Some(find.file("initial RAM disk", spec.initrd.as_ref(), &usual)?);
        }
        if spec.firmware == Firmware::Uefi {
            images.uefi_code = Some(find.installed("UEFI firmware", UEFI_CODE)?);
            find.installed("UEFI variables", UEFI_VARIABLES)?;
        }
        Ok(images)
    }
}

struct Find<'a> {
    name: &'a str,
}

impl Find<'_> {
    fn file(
        &self,
        what: &'static str,
        given: Option<&PathBuf>,
        usual: &Path,
    ) -> Result<PathBuf, MachineError> {
        self.present(what, given.map_or(usual, PathBuf::as_path), BUILD_HINT)
    }

    fn installed(&self, what: &'static str, path: &str) -> Result<PathBuf, MachineError> {
        self.present(what, Path::new(path), OVMF_HINT)
    }

    fn present(
        &self,
        what: &'static str,
        path: &Path,
        hint: &'static str,
    ) -> Result<PathBuf, MachineError> {
        let machine = self.name.to_owned();
        // QEMU runs in another folder than whoever wrote a relative path
        std::path::absolute(path)
            .ok()
            .filter(|path| path.exists())
            .ok_or_else(|| MachineError::Missing { machine, what, path: path.to_owned(), hint })
    }
}

/// Makes the machine's folder and its own disks, afresh.
pub(super) async fn prepare(
    name: &str,
    spec: &MachineSpec,
    images: &Images,
    layout: &Layout,
) -> Result<(), MachineError> {
    std::fs::create_dir_all(layout.folder()).of(name, "make its folder")?;
    if let Some(base) = &images.disk {
        overlay(name, base, &layout.disk()).await?;
    }
    if spec.firmware == Firmware::Uefi {
        std::fs::copy(UEFI_VARIABLES, layout.uefi_variables()).of(name, "copy UEFI variables")?;
    }
    if let (Some(boot), BootVia::ConfigDrive) = (&spec.boot, spec.boot_via) {
        let document = std::fs::read(boot).of(name, "read its boot document")?;
        std::fs::write(layout.config_drive(), config_drive(&document))
            .of(name, "write its config drive")?;
    }
    Ok(())
}

async fn overlay(name: &str, base: &Path, disk: &Path) -> Result<(), MachineError> {
    let program = sluice_programs::command("qemu-img").map_err(std::io::Error::other);
    let mut command = Command::from(program.of(name, "find qemu-img")?);
    command.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(base).arg(disk);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.of(name, "run qemu-img")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(MachineError::Disk { machine: name.to_owned(), said })
}

/// Every image of the lab, so that all that is missing is known before anything starts.
pub(crate) fn check_images(spec: &LabSpec) -> Vec<MachineError> {
    let missing = |(name, machine): (&sluice_api::types::ObjectId, &MachineSpec)| {
        Images::find(name.as_str(), machine, &spec.images).err()
    };
    spec.machines.iter().filter_map(missing).collect()
}
