//! One service process and the channel to it.

use std::io;
use std::process::ExitStatus;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::appliance::ServiceName;
use crate::service::protocol::{self, Configure, FromService};

/// Starts service processes. The real one sandboxes them; a test may do as it likes.
pub trait Launch: Send + Sync {
    /// Starts `name` with `control` as its standard input and its standard error piped.
    fn launch(
        &self,
        name: ServiceName,
        control: std::os::unix::net::UnixStream,
    ) -> io::Result<Launched>;
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
    pub(super) said: Lines<BufReader<OwnedReadHalf>>,
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
        Ok(Self { launched, said: BufReader::new(reader).lines(), writer })
    }

    pub(super) async fn send(&mut self, message: &Configure<'_>) -> io::Result<()> {
        self.writer.write_all(&protocol::line(message)?).await
    }
}

/// What a service said, if it can be understood.
pub(super) fn understood(line: &str) -> io::Result<FromService> {
    serde_json::from_str(line).map_err(io::Error::from)
}

/// A service's log lines become ours, under its name.
async fn forward_log(name: ServiceName, log: Box<dyn AsyncRead + Send + Unpin>) {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!(service = %name, "{line}");
    }
}
