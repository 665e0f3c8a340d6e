//! Where the next agent finds the services of this one: for each a note of its process, the socket that it listens on, and
//! the pipe of its log.
//!
//! Guarantees: the folder is in RAM and root's alone; a note stands before the process runs, and is whole once it does
//! ([`Watched::of_note`]); a note says of which specification and of which program file the process is, so that one of
//! another build, or one that is specified otherwise by now, is told from a current one. Notes of what runs no more mean
//! nothing and are taken away. A process that ends by itself once another has its sockets is set aside: what there is of
//! it is found under `NAME.PID`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use sluice_api::Digest;
use sluice_sys::process::Watched;
use tokio::net::unix::pipe;

use crate::service::ServiceSpec;

/// The folder.
#[derive(Debug)]
pub(super) struct Kept(PathBuf);

/// What a process is started with.
pub(super) struct Begun {
    pub(super) note: File,
    pub(super) agents: UnixListener,
    /// Where it is asked for its listening sockets.
    pub(super) keeper: UnixListener,
    pub(super) stderr: OwnedFd,
    pub(super) log: pipe::Receiver,
}

/// A process that a former agent started.
pub(super) struct Left {
    pub(super) process: Watched,
    /// What [`fingerprint`] said when it was started.
    pub(super) fingerprint: String,
}

/// What a process of `spec` is told by: all of the specification, and which file its program is.
pub(super) fn fingerprint(spec: &ServiceSpec, program: &Path) -> io::Result<String> {
    let file = fs::metadata(program)?;
    let file = (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec());
    Ok(Digest::of_bytes(format!("{spec:?} {file:?}").as_bytes()).to_string())
}

impl Kept {
    /// Makes the folder.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    fn note(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.note"))
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.sock"))
    }

    fn pipe(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.log"))
    }

    /// Where `name` is asked for its listening sockets.
    pub(super) fn keeper(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.keep"))
    }

    fn all(&self, name: &str) -> [PathBuf; 4] {
        [self.note(name), self.socket(name), self.pipe(name), self.keeper(name)]
    }

    /// Makes everything new for a start of `name`, of which nothing runs.
    pub(super) fn begin(&self, name: &str, fingerprint: &str) -> io::Result<Begun> {
        self.forget(name)?;
        // a new file: whoever still has the former one writes into nothing
        let mut note =
            OpenOptions::new().create_new(true).append(true).mode(0o600).open(self.note(name))?;
        writeln!(note, "{fingerprint}")?;
        let agents = UnixListener::bind(self.socket(name))?;
        let keeper = UnixListener::bind(self.keeper(name))?;
        let pipe = self.pipe(name);
        let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
        nix::unistd::mkfifo(&pipe, mode)?;
        // for reading as well: then there is always a reader, and a line said while there is no agent ends nobody
        let stderr = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(without_waiting())
            .open(&pipe)?;
        let log = pipe::OpenOptions::new().open_receiver(&pipe)?;
        Ok(Begun { note, agents, keeper, stderr: stderr.into(), log })
    }

    /// The process of `name` that runs, if one does.
    pub(super) fn left(&self, name: &str) -> Option<Left> {
        let text = fs::read_to_string(self.note(name)).ok()?;
        let (fingerprint, account) = text.split_once('\n')?;
        let process = Watched::of_note(account)?;
        Some(Left { process, fingerprint: fingerprint.to_owned() })
    }

    /// Names of all that there are notes of.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_suffix(".note").map(str::to_owned)).collect()
    }

    /// Opens the way to a process that runs, and its log.
    pub(super) fn connect(&self, name: &str) -> io::Result<(UnixStream, pipe::Receiver)> {
        Ok((UnixStream::connect(self.socket(name))?, self.log(name)?))
    }

    /// The log of a process that runs.
    pub(super) fn log(&self, name: &str) -> io::Result<pipe::Receiver> {
        pipe::OpenOptions::new().open_receiver(self.pipe(name))
    }

    /// Takes away what there is of `name`.
    pub(super) fn forget(&self, name: &str) -> io::Result<()> {
        self.all(name).iter().try_for_each(|path| unless_missing(fs::remove_file(path)))
    }

    /// Makes room for another process of `name` beside `pid`, which goes on; its note is the last that moves, so that
    /// there is always one of it. The name that it has from now on.
    pub(super) fn set_aside(&self, name: &str, pid: u32) -> io::Result<String> {
        let aside = format!("{name}.{pid}");
        for (from, to) in self.all(name).iter().zip(self.all(&aside)).rev() {
            unless_missing(fs::rename(from, to))?;
        }
        Ok(aside)
    }

    /// The names of those of `name` that were set aside.
    pub(super) fn aside(&self, name: &str) -> Vec<String> {
        self.names()
            .into_iter()
            .filter(|known| service_of(known) == name && known != name)
            .collect()
    }
}

/// The service that a process belongs to which is found under `name`, set aside or not.
pub(super) fn service_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(service, _)| service)
}

fn unless_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn without_waiting() -> i32 {
    nix::fcntl::OFlag::O_NONBLOCK.bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(kept: &Kept) -> Begun {
        kept.begin("one", "spec").unwrap()
    }

    #[tokio::test]
    async fn only_a_whole_note_of_a_running_process_counts() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path().join("agent")).unwrap();
        assert!(kept.left("one").is_none() && kept.names().is_empty());
        let mut note = begun(&kept).note;
        // killed before the process ran
        assert!(kept.left("one").is_none());
        assert_eq!(kept.names(), ["one"]);
        let account = fs::read_to_string("/proc/self/stat").unwrap();
        // killed while it wrote its name
        let (number, rest) = account.split_at(account.find(')').unwrap());
        note.write_all(number.as_bytes()).unwrap();
        assert!(kept.left("one").is_none());
        note.write_all(rest.as_bytes()).unwrap();
        let left = kept.left("one").unwrap();
        assert_eq!((left.process.pid(), left.fingerprint.as_str()), (std::process::id(), "spec"));
        // a later start is not disturbed by what a late process of the former one writes
        let _second = begun(&kept);
        note.write_all(account.as_bytes()).unwrap();
        assert!(kept.left("one").is_none());
        fs::write(folder.path().join("agent/one.note"), b"\xff\n\xff").unwrap();
        assert!(kept.left("one").is_none());
        kept.forget("one").unwrap();
        kept.forget("one").unwrap();
        assert!(kept.names().is_empty());
    }

    #[tokio::test]
    async fn one_that_is_set_aside_leaves_its_name_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path().join("agent")).unwrap();
        let mut begun = begun(&kept);
        begun.note.write_all(&fs::read("/proc/self/stat").unwrap()).unwrap();
        let aside = kept.set_aside("one", 77).unwrap();
        assert!(kept.left("one").is_none());
        assert_eq!(kept.left(&aside).unwrap().process.pid(), std::process::id());
        assert_eq!(kept.aside("one"), [aside.as_str()]);
        assert!(kept.aside("on").is_empty() && kept.aside("one.77").is_empty());
        kept.connect(&aside).unwrap();
        let _second = kept.begin("one", "spec").unwrap();
        assert_eq!((service_of(&aside), kept.names().len()), ("one", 2));
        kept.forget("one").unwrap();
        assert!(kept.left(&aside).is_some());
        kept.forget(&aside).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("agent")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_said_without_an_agent_ends_nobody_and_is_read_later() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path().join("agent")).unwrap();
        let Begun { stderr, log, .. } = begun(&kept);
        drop(log);
        let mut stderr = File::from(stderr);
        stderr.write_all(b"INFO said alone\n").unwrap();
        // more than the pipe holds
        let full = (0..1 << 20).find_map(|_| stderr.write(&[b'x'; 4096]).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let log = kept.log("one").unwrap();
        let mut read = [0; 16];
        log.readable().await.unwrap();
        log.try_read(&mut read).unwrap();
        assert_eq!(&read, b"INFO said alone\n");
    }

    #[test]
    fn another_specification_and_another_program_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "one").unwrap();
        let spec = ServiceSpec::own(64_000);
        let first = fingerprint(&spec, &program).unwrap();
        assert_eq!(fingerprint(&spec, &program).unwrap(), first);
        let mut other = spec.clone();
        other.limits.tasks += 1;
        assert_ne!(fingerprint(&other, &program).unwrap(), first);
        fs::write(folder.path().join("new"), "one").unwrap();
        fs::rename(folder.path().join("new"), &program).unwrap();
        assert_ne!(fingerprint(&spec, &program).unwrap(), first);
    }
}
