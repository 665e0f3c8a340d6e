//! What can go wrong with a machine.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::qmp::QmpError;

/// A machine, or something asked of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A file the machine is made of is missing.
    #[error("machine {machine}: {what} {path} is missing: {hint}")]
    Missing {
        /// The machine.
        machine: String,
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A path that sockets cannot have.
    #[error(
        "machine {machine}: the path {path} is too long for a socket (107 bytes): use a shorter folder"
    )]
    PathLength {
        /// The machine.
        machine: String,
        /// The path.
        path: PathBuf,
    },
    /// A file or program of the machine failed.
    #[error("machine {machine}: cannot {action}")]
    Io {
        /// The machine.
        machine: String,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `qemu-img` refused.
    #[error("machine {machine}: qemu-img: {said}")]
    Disk {
        /// The machine.
        machine: String,
        /// What it said.
        said: String,
    },
    /// QEMU ended before the machine ran.
    #[error("machine {machine}: QEMU ended at once: {said}")]
    Ended {
        /// The machine.
        machine: String,
        /// What it said.
        said: String,
    },
    /// The machine is off.
    #[error("machine {0} is off")]
    Off(String),
    /// The machine runs already.
    #[error("machine {0} is on already")]
    On(String),
    /// Not a test host.
    #[error("machine {0} has no command channel: only kind = \"host\" has one")]
    NotAHost(String),
    /// A NIC that is not there.
    #[error("machine {machine}: no NIC {nic}")]
    NoSuchNic {
        /// The machine.
        machine: String,
        /// The NIC's number.
        nic: usize,
    },
    /// QEMU's monitor failed.
    #[error("machine {machine}: monitor")]
    Monitor {
        /// The machine.
        machine: String,
        /// Why.
        #[source]
        source: QmpError,
    },
    /// Something awaited did not happen; a retry may help on a busy host.
    #[error("machine {machine}: {what} did not come within {bound:?}\n{state}")]
    TimedOut {
        /// The machine.
        machine: String,
        /// What was awaited.
        what: String,
        /// How long.
        bound: Duration,
        /// The end of its console.
        state: String,
    },
    /// A command in the guest ended with another code than 0.
    #[error("machine {machine}: {command:?} ended with {code}: {said}")]
    Command {
        /// The machine.
        machine: String,
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
        /// What it said, standard error first.
        said: String,
    },
}

/// Adds the machine's name to the errors of files and programs.
pub(super) trait OfMachine<T> {
    fn of(self, machine: &str, action: &'static str) -> Result<T, MachineError>;
}

impl<T> OfMachine<T> for io::Result<T> {
    fn of(self, machine: &str, action: &'static str) -> Result<T, MachineError> {
        self.map_err(|source| MachineError::Io { machine: machine.to_owned(), action, source })
    }
}
