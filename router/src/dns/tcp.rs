//! Answering over TCP (RFC 7766): long answers, and clients that prefer it.
//!
//! Guarantees: connections are bounded in all, per network and per client, idle ones are closed, and so are those of strangers,
//! before a byte is read, and of those that send too much; a question that waits holds no room for its answer, and a
//! connection holds one answer at a time, however many its client does not read; questions on one connection are answered
//! as their answers come, not in their order.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::answer::{Request, Verdict, answer};
use super::counters::Tally;
use super::places::{Asker, Most, Places};
use super::reply::Transport;
use super::server::Shared;

/// Most connections.
const MOST: Most = Most { all: 256, of_client: 16 };
/// Most questions of one connection in flight; further ones wait in its buffer.
const MAX_PIPELINED: usize = 32;
/// Time without a question after which a connection is closed (RFC 7766 6.2.3 asks for seconds).
const IDLE: Duration = Duration::from_secs(10);
/// Time for a client to send or take one whole message.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer.
const MESSAGE: usize = u16::MAX as usize;
/// Bytes of the length before a message.
const PREFIX: usize = 2;
/// Largest question: a name has 255 bytes, and the rest is options. What is longer ends the connection.
const QUESTION: usize = 4096;

/// The connections there are.
#[derive(Default)]
pub(super) struct Connections(Mutex<Places>);

/// One of them; gives its place back when dropped.
struct Place {
    asker: Asker,
    shared: Arc<Shared>,
}

impl Connections {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn take(shared: &Arc<Shared>, local: IpAddr, client: IpAddr) -> Option<Self> {
        let snapshot = shared.snapshot.load();
        let Some(network) = snapshot.network(local).filter(|it| it.admits(local, client)) else {
            shared.counters.add(&Tally { strangers: 1, ..Tally::default() });
            return None;
        };
        let asker = Asker { network: network.share(), client };
        let room = shared.connections.places().enter(asker, MOST);
        room.then(|| Self { asker, shared: shared.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.connections.places().leave(self.asker);
    }
}

/// Accepts on `listener`, which is bound to `local`, for ever.
pub(super) async fn serve(listener: TcpListener, local: IpAddr, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                if let Some(place) = Place::take(&shared, local, from.ip()) {
                    connections.spawn(async move { connection(stream, local, place).await });
                }
            }
            Err(error) => {
                debug!(%local, %error, "accept failed");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, local: IpAddr, place: Place) {
    // small answers must not wait for acknowledgements
    let _unneeded = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    let client =
        Client { local, place, writer: tokio::sync::Mutex::new(writer), gone: Notify::new() };
    let client = Arc::new(client);
    let mut questions = JoinSet::new();
    while let Some(message) = client.next(&mut reader).await {
        while questions.len() >= MAX_PIPELINED {
            questions.join_next().await;
        }
        let client = client.clone();
        questions.spawn(async move { client.question(message).await });
        while questions.try_join_next().is_some() {}
    }
    // a client may close its half and still wait (RFC 7766 6.2.4)
    let _slow = timeout(PATIENCE, async { while questions.join_next().await.is_some() {} }).await;
}

/// The next message; `None` at the end or after too long a pause.
async fn read(reader: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let Ok(length) = timeout(IDLE, reader.read_u16()).await else { return Ok(None) };
    let length = usize::from(length?);
    if length > QUESTION {
        return Ok(None);
    }
    let mut message = vec![0; length];
    match timeout(PATIENCE, reader.read_exact(&mut message)).await {
        Ok(read) => read.map(|_| Some(message)),
        Err(_) => Ok(None),
    }
}

/// Room for an answer, behind the bytes of its length.
fn body(out: &mut [u8]) -> &mut [u8] {
    out.get_mut(PREFIX..).unwrap_or_default()
}

struct Client {
    local: IpAddr,
    place: Place,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    /// Told when an answer could not be sent.
    gone: Notify,
}

impl Client {
    /// The next question; `None` when there is none, or nobody takes the answers.
    async fn next(&self, reader: &mut OwnedReadHalf) -> Option<Vec<u8>> {
        tokio::select! {
            message = read(reader) => message.ok().flatten(),
            () = self.gone.notified() => None,
        }
    }

    /// Nothing is written down for the client before it is its turn, so that one that never reads holds one answer.
    async fn question(&self, message: Vec<u8>) {
        let mut writer = self.writer.lock().await;
        let mut out = vec![0; PREFIX + MESSAGE];
        let length = match self.answer(&message, body(&mut out)) {
            Verdict::Answered(length) => length,
            Verdict::Forward(key) => {
                // many may wait, for seconds: not in each other's way, and without the room for an answer
                drop((writer, out));
                let forwarder = &self.place.shared.forwarder;
                let stored = forwarder.resolve(key, self.place.asker).await;
                writer = self.writer.lock().await;
                out = vec![0; PREFIX + MESSAGE];
                stored.complete(&message, Transport::Tcp, body(&mut out))
            }
            Verdict::Drop => 0,
        };
        if length == 0 {
            return;
        }
        out.truncate(PREFIX + length);
        // what the client does not take for a while costs no more than it is long
        out.shrink_to_fit();
        let prefix = u16::try_from(length).unwrap_or(0).to_be_bytes();
        out.iter_mut().zip(prefix).for_each(|(byte, length)| *byte = length);
        self.send(&mut writer, &out).await;
    }

    fn answer(&self, message: &[u8], out: &mut [u8]) -> Verdict {
        let shared = &self.place.shared;
        let (local, client) = (self.local, self.place.asker.client);
        let (snapshot, now, transport) = (shared.snapshot.load(), shared.seconds(), Transport::Tcp);
        let Some(network) = snapshot.network(local) else { return Verdict::Drop };
        let request = Request { network, message, client, local, transport, now };
        let mut tally = Tally::default();
        if !shared.limiter.admits(client, shared.nanoseconds()) {
            shared.counters.add(&Tally { limited: 1, ..tally });
            return Verdict::Drop;
        }
        let verdict = answer(&snapshot, &shared.cache, &request, &mut tally, out);
        shared.counters.add(&tally);
        verdict
    }

    /// A client that does not take its answers loses the connection.
    async fn send(&self, writer: &mut OwnedWriteHalf, message: &[u8]) {
        let written = timeout(PATIENCE, writer.write_all(message)).await;
        if !matches!(written, Ok(Ok(()))) {
            let _gone = writer.shutdown().await;
            self.gone.notify_one();
        }
    }
}
