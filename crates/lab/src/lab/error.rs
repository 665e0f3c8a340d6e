//! What can go wrong with a lab.

use std::io;
use std::path::PathBuf;

use sluice_api::Finding;

use crate::netns::NetnsError;
use crate::qemu::MachineError;
use crate::wire::{ImpairmentError, WireError};

/// A lab, or something asked of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The description is wrong; every finding with its path.
    #[error("the lab's description has {} finding(s):\n{}", .0.len(), lines(.0))]
    Description(Vec<Finding>),
    /// Images are missing; all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Images(Vec<MachineError>),
    /// The lab's folder cannot be used.
    #[error("cannot use the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A wire failed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Loss or delay out of range.
    #[error(transparent)]
    Impairment(ImpairmentError),
    /// A machine failed.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A namespace failed.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// Nothing of this name is in the lab.
    #[error("no {kind} {name:?} in this lab; there are: {known}")]
    NoSuch {
        /// Machine, wire or namespace.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The machine has no control link.
    #[error("machine {0} has no control link")]
    NoControl(String),
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("  {finding}")).collect::<Vec<_>>().join("\n")
}
