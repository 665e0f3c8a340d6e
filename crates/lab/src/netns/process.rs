//! Long-running programs inside a namespace.
//!
//! Guarantees: the program is ended by its pid when dropped, and dies with the thread that started
//! it; its output is kept in a file, so it never blocks on a full pipe.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::wait::Wait;

use super::command::in_namespace;
use super::error::NetnsError;

/// A running program; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    namespace: String,
    program: String,
    child: Child,
    log: File,
}

impl Process {
    pub(super) fn start<S: AsRef<OsStr>>(
        namespace: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Self, NetnsError> {
        let words: Vec<OsString> = words.into_iter().map(|w| w.as_ref().to_owned()).collect();
        let program = words.first().map(|w| w.to_string_lossy().into_owned()).unwrap_or_default();
        let failed = |source| NetnsError::Start {
            namespace: namespace.to_owned(),
            program: program.clone(),
            source,
        };
        let log = tempfile::tempfile().map_err(failed)?;
        let mut command = in_namespace(namespace, &words).map_err(failed)?;
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(failed)?);
        command.stderr(log.try_clone().map_err(failed)?);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { namespace: namespace.to_owned(), program, child, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// All it said so far, standard output and error together.
    pub fn output(&self) -> String {
        let length = self.log.metadata().map_or(0, |metadata| metadata.len());
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        // by position: the program shares our file offset and writes where we would leave it
        let read = self.log.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(read);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has said `text`.
    pub fn says(&mut self, text: &str, bound: Duration) -> Result<(), NetnsError> {
        let mut ended = false;
        let heard = Wait::until(bound, text, || {
            ended = !self.is_running();
            self.output().contains(text) || ended
        });
        if heard.is_ok() && self.output().contains(text) {
            return Ok(());
        }
        Err(NetnsError::NotSaid {
            namespace: self.namespace.clone(),
            program: self.program.clone(),
            text: text.to_owned(),
            bound,
            said: self.output(),
        })
    }

    /// Sends a signal, such as TERM or HUP.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> Result<(), NetnsError> {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, signal).map_err(|errno| NetnsError::Io {
            namespace: self.namespace.clone(),
            action: "send a signal",
            source: errno.into(),
        })
    }

    /// Kills it as a crash would, and waits for its end.
    pub fn kill(&mut self) {
        // an error means that it has ended already
        let _already_ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
