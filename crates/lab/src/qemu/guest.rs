//! The command channel of a test host: lines of JSON over virtio-serial port `org.sluice.guest`.
//!
//! The host side sends [`GuestRequest`], the guest answers each with one [`GuestReply`]; commands
//! run side by side and answers come in any order. Guarantees: an answer reaches the one who asked,
//! or the asker learns within the command's bound that none came.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Name of the virtio-serial port.
pub const GUEST_PORT: &str = "org.sluice.guest";

/// How much later than its own limit a command may answer: the guest is emulated and slow.
const GRACE: Duration = Duration::from_secs(10);

/// A shell line for the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRequest {
    /// Comes back in the answer.
    pub id: u64,
    /// Run by `/bin/sh -c`.
    pub sh: String,
    /// The guest kills the command after this many seconds and answers without a code.
    pub timeout_s: u64,
    /// What the command reads. Default nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdin: String,
}

/// What the guest answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestReply {
    /// That of the request; none when the guest could not read it.
    pub id: Option<u64>,
    /// Exit code; none when a signal or the time limit ended the command.
    pub code: Option<i32>,
    /// Standard output, with broken UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Why there is no code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a command in a guest left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestOutput {
    /// Exit code; -1 when the command could not be started, or was ended by a signal or its time
    /// limit: standard error then ends with the reason.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<GuestReply> for GuestOutput {
    fn from(reply: GuestReply) -> Self {
        let stderr = reply.stderr + &reply.error.unwrap_or_default();
        Self { code: reply.code.unwrap_or(-1), stdout: reply.stdout, stderr }
    }
}

impl GuestOutput {
    /// Whether the code is 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }
}

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<GuestReply>>>>;

/// An open channel to one guest.
#[derive(Debug)]
pub(super) struct GuestChannel {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Waiting,
    next: std::sync::atomic::AtomicU64,
    reader: AbortHandle,
}

impl GuestChannel {
    /// Connects to QEMU's socket; the guest may come up later, what is sent waits for it.
    pub(super) async fn connect(path: &Path) -> io::Result<Self> {
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        let waiting = Waiting::default();
        let reader = tokio::spawn(read_replies(reader, waiting.clone())).abort_handle();
        let next = std::sync::atomic::AtomicU64::new(first_id());
        Ok(Self { writer: tokio::sync::Mutex::new(writer), waiting, next, reader })
    }

    /// Runs one line that reads `input`. `None` when no answer came in time.
    pub(super) async fn sh(
        &self,
        line: &str,
        input: &str,
        bound: Duration,
    ) -> io::Result<Option<GuestOutput>> {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let timeout_s = bound.as_secs().max(1);
        let request = GuestRequest { id, sh: line.to_owned(), timeout_s, stdin: input.to_owned() };
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        let sent = self.send(&request).await;
        let answer = match sent {
            Ok(()) => tokio::time::timeout(bound + GRACE, answer).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        lock(&self.waiting).remove(&id);
        sent.map(|()| answer.map(GuestOutput::from))
    }

    async fn send(&self, request: &GuestRequest) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.writer.lock().await.write_all(&line).await
    }
}

impl Drop for GuestChannel {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A late answer to a former connection must not be taken for ours, so ids start anywhere.
fn first_id() -> u64 {
    u64::from(rand::random::<u32>()) << 16
}

fn lock(
    waiting: &Mutex<BTreeMap<u64, oneshot::Sender<GuestReply>>>,
) -> std::sync::MutexGuard<'_, BTreeMap<u64, oneshot::Sender<GuestReply>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_replies(reader: OwnedReadHalf, waiting: Waiting) {
    let mut lines = BufReader::new(reader).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        match serde_json::from_slice::<GuestReply>(&line) {
            Ok(reply) => {
                let asker = reply.id.and_then(|id| lock(&waiting).remove(&id));
                if let Some(asker) = asker {
                    // the asker gave up meanwhile
                    let _unwanted = asker.send(reply);
                }
            }
            Err(error) => tracing::warn!(%error, "guest said something unexpected"),
        }
    }
    // whoever still waits learns at once that no answer can come
    lock(&waiting).clear();
}
