//! The service's side: a process without privilege that takes slices of the configuration from the agent.
//!
//! Guarantees: slices are applied one after the other in the order sent; each is answered by "in force" or by a refusal
//! with its reason, after which the former slice is still in force. The process ends when the agent goes away.
//! The control channel is a Unix socket on standard input, so that no unsafe code is needed to find it.

pub mod protocol;
mod spec;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_api::types::Generation;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;

use protocol::{Configure, FromService, MAX_LINE};

pub use spec::{Program, Readiness, ServiceSpec, state_folder};

/// Bytes taken from the agent at once; slices of thousands of guests are a megabyte.
const READ_AT_ONCE: usize = 1 << 16;
/// How often counters and report go to the agent.
const COUNTERS_EVERY: Duration = Duration::from_secs(2);

/// A service: takes slices, serves in tasks of its own.
pub trait Service {
    /// Its part of a configuration.
    type Slice: DeserializeOwned;

    /// Brings `slice` into force; when this returns, every answer is made from it. An error leaves the former in force.
    /// Not called for a configuration that leaves the slice as it is.
    fn apply(
        &mut self,
        generation: Generation,
        slice: Self::Slice,
    ) -> impl Future<Output = Result<(), String>>;

    /// What it counted since it started.
    fn counters(&self) -> BTreeMap<String, u64>;

    /// How things are: its members, sessions, jobs, shown in `GET /v1/status`. Secrets do not belong in it. Asked for
    /// every two seconds; with the counters at most 256 KiB as JSON. Default: nothing.
    fn report(&self) -> Value {
        Value::Null
    }
}

/// Runs `service` until the agent closes the channel. Call it from a binary's `service NAME` command.
///
/// Errors: standard input is not a socket, or no runtime can be made.
pub fn run<S: Service>(make: impl FnOnce() -> S) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let control = io::stdin().as_fd().try_clone_to_owned()?;
        let control = std::os::unix::net::UnixStream::from(control);
        control.set_nonblocking(true)?;
        serve(UnixStream::from_std(control)?, make()).await
    })
}

/// Takes slices from `control` and tells what became of them.
pub async fn serve<S: Service>(control: UnixStream, mut service: S) -> io::Result<()> {
    let (reader, mut writer) = control.into_split();
    let mut lines = BufReader::with_capacity(READ_AT_ONCE, reader).lines();
    let mut tick = tokio::time::interval(COUNTERS_EVERY);
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) => answer(&line, &mut service, &mut writer).await?,
                None => return Ok(()),
            },
            _ = tick.tick() => {
                writer.write_all(&said(&service)?).await?;
            }
        }
    }
}

/// Counters and report as a line, without the report when it is too long.
fn said<S: Service>(service: &S) -> io::Result<Vec<u8>> {
    let message = |report| FromService::Counters { counters: service.counters(), report };
    let line = protocol::line(&message(service.report()))?;
    if line.len() < MAX_LINE {
        return Ok(line);
    }
    tracing::warn!(bytes = line.len(), most = MAX_LINE, "report left out, it is too long");
    protocol::line(&message(serde_json::json!({ "left-out": line.len() })))
}

async fn answer<S: Service>(
    line: &str,
    service: &mut S,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let Configure { generation, slice } = serde_json::from_str(line)?;
    let outcome = match slice.map(|slice| serde_json::from_str(slice.get())) {
        Some(Ok(slice)) => service.apply(generation, slice).await,
        Some(Err(error)) => Err(format!("the slice cannot be read: {error}")),
        None => Ok(()),
    };
    let answer = match outcome {
        Ok(()) => FromService::InForce { generation },
        Err(reason) => FromService::Refused { generation, reason },
    };
    send(writer, &answer).await
}

async fn send(writer: &mut OwnedWriteHalf, message: &FromService) -> io::Result<()> {
    writer.write_all(&protocol::line(message)?).await
}
