//! A PostgreSQL server of a test's own, on a socket in a folder of its own.
//!
//! Guarantees: it needs no rights and no network, runs as an unprivileged user even when the test is root (it refuses to
//! be root), and ends with the test. It keeps nothing through a power cut: these tests kill managers, not databases.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, chown};
use sluice_lab::Wait;
use tempfile::TempDir;

const START: Duration = Duration::from_mins(1);
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
        format!("postgres://sluice@localhost/postgres?host={}", self.folder.path().display())
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
