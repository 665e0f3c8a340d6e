//! The programs behind `ipsec add`, `ipsec up` and the others: addconn and whack, run without the shell script between.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::name::Name;

/// How long a program may take that waits for nobody.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest output that is read, in bytes; a thousand connections print a megabyte.
const LONGEST: u64 = 4 << 20;

/// Code of a program that nobody waited for any longer.
const NOT_ENDED: i32 = -2;

/// Exit codes of whack and addconn (`RC_` in libreswan's sources, the same since 3.x).
mod code {
    /// There is no such connection.
    pub(super) const UNKNOWN_NAME: i32 = 21;
    /// pluto cannot be reached.
    pub(super) const WHACK_PROBLEM: i32 = 33;
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code; -1 when a signal ended it, -2 when it had not ended.
    pub code: i32,
    /// What it printed.
    pub lines: Vec<String>,
}

/// Why a program did not do what it was told.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It cannot be run, or did not end. Worth a retry.
    #[error("cannot run {program}: {source}")]
    Run {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// pluto does not answer. Worth a retry.
    #[error("pluto cannot be reached")]
    Unreachable,
    /// pluto has no such connection.
    #[error("pluto has no connection of this name")]
    UnknownName,
    /// pluto refused. Not worth a retry.
    #[error("pluto refused: {0}")]
    Refused(String),
}

/// Where the programs are, and pluto's socket.
#[derive(Clone, Debug)]
pub struct Tools {
    programs: PathBuf,
    run: PathBuf,
}

impl Tools {
    /// `programs` is libreswan's own folder (Debian: `/usr/libexec/ipsec`), `run` pluto's `--rundir`.
    pub fn new(programs: &Path, run: &Path) -> Self {
        Self { programs: programs.to_owned(), run: run.to_owned() }
    }

    /// Loads the connection of this name from `file`, in place of one that is loaded (`ipsec add`).
    pub async fn add(&self, file: &Path, name: &Name) -> Result<(), ToolError> {
        let socket = self.run.join("pluto.ctl");
        let mut command = self.command("addconn");
        command.arg("--ctlsocket").arg(socket).arg("--config").arg(file).arg(name.as_str());
        done(run("addconn", command, PATIENCE).await?)
    }

    /// Ends and forgets a connection (`ipsec delete`).
    pub async fn delete(&self, name: &Name) -> Result<(), ToolError> {
        self.whack(&["--name", name.as_str(), "--delete"]).await.and_then(done)
    }

    /// Begins a connection and waits for what comes of it (`ipsec up`); what pluto says of it is the only place where a
    /// failure is named. Gives up waiting, not trying, after `patience`.
    pub async fn up(&self, name: &Name, patience: Duration) -> Result<Output, ToolError> {
        let arguments = ["--name", name.as_str(), "--initiate"];
        let output = self.whack_for(&arguments, patience).await?;
        if output.code == code::UNKNOWN_NAME { Err(ToolError::UnknownName) } else { Ok(output) }
    }

    /// Ends a connection's associations (`ipsec down`).
    pub async fn down(&self, name: &Name) -> Result<(), ToolError> {
        self.whack(&["--name", name.as_str(), "--terminate"]).await.and_then(done)
    }

    /// Makes new keys for a tunnel (`ipsec whack --rekey-child`).
    pub async fn rekey(&self, name: &Name) -> Result<(), ToolError> {
        let arguments = ["--name", name.as_str(), "--rekey-child", "--asynchronous"];
        self.whack(&arguments).await.and_then(done)
    }

    /// Has pluto listen on the addresses that there are now, and read its secrets again (`ipsec whack --listen`).
    pub async fn listen(&self) -> Result<(), ToolError> {
        self.whack(&["--listen"]).await.and_then(done)
    }

    /// Has pluto end, and its associations with it (`ipsec whack --shutdown`).
    pub async fn shutdown(&self) -> Result<(), ToolError> {
        self.whack(&["--shutdown"]).await.and_then(done)
    }

    /// Has pluto read its secrets again (`ipsec secrets`).
    pub async fn reread_secrets(&self) -> Result<(), ToolError> {
        self.whack(&["--rereadsecrets"]).await.and_then(done)
    }

    /// Tunnels that are up, with their traffic (`ipsec trafficstatus`).
    pub async fn traffic(&self) -> Result<Vec<String>, ToolError> {
        Ok(self.whack(&["--trafficstatus"]).await?.lines)
    }

    /// States of all negotiations (`ipsec showstates`).
    pub async fn states(&self) -> Result<Vec<String>, ToolError> {
        Ok(self.whack(&["--showstates"]).await?.lines)
    }

    async fn whack(&self, arguments: &[&str]) -> Result<Output, ToolError> {
        let output = self.whack_for(arguments, PATIENCE).await?;
        if output.code == NOT_ENDED {
            return Err(ToolError::Run {
                program: "whack",
                source: io::ErrorKind::TimedOut.into(),
            });
        }
        Ok(output)
    }

    async fn whack_for(&self, arguments: &[&str], patience: Duration) -> Result<Output, ToolError> {
        let mut command = self.command("whack");
        command.arg("--rundir").arg(&self.run).args(arguments);
        let output = run("whack", command, patience).await?;
        if output.code == code::WHACK_PROBLEM { Err(ToolError::Unreachable) } else { Ok(output) }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env_clear().current_dir("/").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// Runs `command` for so long; what it printed until then, when it has not ended.
async fn run(
    program: &'static str,
    mut command: Command,
    patience: Duration,
) -> Result<Output, ToolError> {
    let failed = |source| ToolError::Run { program, source };
    let mut child = command.spawn().map_err(failed)?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let whole = {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read = async { tokio::try_join!(fill(stdout, &mut out), fill(stderr, &mut err)) };
        tokio::time::timeout(patience, async { read.await.and(child.wait().await) }).await
    };
    let code = match whole {
        Ok(status) => status.map_err(failed)?.code().unwrap_or(-1),
        Err(_) => NOT_ENDED,
    };
    Ok(Output { code, lines: lines(&out, &err) })
}

async fn fill(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    if let Some(pipe) = pipe {
        pipe.take(LONGEST).read_to_end(into).await?;
    }
    Ok(())
}

/// Non-empty lines, without the numbers that older releases put before them.
fn lines(out: &[u8], err: &[u8]) -> Vec<String> {
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    let numbered = |line: &str| {
        let (first, rest) = line.split_at_checked(4)?;
        let number = first.ends_with(' ') && first.bytes().take(3).all(|b| b.is_ascii_digit());
        number.then(|| rest.to_owned())
    };
    let all = out.lines().chain(err.lines()).map(str::trim_end).filter(|line| !line.is_empty());
    all.map(|line| numbered(line).unwrap_or_else(|| line.to_owned())).collect()
}

fn done(output: Output) -> Result<(), ToolError> {
    match output.code {
        0 => Ok(()),
        code::UNKNOWN_NAME => Err(ToolError::UnknownName),
        code::WHACK_PROBLEM => Err(ToolError::Unreachable),
        code => {
            let words = output.lines.last().cloned();
            Err(ToolError::Refused(words.unwrap_or_else(|| format!("exit code {code}"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_libreswan_5_2() {
        let output = |code, line: &str| Output { code, lines: vec![line.to_owned()] };
        assert!(done(output(0, "")).is_ok());
        let unknown = done(output(21, "no connection or alias named \"s2s-none\"'"));
        assert!(matches!(unknown, Err(ToolError::UnknownName)));
        let down = done(output(33, "ERROR: ipsec whack: connect(pluto_ctl) failed"));
        assert!(matches!(down, Err(ToolError::Unreachable)));
        let words =
            "\"s2s-good\": failed to add connection: IKE DH algorithm 'modp1024' is not supported";
        match done(output(56, words)) {
            Err(ToolError::Refused(reason)) => assert_eq!(reason, words),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_of_older_releases_are_taken_off() {
        let found = lines(b"006 #2: \"a\", type=ESP\n\n#3: \"b\"\n", b"10 x\n");
        assert_eq!(found, ["#2: \"a\", type=ESP", "#3: \"b\"", "10 x"]);
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_named() {
        let tools = Tools::new(Path::new("/nonexistent"), Path::new("/nonexistent"));
        let error = tools.listen().await.unwrap_err().to_string();
        assert!(error.starts_with("cannot run whack: "), "{error}");
    }

    #[tokio::test]
    async fn output_and_exit_code_of_a_real_program() {
        let folder = std::env::temp_dir().join(format!("libreswan-ffi-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink("/bin/echo", folder.join("whack")).unwrap();
        let tools = Tools::new(&folder, Path::new("/run/pluto"));
        let lines = tools.traffic().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(lines, ["--rundir /run/pluto --trafficstatus"]);
    }
}
