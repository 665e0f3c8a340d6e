//! Commands inside a namespace, with a time limit and their output.
//!
//! Guarantees: a command that runs too long is killed by its pid and reported with what it said;
//! it dies with the thread that started it. Output is kept whole, so do not run what talks forever.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait::Wait;

use super::error::NetnsError;
use super::nft::nft;
use super::shell;

const DEFAULT_BOUND: Duration = Duration::from_secs(20);

/// What a finished command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Whether the code is 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    fn said(&self) -> String {
        format!("{}{}", self.stderr, self.stdout).trim().to_owned()
    }
}

/// A command to be run in a namespace.
#[derive(Debug)]
pub struct NsCommand {
    namespace: String,
    words: Vec<OsString>,
    input: Option<Vec<u8>>,
    bound: Duration,
}

impl NsCommand {
    pub(super) fn new<S: AsRef<OsStr>>(
        namespace: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Self { namespace: namespace.to_owned(), words, input: None, bound: DEFAULT_BOUND }
    }

    /// Kills the command after this long. Default 20 s.
    #[must_use]
    pub fn timeout(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// What the command reads from standard input. Default: nothing.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs it; any exit code is an answer.
    pub fn run(self) -> Result<Output, NetnsError> {
        let mut command = in_namespace(&self.namespace, &self.words)
            .map_err(|source| self.not_started(source))?;
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.not_started(source))?;
        let writer = feed(&mut child, self.input.clone());
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let code = self.wait(&mut child);
        drop(writer.join());
        let code_or = code.unwrap_or(-1);
        let output = Output { code: code_or, stdout: text_of(stdout), stderr: text_of(stderr) };
        if code.is_some() { Ok(output) } else { Err(self.timed_out(&output)) }
    }

    /// Runs it; a code other than 0 is an error. Returns standard output.
    pub fn check(self) -> Result<String, NetnsError> {
        let (namespace, command) = (self.namespace.clone(), self.shown());
        let output = self.run()?;
        if output.ok() {
            return Ok(output.stdout);
        }
        Err(NetnsError::Failed { namespace, command, code: output.code, said: output.said() })
    }

    fn wait(&self, child: &mut Child) -> Option<i32> {
        let ended = || child.try_wait().ok().flatten();
        if let Ok(status) = Wait::until_some(self.bound, "the command's end", ended) {
            return Some(status.code().unwrap_or(-1));
        }
        // an error here means that it ended meanwhile
        let _already_ended = child.kill();
        let _status = child.wait();
        None
    }

    fn shown(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    fn not_started(&self, source: io::Error) -> NetnsError {
        NetnsError::Start { namespace: self.namespace.clone(), program: self.shown(), source }
    }

    fn timed_out(&self, output: &Output) -> NetnsError {
        NetnsError::TimedOut {
            namespace: self.namespace.clone(),
            command: self.shown(),
            bound: self.bound,
            said: output.said(),
        }
    }
}

/// `words` in the namespace, or outside for an empty name; dies with the calling thread.
pub(super) fn in_namespace(namespace: &str, words: &[OsString]) -> io::Result<Command> {
    // setpriv, because setting the parent-death signal ourselves would need unsafe code in the
    // forked child; it and `ip netns exec` replace themselves, so the pid stays the command's
    let mut command = sluice_programs::command("setpriv").map_err(io::Error::other)?;
    command.args(["--pdeathsig", "KILL", "--"]);
    if !namespace.is_empty() {
        command.arg(named("ip".as_ref())?).args(["netns", "exec", namespace]);
    }
    if let Some((program, arguments)) = words.split_first() {
        command.arg(named(program)?).args(arguments);
        if program == "sh" {
            command.env("PATH", shell::path()?);
        }
    }
    Ok(command)
}

/// Where a program is: a path is one of our own, a name is looked up in the table of packages.
fn named(program: &OsStr) -> io::Result<PathBuf> {
    let text = program.to_string_lossy();
    if text.contains('/') {
        return Ok(program.into());
    }
    if text == "nft" {
        return Ok(nft().to_owned());
    }
    sluice_programs::find(&text).map_err(io::Error::other)
}

fn feed(child: &mut Child, input: Option<Vec<u8>>) -> JoinHandle<()> {
    let pipe = child.stdin.take();
    thread::spawn(move || {
        if let (Some(mut pipe), Some(input)) = (pipe, input) {
            // a command may end without reading all of it
            let _closed = pipe.write_all(&input);
        }
    })
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // what was read before an error is kept
            let _broken = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn text_of(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
}
