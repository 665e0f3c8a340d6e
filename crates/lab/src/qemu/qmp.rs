//! QEMU's monitor protocol, as much of it as the lab needs.
//!
//! Guarantees: every command has a bound; events that come in between are kept (the last 64) and
//! can be waited for. Format: QEMU's docs/interop/qmp-spec.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(20);
const EVENT_LIMIT: usize = 64;
const LINE_LIMIT: usize = 4 * 1024 * 1024;

/// The monitor did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket broke: QEMU is gone.
    #[error("monitor connection")]
    Io(#[from] io::Error),
    /// QEMU closed the socket.
    #[error("monitor connection closed by QEMU")]
    Closed,
    /// Not JSON, or not an answer.
    #[error("monitor said something unexpected: {0}")]
    Unexpected(String),
    /// QEMU refused the command.
    #[error("monitor command {command}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's words.
        reason: String,
    },
    /// No answer, or no such event, in time.
    #[error("monitor: no {0} in time")]
    TimedOut(String),
}

/// A connection to one machine's monitor.
#[derive(Debug)]
pub struct Qmp {
    lines: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    events: VecDeque<Value>,
}

impl Qmp {
    /// Connects and leaves negotiation mode.
    pub async fn connect(path: &Path) -> Result<Self, QmpError> {
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        let mut qmp = Self { lines: BufReader::new(reader), writer, events: VecDeque::new() };
        let greeting = bounded("greeting", qmp.line()).await?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Unexpected(greeting.to_string()));
        }
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs one command and returns its answer.
    pub async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.writer.write_all(format!("{request}\n").as_bytes()).await?;
        bounded(command, self.answer(command)).await
    }

    /// Waits for an event that `wanted` accepts, among those kept and those to come.
    pub async fn event(
        &mut self,
        name: &str,
        bound: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, QmpError> {
        let matches =
            |event: &Value| event.get("event").is_some_and(|n| n == name) && wanted(event);
        if let Some(at) = self.events.iter().position(matches) {
            return self.events.remove(at).ok_or(QmpError::Closed);
        }
        let search = async {
            loop {
                let line = self.line().await?;
                if matches(&line) {
                    return Ok(line);
                }
                self.keep(line);
            }
        };
        timeout(bound, search).await.map_err(|_| QmpError::TimedOut(format!("event {name}")))?
    }

    async fn answer(&mut self, command: &str) -> Result<Value, QmpError> {
        loop {
            let mut line = self.line().await?;
            if let Some(answer) = line.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = line.get("error") {
                let reason = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
                let command = command.to_owned();
                return Err(QmpError::Refused { command, reason: reason.to_owned() });
            }
            self.keep(line);
        }
    }

    fn keep(&mut self, line: Value) {
        if line.get("event").is_some() {
            tracing::debug!(event = %line, "machine event");
            self.events.push_back(line);
        }
        while self.events.len() > EVENT_LIMIT {
            self.events.pop_front();
        }
    }

    async fn line(&mut self) -> Result<Value, QmpError> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).await?;
        if read == 0 || read > LINE_LIMIT {
            return Err(QmpError::Closed);
        }
        serde_json::from_str(&line).map_err(|_| QmpError::Unexpected(line))
    }
}

async fn bounded<T>(
    what: &str,
    work: impl Future<Output = Result<T, QmpError>>,
) -> Result<T, QmpError> {
    timeout(BOUND, work).await.map_err(|_| QmpError::TimedOut(format!("answer to {what}")))?
}
