//! What can go wrong with namespaces.

use std::io;
use std::time::Duration;

/// A namespace, or a command in one, failed.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Namespaces need rights. Never passed over in silence: the test did not run.
    #[error("network namespaces need root: run as root, or leave these tests out by name")]
    NotRoot,
    /// A name that cannot be part of a namespace's.
    #[error("namespace name {0:?}: use lower-case letters, digits and hyphens")]
    Name(String),
    /// The program is not installed or cannot be started.
    #[error("namespace {namespace}: cannot start {program}")]
    Start {
        /// The namespace.
        namespace: String,
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The program ran too long and was killed.
    #[error("namespace {namespace}: {command} was killed after {bound:?}; it had said: {said}")]
    TimedOut {
        /// The namespace.
        namespace: String,
        /// The whole command.
        command: String,
        /// Its time limit.
        bound: Duration,
        /// Its output so far.
        said: String,
    },
    /// The program ended with another code than 0.
    #[error("namespace {namespace}: {command} ended with {code}: {said}")]
    Failed {
        /// The namespace.
        namespace: String,
        /// The whole command.
        command: String,
        /// The exit code, -1 for a signal.
        code: i32,
        /// What it said, standard error first.
        said: String,
    },
    /// A file or thread of the harness failed.
    #[error("namespace {namespace}: cannot {action}")]
    Io {
        /// The namespace.
        namespace: String,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The program ended, or was silent too long, before it said what was awaited.
    #[error("namespace {namespace}: {program} did not say {text:?} within {bound:?}: {said}")]
    NotSaid {
        /// The namespace.
        namespace: String,
        /// The program.
        program: String,
        /// The awaited text.
        text: String,
        /// How long was waited.
        bound: Duration,
        /// What it said instead.
        said: String,
    },
}
