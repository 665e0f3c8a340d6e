//! One service process and the channel to it.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::Shared;
use serde::Serialize;
use sluice_api::Digest;
use sluice_api::types::Generation;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tracing::Level;

use crate::appliance::{ServiceName, ServiceSlice};
use crate::service::protocol::{self, Configure, FromService, MAX_LINE};
use crate::service::{PATIENCE, Readiness};

/// Longest line of a service's log; what is longer becomes several.
const MAX_LOG: usize = 1 << 12;
/// How long a service may leave what it is sent in the channel.
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// How long a process may take to say what is in force; it says so before anything else.
const GREETING: Duration = Duration::from_secs(5);
/// How long a process that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(1);

/// Starts service processes. The real one sandboxes them; a test may do as it likes.
#[async_trait]
pub trait Launch: Send + Sync {
    /// Starts `name`, of which nothing runs.
    fn launch(&self, name: ServiceName) -> io::Result<Launched>;

    /// When `name` is ready. Default: when it says so over the channel; a daemon of others does not get that.
    fn readiness(&self, _name: ServiceName) -> Readiness {
        Readiness::Protocol
    }

    /// How long `name` may take to bring a slice into force. Default: [`PATIENCE`].
    fn patience(&self, _name: ServiceName) -> Duration {
        PATIENCE
    }

    /// The process of `name` that a former agent left, if it is what `name` is now; one that is not has ended when this
    /// returns. Default: there is none.
    async fn take_over(&self, _name: ServiceName) -> Option<Launched> {
        None
    }

    /// Ends what former agents left and nobody wants. Default: there is nothing.
    async fn end_others(&self, _wanted: &BTreeSet<ServiceName>) {}

    /// Ends the processes of `name` that were left running to hand over to this one; true when there were some. Default:
    /// there are none.
    async fn end_predecessors(&self, _name: ServiceName) -> bool {
        false
    }

    /// `name` has a slice in force: what it listens on by now is kept for the process after it. Default: nothing is.
    async fn keep_sockets(&self, _name: ServiceName) {}

    /// Nobody needs `name` any more, nor what was kept for it.
    fn release_sockets(&self, _name: ServiceName) {}
}

/// A process that was started, now or by a former agent.
pub struct Launched {
    /// Its id.
    pub pid: u32,
    /// The channel to it.
    pub control: std::os::unix::net::UnixStream,
    /// True when its first word is what is in force there; of one that was started now that is nothing.
    pub greets: bool,
    /// What it writes to its standard error: its log.
    pub log: Box<dyn AsyncRead + Send + Unpin>,
    /// Ends it.
    pub kill: Box<dyn Fn() + Send + Sync>,
    /// Resolves when it has ended, with how.
    pub exit: Exit,
}

/// The end of a process, for as many as ask.
pub type Exit = Shared<Pin<Box<dyn Future<Output = String> + Send>>>;

impl Launched {
    /// An [`Exit`].
    pub fn exit(exit: impl Future<Output = String> + Send + 'static) -> Exit {
        let exit: Pin<Box<dyn Future<Output = String> + Send>> = Box::pin(exit);
        exit.shared()
    }
}

/// How a child ended, for people.
pub(super) fn ended(exit: io::Result<ExitStatus>) -> String {
    exit.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// A running service.
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) exit: Exit,
    kill: Box<dyn Fn() + Send + Sync>,
    pub(super) said: Said<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    greets: bool,
    /// The slice that it said was in force before it was sent any.
    serving: Option<Digest>,
}

impl Running {
    pub(super) fn of(name: ServiceName, launched: Launched) -> io::Result<Self> {
        let Launched { pid, control, greets, log, kill, exit } = launched;
        tokio::spawn(forward_log(name, log));
        control.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(control)?.into_split();
        let said = Said::new(reader, MAX_LINE);
        Ok(Self { pid, exit, kill, said, writer, greets, serving: None })
    }

    /// Hears what is in force there. Errors: it does not say so in time.
    pub(super) async fn greeted(&mut self) -> io::Result<Option<Generation>> {
        if !self.greets {
            return Ok(None);
        }
        let line = tokio::time::timeout(GREETING, self.said.next_line()).await??;
        match understood(&line.unwrap_or_default())? {
            FromService::Serving { generation, slice } => {
                self.serving = slice;
                Ok(generation)
            }
            _ => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "it does not say what is in force"))
            }
        }
    }

    /// True when `slice` is in force there, and it need not be sent.
    pub(super) fn serves(&self, slice: &ServiceSlice) -> bool {
        let wanted = || Digest::of_bytes(slice.json().get().as_bytes());
        self.serving.as_ref().is_some_and(|serving| *serving == wanted())
    }

    pub(super) async fn send(&mut self, message: &Configure<'_>) -> io::Result<()> {
        // from now on it is known by what it answers
        self.serving = None;
        self.tell(message).await
    }

    /// Says what changes nothing that is in force.
    pub(super) async fn tell(&mut self, message: &impl Serialize) -> io::Result<()> {
        let line = protocol::line(message)?;
        tokio::time::timeout(SEND_PATIENCE, self.writer.write_all(&line)).await?
    }

    /// Ends the process, if it has not ended, and waits until it is gone.
    pub(super) async fn end(self) {
        (self.kill)();
        let Self { exit, said, writer, .. } = self;
        drop((said, writer));
        let _late = tokio::time::timeout(DYING, exit).await;
    }
}

/// The lines of a service, none longer than a bound.
pub(super) struct Said<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    bound: usize,
}

impl<R: AsyncRead + Unpin> Said<R> {
    fn new(reader: R, bound: usize) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), bound }
    }

    /// The next line; `None` at the end. What was read so far is kept when the caller stops waiting. A line longer than
    /// the bound is cut there.
    async fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = u64::try_from(self.bound.saturating_sub(self.line.len())).unwrap_or(u64::MAX);
        (&mut self.reader).take(room).read_until(b'\n', &mut self.line).await?;
        let line = std::mem::take(&mut self.line);
        Ok((!line.is_empty()).then_some(line))
    }

    /// As [`Said::piece`], but a line that had to be cut is an error.
    pub(super) async fn next_line(&mut self) -> io::Result<Option<String>> {
        let Some(line) = self.piece().await? else { return Ok(None) };
        if line.len() >= self.bound {
            let reason = format!("a line of more than {} bytes", self.bound);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        String::from_utf8(line).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("not UTF-8: {error}"))
        })
    }
}

/// What a service said, if it can be understood.
pub(super) fn understood(line: &str) -> io::Result<FromService> {
    serde_json::from_str(line).map_err(io::Error::from)
}

/// A service's log lines become ours, under its name.
pub(super) async fn forward_log(name: ServiceName, log: Box<dyn AsyncRead + Send + Unpin>) {
    let mut said = Said::new(log, MAX_LOG);
    while let Ok(Some(line)) = said.piece().await {
        let line = String::from_utf8_lossy(&line);
        match severity(&line) {
            (Level::ERROR, text) => tracing::error!(service = %name, "{text}"),
            (Level::WARN, text) => tracing::warn!(service = %name, "{text}"),
            (_, text) => tracing::info!(service = %name, "{text}"),
        }
    }
}

/// The level that a line begins with, as the services write it, and the rest; what has none, such as a panic, is a warning.
fn severity(line: &str) -> (Level, &str) {
    let line = line.trim();
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
    match levels.into_iter().find(|level| level.as_str() == word) {
        Some(level) => (level, rest),
        None => (Level::WARN, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_without_an_end_takes_no_more_memory_than_the_bound() {
        let mut said = Said::new(tokio::io::repeat(b'x'), 100);
        let error = said.next_line().await.unwrap_err();
        assert!(error.to_string().contains("more than 100 bytes"), "{error}");
        assert!(said.line.capacity() < 1000, "{}", said.line.capacity());
    }

    #[tokio::test]
    async fn lines_come_whole_up_to_the_bound_and_a_log_line_is_cut() {
        let mut said = Said::new(&b"one\ntwo"[..], 5);
        assert_eq!(said.next_line().await.unwrap().as_deref(), Some("one\n"));
        assert_eq!(said.next_line().await.unwrap().as_deref(), Some("two"));
        assert_eq!(said.next_line().await.unwrap(), None);
        let mut log = Said::new(&b"1234567"[..], 5);
        assert_eq!(log.piece().await.unwrap().as_deref(), Some(&b"12345"[..]));
        assert_eq!(log.piece().await.unwrap().as_deref(), Some(&b"67"[..]));
    }

    #[test]
    fn a_service_keeps_the_level_of_what_it_says() {
        assert_eq!(severity(" WARN dhcp: no socket\n"), (Level::WARN, "dhcp: no socket"));
        assert_eq!(severity("ERROR x"), (Level::ERROR, "x"));
        assert_eq!(severity(" INFO"), (Level::INFO, ""));
        assert_eq!(severity("thread 'main' panicked"), (Level::WARN, "thread 'main' panicked"));
    }
}
