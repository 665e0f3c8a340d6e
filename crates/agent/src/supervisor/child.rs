//! One service process and the channel to it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tracing::Level;

use crate::appliance::ServiceName;
use crate::service::Readiness;
use crate::service::protocol::{self, Configure, FromService, MAX_LINE};

/// Longest line of a service's log; what is longer becomes several.
const MAX_LOG: usize = 1 << 12;
/// How long a service may leave what it is sent in the channel.
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// Starts service processes. The real one sandboxes them; a test may do as it likes.
pub trait Launch: Send + Sync {
    /// Starts `name` with `control` as its standard input and its standard error piped.
    fn launch(
        &self,
        name: ServiceName,
        control: std::os::unix::net::UnixStream,
    ) -> io::Result<Launched>;

    /// When `name` is ready. Default: when it says so over `control`; a daemon of others does not get that.
    fn readiness(&self, _name: ServiceName) -> Readiness {
        Readiness::Protocol
    }
}

/// A process that was started.
pub struct Launched {
    /// Its id.
    pub pid: u32,
    /// What it writes to its standard error: its log.
    pub log: Box<dyn AsyncRead + Send + Unpin>,
    /// Resolves when it has ended; dropping it kills the process.
    pub exit: std::pin::Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + Send>>,
}

/// A running service.
pub(super) struct Running {
    pub(super) launched: Launched,
    pub(super) said: Said<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Running {
    pub(super) fn start(launch: &dyn Launch, name: ServiceName) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut launched = launch.launch(name, theirs)?;
        let log = std::mem::replace(&mut launched.log, Box::new(tokio::io::empty()));
        tokio::spawn(forward_log(name, log));
        let (reader, writer) = UnixStream::from_std(ours)?.into_split();
        Ok(Self { launched, said: Said::new(reader, MAX_LINE), writer })
    }

    pub(super) async fn send(&mut self, message: &Configure<'_>) -> io::Result<()> {
        let line = protocol::line(message)?;
        tokio::time::timeout(SEND_PATIENCE, self.writer.write_all(&line)).await?
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
async fn forward_log(name: ServiceName, log: Box<dyn AsyncRead + Send + Unpin>) {
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
