//! What can go wrong with a lab's background process.

use std::io;
use std::path::PathBuf;

use crate::lab::LabError;
use crate::wait::TimedOut;

/// A lab's background process could not be reached or started.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The folder cannot be used.
    #[error("cannot use {path}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody else made it first.
    #[error("{0} is not this user's own folder: remove it, or set XDG_RUNTIME_DIR")]
    NotOurs(PathBuf),
    /// The lab runs.
    #[error("lab {0} is up already: `sluice lab down --lab {0}` ends it")]
    Up(String),
    /// The lab does not run.
    #[error("lab {0} is not up: start it with `sluice lab up FILE`")]
    NotUp(String),
    /// No lab runs.
    #[error("no lab is up: start one with `sluice lab up FILE`")]
    NoLab,
    /// More than one runs.
    #[error("several labs are up ({0}): say which with --lab")]
    Several(String),
    /// It ended while starting.
    #[error("the lab did not start:\n{0}")]
    Start(String),
    /// The connection broke.
    #[error("lab {name}: connection")]
    Connection {
        /// The lab.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It said what we do not understand: another version.
    #[error("lab {name}: unexpected answer {said:?}: `sluice lab down` and start it again")]
    Unexpected {
        /// The lab.
        name: String,
        /// Its words.
        said: String,
    },
    /// It refused.
    #[error("{0}")]
    Failed(String),
    /// Something took too long.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// The lab itself.
    #[error(transparent)]
    Lab(#[from] LabError),
}
