//! pluto itself, as a child of whoever drives it.
//!
//! Guarantees: it ends with the value that stands for it; each line that it says is heard once. It needs no root: the
//! capabilities to administer the network and to bind ports below 1024 are enough, `/dev/urandom` for NSS, and one of
//! `/proc/net/xfrm_stat` and `/proc/sys/net/core/xfrm_acq_expires`, by which it finds that the kernel has IPsec.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::files::Files;
use crate::tools::Tools;

/// How long certutil may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where libreswan's programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Its own folder (Debian: `/usr/libexec/ipsec`).
    pub folder: PathBuf,
    /// NSS's tool for its databases (Debian: `/usr/bin/certutil`).
    pub certutil: PathBuf,
}

/// A running pluto.
#[derive(Debug)]
pub struct Pluto {
    child: Child,
}

impl Pluto {
    /// Starts it on `files`; `hear` gets its log line by line. It answers a moment later.
    pub async fn start(
        programs: &Programs,
        files: &Files,
        hear: impl Fn(&str) + Send + 'static,
    ) -> io::Result<Self> {
        end_former(programs, files).await?;
        database(&programs.certutil, &files.nss()).await?;
        let mut command = Command::new(programs.folder.join("pluto"));
        command.args(["--nofork", "--stderrlog", "--log-no-time", "--no-dnssec"]);
        let paths = [
            ("--config", files.setup()),
            ("--secretsfile", files.secrets()),
            ("--nssdir", files.nss()),
            ("--rundir", files.folder().to_owned()),
            ("--dumpdir", files.folder().to_owned()),
            ("--ipsecdir", files.folder().to_owned()),
        ];
        for (option, path) in paths {
            command.arg(option).arg(path);
        }
        command.env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(log) = child.stderr.take() {
            tokio::spawn(listen(log, hear));
        }
        Ok(Self { child })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// One that outlived whoever started it holds the ports, and a file that keeps another from starting.
async fn end_former(programs: &Programs, files: &Files) -> io::Result<()> {
    let lock = files.folder().join("pluto.pid");
    if !lock.exists() {
        return Ok(());
    }
    if let Err(error) = Tools::new(&programs.folder, files.folder()).shutdown().await {
        tracing::debug!(%error, "no former pluto is there to be ended");
    }
    match std::fs::remove_file(&lock) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn listen(log: impl AsyncRead + Unpin, hear: impl Fn(&str)) {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        hear(&line);
    }
}

/// An empty database of keys and certificates: pluto does not start without one, whatever it is used for.
async fn database(certutil: &Path, folder: &Path) -> io::Result<()> {
    if folder.join("cert9.db").exists() {
        return Ok(());
    }
    let mut command = Command::new(certutil);
    let place = format!("sql:{}", folder.display());
    command.args(["-N", "--empty-password", "-d", &place]).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = tokio::time::timeout(PATIENCE, command.output()).await??;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("certutil: {}", words.trim())))
}
