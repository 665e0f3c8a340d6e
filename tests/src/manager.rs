//! A manager process on a store of its own, and the command line as people call it.
//!
//! Guarantees: a started manager serves; dropping it kills it, unless it is left running on purpose. Does not: give
//! the process time to clean up, because a manager must survive that at any moment.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use sluice_lab::Wait;

use crate::bin;

const START: Duration = Duration::from_mins(1);
/// The administrator's token of every manager here.
pub const TOKEN: &str = "token-of-the-tests-and-nobody-else";
/// Tests wait for no longer than they must; unless they say otherwise.
const QUICK: [[&str; 2]; 3] =
    [["--poll-ms", "200"], ["--retry-ms", "50"], ["--retry-most-ms", "400"]];
/// The file in a manager's folder that holds the URL of its store, where that is a database.
pub const STORE: &str = "store-url";

/// A manager process.
#[derive(Debug)]
pub struct Manager {
    child: Option<Child>,
    /// Where it serves.
    pub address: SocketAddr,
    /// The file with the token that it takes.
    pub token_file: PathBuf,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Told {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Exit code.
    pub code: i32,
}

impl Manager {
    /// Starts a manager on the store in `folder` and waits until it serves; `address` port 0 picks a free one.
    pub async fn start(folder: &Path, address: SocketAddr, more: &[&str]) -> Result<Self> {
        let log = folder.join(format!("log-{}", fs::read_dir(folder)?.count()));
        let token_file = folder.join("token");
        fs::write(&token_file, TOKEN)?;
        let child = Command::new(bin("sluice-manager"))
            .args(store(folder))
            .args(["--listen", &address.to_string()])
            .arg("--token-file")
            .arg(&token_file)
            .args(QUICK.iter().filter(|[option, _]| !more.contains(option)).flatten())
            .args(more)
            .env("NO_COLOR", "1")
            .stderr(File::create(&log)?)
            .stdin(Stdio::null())
            // a group of its own: Ctrl-C at the terminal is for whoever started it, who ends it then
            .process_group(0)
            .spawn()
            .context("cannot start sluice-manager")?;
        let mut manager = Self { child: Some(child), address, token_file };
        manager.address = manager.serving(&log).await?;
        Ok(manager)
    }

    async fn serving(&mut self, log: &Path) -> Result<SocketAddr> {
        let look = || std::future::ready(self.said_address(log).transpose());
        Wait::until_async(START, "the manager to serve", look).await?
    }

    fn said_address(&mut self, log: &Path) -> Result<Option<SocketAddr>> {
        let text = fs::read_to_string(log).unwrap_or_default();
        let address = text.split("serving address=").nth(1).and_then(|t| t.split(' ').next());
        if let Some(ended) = self.ended()? {
            bail!("the manager ended with {ended}:\n{text}");
        }
        Ok(address.and_then(|text| text.parse().ok()))
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), |child| Ok(child.try_wait()?))
    }

    /// What `SLUICE_MANAGER` must be for the command line to find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs `sluice` with these arguments; any exit code is an answer.
    pub fn sluice<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<Told> {
        self.sluice_with(args, &[])
    }

    /// The same in an environment that has these as well.
    pub fn sluice_with<'a>(
        &self,
        args: impl IntoIterator<Item = &'a str>,
        environment: &[(&str, &str)],
    ) -> Result<Told> {
        let output = Command::new(bin("sluice"))
            .args(args)
            .envs(environment.iter().copied())
            .env("SLUICE_MANAGER", self.url())
            .env("SLUICE_TOKEN_FILE", &self.token_file)
            .stdin(Stdio::null())
            .output()
            .context("cannot run sluice")?;
        Ok(Told {
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
            code: output.status.code().context("a signal ended sluice")?,
        })
    }

    /// Starts `sluice` with these arguments and leaves it running; both outputs are kept.
    pub fn start_sluice<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<Child> {
        Command::new(bin("sluice"))
            .args(args)
            .env("SLUICE_MANAGER", self.url())
            .env("SLUICE_TOKEN_FILE", &self.token_file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run sluice")
    }

    /// Runs `sluice`; an exit code other than 0 is an error. Returns standard output.
    pub fn done<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let args: Vec<&str> = args.into_iter().collect();
        let told = self.sluice(args.iter().copied())?;
        if told.code != 0 {
            bail!("`sluice {}` ended with {}: {}{}", args.join(" "), told.code, told.out, told.err);
        }
        Ok(told.out)
    }

    /// Runs `sluice --json` and reads what it prints.
    pub fn ask<'a, T: DeserializeOwned>(
        &self,
        args: impl IntoIterator<Item = &'a str>,
    ) -> Result<T> {
        let text = self.done(["--json"].into_iter().chain(args))?;
        serde_json::from_str(&text).with_context(|| format!("unexpected answer: {text}"))
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.end();
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).context("the manager has ended")
    }

    /// Leaves it running; returns its process id.
    pub fn leave(mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }

    /// The same, to put another in its place.
    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone_already = child.kill();
            let _status = child.wait();
        }
    }
}

/// The words that name the store of a manager in `folder`: a file there, or the database that [`STORE`] names.
pub fn store(folder: &Path) -> Vec<OsString> {
    let file = folder.join("manager.db");
    let store = fs::read_to_string(folder.join(STORE)).map_or_else(|_| file.into(), OsString::from);
    vec!["--store".into(), store, "--authority".into(), folder.join("manager.ca.pem").into()]
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.end();
    }
}
