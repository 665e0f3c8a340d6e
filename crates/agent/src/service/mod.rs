//! The service's side: a process without privilege that takes slices of the configuration from the agent.
//!
//! Guarantees: slices are applied one after the other in the order sent; each is answered by "in force" or by a refusal
//! with its reason, after which the former slice is still in force. An agent that goes away, in the middle of a word or
//! not, changes nothing: the process serves on and waits for the next one, whom it tells what is in force.
//! The way to it is a Unix socket on standard input, so that no unsafe code is needed to find it. Mostly it listens; when
//! it is one connection, as on a desk, the process ends with that.

mod asks;
mod held;
mod journal;
pub(crate) mod keeper;
mod lines;
pub mod protocol;
mod spec;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_api::types::Generation;
use sluice_sys::process::take_handed;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use asks::Asks;
use held::Held;
use lines::Lines;
use protocol::{Answered, Configure, FromService, MAX_LINE};

pub use asks::Asking;
pub use journal::Journal;
pub use keeper::kept;
pub use spec::{OpenedSocket, PATIENCE, Program, Readiness, ServiceSpec, state_folder};

/// How often counters and report go to the agent.
const COUNTERS_EVERY: Duration = Duration::from_secs(2);
/// Wait after a connection that could not be accepted.
const BREATH: Duration = Duration::from_secs(1);

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

    /// Copies of the sockets that it listens on, for the agent to keep over a crash; asked for after each slice of a
    /// service with [`ServiceSpec::hands_over`]. Default: none.
    fn listening(&self) -> Vec<OwnedFd> {
        Vec::new()
    }

    /// Questions that only the manager can answer, as they come up; taken once, at the start. Default: none.
    fn questions(&mut self) -> Option<mpsc::Receiver<Asking>> {
        None
    }

    /// Comes true when it has nothing to do any more, such as after its last connection when another process has taken
    /// over; the process ends then. Default: never.
    fn ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// The log of a service goes to the agent, which adds the time. Lines are lost while there is no agent and the pipe is full,
/// which is no reason to end.
pub fn log() {
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).without_time();
    // it would panic over a line that cannot be written
    log.log_internal_errors(false).init();
}

/// Runs `service` for one agent after the other, until it has [`Service::ended`]; over a channel that is connected already,
/// until that is closed at the latest. Call it from a binary's `service NAME` command.
///
/// Errors: standard input is not a socket, or no runtime can be made.
pub fn run<S: Service>(make: impl FnOnce() -> S) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let control = socket2::Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
        control.set_nonblocking(true)?;
        let service = make();
        let ended = service.ended();
        let served = async {
            if control.is_listener()? {
                let keeper = take_handed(keeper::KEEPER).pop();
                outlive(UnixListener::from_std(control.into())?, asked_at(keeper)?, service).await
            } else {
                serve(UnixStream::from_std(control.into())?, service).await
            }
        };
        tokio::select! {
            served = served => served,
            () = ended => Ok(()),
        }
    })
}

/// Where the agent asks for the sockets that it keeps.
fn asked_at(keeper: Option<OwnedFd>) -> io::Result<Option<UnixListener>> {
    let Some(socket) = keeper.map(socket2::Socket::from) else { return Ok(None) };
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into()).map(Some)
}

/// Serves one agent after the other; at `keeper` they ask for what it listens on.
///
/// Errors: nobody can be accepted any more.
pub async fn outlive<S: Service>(
    agents: UnixListener,
    keeper: Option<UnixListener>,
    mut service: S,
) -> io::Result<()> {
    let mut held = Held::default();
    let mut asks = Asks::of(service.questions());
    loop {
        // one after the other: the former is dead when the next one comes, and its last word may still be at work
        let (control, _) = agents.accept().await?;
        let (reader, mut writer) = control.into_split();
        // one that died since may have said something before
        let _ = send(&mut writer, &held.said()).await;
        match talk(reader, writer, keeper.as_ref(), &mut service, &mut held, &mut asks).await {
            Ok(()) => tracing::warn!("the agent is gone; serving on"),
            Err(error) => tracing::warn!(%error, "the agent is gone; serving on"),
        }
        asks.forget();
    }
}

/// Takes slices from `control` and tells what became of them, until it is closed.
pub async fn serve<S: Service>(control: UnixStream, mut service: S) -> io::Result<()> {
    let (reader, writer) = control.into_split();
    let mut asks = Asks::of(service.questions());
    talk(reader, writer, None, &mut service, &mut Held::default(), &mut asks).await
}

async fn talk<S: Service>(
    reader: impl AsyncRead + Unpin,
    mut writer: OwnedWriteHalf,
    keeper: Option<&UnixListener>,
    service: &mut S,
    held: &mut Held,
    asks: &mut Asks,
) -> io::Result<()> {
    let mut tick = tokio::time::interval(COUNTERS_EVERY);
    let mut lines = Lines::new(reader);
    loop {
        tokio::select! {
            line = lines.next() => {
                let Some(line) = line? else { return Ok(()) };
                if let Ok(answered) = serde_json::from_slice::<Answered>(&line) {
                    asks.answered(answered);
                    continue;
                }
                answer(&line, service, held, &mut writer).await?;
            }
            _ = tick.tick() => {
                // whether there is an agent is seen by reading, after its last word
                let _ = writer.write_all(&said(service)?).await;
            }
            question = asks.next() => {
                let _ = send(&mut writer, &question).await;
            }
            asked = next(keeper) => {
                let given = asked.and_then(|agent| keeper::give(agent, &service.listening()));
                if let Err(error) = given {
                    tracing::warn!(%error, "what is listened on would be lost in a crash");
                }
            }
        }
    }
}

/// The next connection there; never one without `keeper`.
async fn next(keeper: Option<&UnixListener>) -> io::Result<std::os::unix::net::UnixStream> {
    let Some(keeper) = keeper else { return std::future::pending().await };
    match keeper.accept().await {
        Ok((agent, _)) => agent.into_std(),
        Err(error) => {
            // such as no descriptor being left, which only time mends
            tokio::time::sleep(BREATH).await;
            Err(error)
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
    line: &[u8],
    service: &mut S,
    held: &mut Held,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let Configure { generation, slice } = serde_json::from_slice(line)?;
    let outcome = match slice.map(|slice| serde_json::from_str(slice.get())) {
        Some(Ok(parsed)) => service.apply(generation, parsed).await,
        Some(Err(error)) => Err(format!("the slice cannot be read: {error}")),
        None => Ok(()),
    };
    let answer = match outcome {
        Ok(()) => {
            held.note(generation, slice);
            FromService::InForce { generation }
        }
        Err(reason) => FromService::Refused { generation, reason },
    };
    // an agent that is gone may have sent more before that; that nobody is there is seen by reading
    let _ = send(writer, &answer).await;
    Ok(())
}

async fn send(writer: &mut OwnedWriteHalf, message: &FromService) -> io::Result<()> {
    writer.write_all(&protocol::line(message)?).await
}
