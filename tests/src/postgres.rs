//! A PostgreSQL server on a socket in a folder of its own, and a database of it for each test.
//!
//! A test's database is on the server that [`SERVER`] names, which `sluice-on-postgres` starts for a whole run, or else on
//! one that is started for it alone.
//!
//! Guarantees: the server needs no rights and no network, runs as an unprivileged user even when the test is root (it refuses to
//! be root), and ends with the test. It keeps nothing through a power cut: these tests kill managers, not databases.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, chown};
use sluice_lab::Wait;
use tempfile::TempDir;

const START: Duration = Duration::from_mins(1);
/// With this in the environment every store of the manager's tests is a PostgreSQL database: on a server of its own, or on
/// the one of this URL.
pub const SERVER: &str = "SLUICE_TEST_POSTGRES";
/// The database that every server has.
const FIRST: &str = "postgres";
/// Who runs it when the test is root.
const USER: &str = "nobody";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    folder: TempDir,
}

/// The user and group to become; none: stay who we are.
fn unprivileged() -> Result<Option<(Uid, Gid)>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = User::from_name(USER)?.with_context(|| format!("there is no user {USER}"))?;
    Ok(Some((user.uid, user.gid)))
}

fn command(program: &str, who: Option<(Uid, Gid)>, folder: &Path) -> Result<Command> {
    let mut command = sluice_programs::command(program)?;
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some((user, group)) = who {
        command.uid(user.as_raw()).gid(group.as_raw());
    }
    Ok(command)
}

impl Postgres {
    /// Makes an empty database and serves it.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let who = unprivileged()?;
        if let Some((user, group)) = who {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let data = folder.path().join("data");
        let made = command("initdb", who, folder.path())?
            .args(["--auth=trust", "--username=sluice", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "-D"])
            .arg(&data)
            .output()
            .context("cannot run initdb")?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        let child = command("postgres", who, folder.path())?
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=32MB"])
            // managers of several tests at once
            .args(["-c", "max_connections=300"])
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start postgres")?;
        let mut server = Self { child, folder };
        server.serving().await?;
        Ok(server)
    }

    async fn serving(&mut self) -> Result<()> {
        let socket = self.folder.path().join(".s.PGSQL.5432");
        let look = || {
            let ended = self.child.try_wait().map_err(anyhow::Error::from);
            let there = std::os::unix::net::UnixStream::connect(&socket).is_ok();
            std::future::ready(match ended {
                Ok(Some(status)) => Some(Err(anyhow::anyhow!("postgres ended with {status}"))),
                Ok(None) => there.then_some(Ok(())),
                Err(error) => Some(Err(error)),
            })
        };
        Wait::until_async(START, "PostgreSQL to serve", look).await?
    }

    /// The database as a store's URL.
    pub fn url(&self) -> String {
        format!("postgres://sluice@localhost/{FIRST}?host={}", self.folder.path().display())
    }
}

/// An empty database of a test's own; gone with it.
#[derive(Debug)]
pub struct Database {
    url: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// A server of its own.
    Own { _server: Postgres },
    /// The server with this URL, where it has this name.
    Shared { server: String, name: String },
}

impl Database {
    /// Makes one where [`SERVER`] says.
    pub async fn new() -> Result<Self> {
        match std::env::var(SERVER) {
            Ok(server) if server.starts_with("postgres://") => Self::on(server),
            _ => {
                let server = Postgres::start().await?;
                Ok(Self { url: server.url(), place: Place::Own { _server: server } })
            }
        }
    }

    fn on(server: String) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        admin("createdb", &server, &[&name])?;
        let url = server.replacen(&format!("/{FIRST}?"), &format!("/{name}?"), 1);
        Ok(Self { url, place: Place::Shared { server, name } })
    }

    /// It as a store's URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Runs one of PostgreSQL's own programs against the server with the URL `server`.
fn admin(program: &str, server: &str, words: &[&str]) -> Result<()> {
    let mut command = sluice_programs::command(program)?;
    let told = command.arg(format!("--maintenance-db={server}")).args(words).output()?;
    if !told.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&told.stderr));
    }
    Ok(())
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Place::Shared { server, name } = &self.place {
            // the server ends with the run, and what is left with it
            let _left = admin("dropdb", server, &["--force", name]);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // its own end at once: children and shared memory go with it
        let pid = i32::try_from(self.child.id()).unwrap_or(i32::MAX);
        let _gone_already = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        let _status = self.child.wait();
    }
}
