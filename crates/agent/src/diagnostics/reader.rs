//! The agent's end of the process that reads packets for it.
//!
//! Guarantees: the process is nobody's user, without capabilities, files, and a way to send ([`Profile::PacketReader`]); it
//! ends when this is dropped or the agent ends. What it says is bounded, and read as types or, of a capture, not at all.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sluice_sys::process::{Handed, Limits, Profile, Sandbox, View, spawn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::time::timeout;

use super::task::{Said, Task};
use super::worker::HEARD;

/// Name of its control group, and in `sluice-ROLE service`.
const NAME: &str = "reader";
/// Its user and group id; nobody else on the machine has it.
const USER: u32 = 64_090;
/// All that run at the same time together.
const MEMORY: u64 = 64 << 20;
/// How long it may take to begin.
const STARTING: Duration = Duration::from_secs(10);
/// No line of it is longer.
const MAX_LINE: usize = 4096;
/// Of a capture, a piece that is passed on at once.
const PIECE: usize = 64 << 10;

/// A process that reads from a socket.
#[derive(Debug)]
pub(super) struct Reader {
    stream: UnixStream,
    held: BytesMut,
    /// Dropped, it is killed.
    child: Child,
}

impl Reader {
    /// Starts one that does `task` with what comes by `socket`, and waits until it listens.
    ///
    /// Errors: it cannot be started, or does not begin within ten seconds.
    pub(super) async fn start(task: &Task, socket: OwnedFd) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = spawn(&sandbox(socket)?, Stdio::from(OwnedFd::from(theirs)))?;
        let mut line = serde_json::to_vec(task)?;
        line.push(b'\n');
        let stream = UnixStream::from_std(ours)?;
        let mut reader = Self { stream, held: BytesMut::new(), child };
        reader.stream.write_all(&line).await?;
        match timeout(STARTING, reader.next()).await.map_err(|_| io::ErrorKind::TimedOut)?? {
            Said::Ready => Ok(reader),
            other => Err(nonsense(format!("it began with {other:?}"))),
        }
    }

    /// The next thing that it says. Cancel safe.
    ///
    /// Errors: it ended, or says something else.
    pub(super) async fn next(&mut self) -> io::Result<Said> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line = self.held.split_to(end + 1);
                return serde_json::from_slice(&line).map_err(|error| nonsense(error.to_string()));
            }
            if self.held.len() > MAX_LINE {
                return Err(nonsense("a line without an end".to_owned()));
            }
            self.held.reserve(MAX_LINE);
            if self.stream.read_buf(&mut self.held).await? == 0 {
                return Err(self.why().await);
            }
        }
    }

    /// The next piece of what it writes, as it is; `None` at its end. Cancel safe.
    ///
    /// Errors: it did not come to its end.
    pub(super) async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        if self.held.is_empty() {
            self.held.reserve(PIECE);
            self.stream.read_buf(&mut self.held).await?;
        }
        let piece = self.held.split().freeze();
        if !piece.is_empty() {
            return Ok(Some(piece));
        }
        if self.child.wait().await?.success() { Ok(None) } else { Err(self.why().await) }
    }

    /// Why it ended, in its own words.
    async fn why(&mut self) -> io::Error {
        let mut words = String::new();
        if let Some(said) = self.child.stderr.take() {
            let mut said = said.take(MAX_LINE as u64);
            // what is not text, or does not come, is missing in the message
            let _read = timeout(Duration::from_secs(1), said.read_to_string(&mut words)).await;
        }
        io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ended: {}", words.trim()))
    }
}

fn sandbox(socket: OwnedFd) -> io::Result<Sandbox> {
    Ok(Sandbox {
        name: NAME.to_owned(),
        arguments: vec!["service".into(), NAME.into()],
        profile: Profile::PacketReader,
        view: View::own_libraries()?,
        limits: Limits { memory: Some(MEMORY), ..Limits::default() },
        sockets: vec![Handed { name: HEARD, socket: Arc::new(socket) }],
        ..Sandbox::new(std::env::current_exe()?, USER)
    })
}

fn nonsense(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
