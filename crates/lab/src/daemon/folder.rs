//! Where running labs keep their state: `$XDG_RUNTIME_DIR/sluice-lab/NAME`, else
//! `/tmp/sluice-lab-UID/NAME`.
//!
//! Guarantees: the folder is the user's own and nobody else's, or it is not used; a process id is
//! believed only together with the process's start time, so a reused id is never killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getuid};
use serde::{Deserialize, Serialize};

use super::error::DaemonError;

/// The folder of one lab.
#[derive(Debug, Clone)]
pub struct LabFolder {
    path: PathBuf,
}

/// Who runs a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    pid: i32,
    /// In clock ticks since this host booted (proc(5), field 22).
    start: u64,
}

impl LabFolder {
    /// The folder of the lab `name`, which may not exist.
    pub fn of(name: &str) -> Result<Self, DaemonError> {
        Ok(Self { path: root()?.join(name) })
    }

    /// A folder by its path.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Names of the labs that left a folder, running or not.
    pub fn names() -> Result<Vec<String>, DaemonError> {
        let root = root()?;
        let entries = fs::read_dir(&root).map_err(failed(&root))?;
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> =
            folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lab's name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The description that the background process reads.
    pub fn spec(&self) -> PathBuf {
        self.path.join("lab.json")
    }

    /// Where the background process listens.
    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// What the background process said.
    pub fn log(&self) -> PathBuf {
        self.path.join("daemon.log")
    }

    /// Makes it, empty, for this user alone.
    pub fn create(&self) -> Result<(), DaemonError> {
        private(&self.path).map_err(failed(&self.path))
    }

    /// Removes it with all that is in it.
    pub fn remove(&self) -> Result<(), DaemonError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&self.path)(error)),
            _ => Ok(()),
        }
    }

    /// Takes the lab for this process: the lock lasts as long as the file stays open.
    pub(super) fn take(&self) -> Result<File, DaemonError> {
        let path = self.path.join("lock");
        let lock = File::create(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DaemonError::Up(self.name())),
            Err(TryLockError::Error(source)) => return Err(failed(&path)(source)),
        }
        let pid = std::process::id().cast_signed();
        let owner = Owner { pid, start: start_time(pid).unwrap_or_default() };
        let text = serde_json::to_vec(&owner).unwrap_or_default();
        fs::write(self.owner_file(), text).map_err(failed(&self.owner_file()))?;
        Ok(lock)
    }

    /// Whether the background process runs.
    pub fn is_running(&self) -> bool {
        self.owner().is_some()
    }

    /// Kills the background process, if the one that was noted still runs. Its machines die with it.
    pub(super) fn kill_owner(&self) {
        if let Some(owner) = self.owner() {
            tracing::warn!(lab = self.name(), pid = owner.pid, "lab killed");
            // an error means that it has ended meanwhile
            let _already_ended = kill(Pid::from_raw(owner.pid), Signal::SIGKILL);
        }
    }

    fn owner_file(&self) -> PathBuf {
        self.path.join("daemon.json")
    }

    fn owner(&self) -> Option<Owner> {
        let owner: Owner = serde_json::from_slice(&fs::read(self.owner_file()).ok()?).ok()?;
        (start_time(owner.pid)? == owner.start).then_some(owner)
    }
}

/// When a running process was started; none for one that has ended.
fn start_time(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name before the closing bracket may hold anything, blanks included
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// The folder of all labs of this user; made when missing.
pub(crate) fn root() -> Result<PathBuf, DaemonError> {
    let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("sluice-lab"),
        None => PathBuf::from(format!("/tmp/sluice-lab-{}", getuid())),
    };
    match private(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed(&path)(error));
        }
        _ => {}
    }
    // in /tmp somebody else may have been first, with a link to anywhere
    let metadata = fs::symlink_metadata(&path).map_err(failed(&path))?;
    let ours = metadata.is_dir() && metadata.uid() == getuid().as_raw();
    let others = metadata.mode() & 0o077;
    if ours && others == 0 { Ok(path) } else { Err(DaemonError::NotOurs(path)) }
}

fn private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> DaemonError + use<> {
    let path = path.to_owned();
    move |source| DaemonError::Folder { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let lab = LabFolder::at(folder.path());
        assert!(!lab.is_running());
        let lock = lab.take().expect("free");
        let owner = lab.owner().expect("noted");
        let other = Owner { start: owner.start + 1, ..owner };
        fs::write(lab.owner_file(), serde_json::to_vec(&other).expect("text")).expect("written");
        assert!(!lab.is_running(), "another process has the id now");
        drop(lock);
    }

    #[test]
    fn a_lab_is_taken_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let lab = LabFolder::at(folder.path());
        let lock = lab.take().expect("free");
        assert!(matches!(lab.take(), Err(DaemonError::Up(_))));
        drop(lock);
        lab.take().expect("free again");
    }

    #[test]
    fn start_times_are_those_of_running_processes_only() {
        assert!(start_time(std::process::id().cast_signed()).is_some());
        assert_eq!(start_time(4_194_305), None);
    }
}
