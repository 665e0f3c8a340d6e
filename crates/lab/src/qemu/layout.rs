//! Where a machine's files and sockets are: one folder a machine.

use std::path::{Path, PathBuf};

use super::error::MachineError;

/// Longest path of a Unix socket: 108 bytes with the closing NUL (unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;
/// The longest name below the folder, `guest.sock` and `n23.q` included.
const LONGEST_NAME: usize = 12;

/// The folder of one machine.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// The machine's folder below the lab's; refused when sockets in it would not work.
    pub fn new(lab: &Path, machine: &str) -> Result<Self, MachineError> {
        let folder = lab.join(machine);
        if folder.as_os_str().len() + 1 + LONGEST_NAME > SOCKET_PATH_LIMIT {
            return Err(MachineError::PathLength { machine: machine.to_owned(), path: folder });
        }
        Ok(Self { folder })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The serial console, a stream socket of QEMU's.
    pub fn console(&self) -> PathBuf {
        self.folder.join("console.sock")
    }

    /// All the console ever said.
    pub fn console_log(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// QEMU's monitor.
    pub fn qmp(&self) -> PathBuf {
        self.folder.join("qmp.sock")
    }

    /// The command channel of a test host.
    pub fn guest(&self) -> PathBuf {
        self.folder.join("guest.sock")
    }

    /// The machine's own writes to its disk.
    pub fn disk(&self) -> PathBuf {
        self.folder.join("disk.qcow2")
    }

    /// The machine's own UEFI variables.
    pub fn uefi_variables(&self) -> PathBuf {
        self.folder.join("vars.fd")
    }

    /// The boot document as a drive.
    pub fn config_drive(&self) -> PathBuf {
        self.folder.join("boot.iso")
    }

    /// What QEMU itself said.
    pub fn qemu_log(&self) -> PathBuf {
        self.folder.join("qemu.log")
    }

    /// Where QEMU receives the frames of NIC `number`.
    pub fn nic_machine_end(&self, number: usize) -> PathBuf {
        self.folder.join(format!("n{number}.q"))
    }

    /// Where the wire receives the frames of NIC `number`.
    pub fn nic_wire_end(&self, number: usize) -> PathBuf {
        self.folder.join(format!("n{number}.w"))
    }
}
