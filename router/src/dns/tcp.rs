//! Answering over TCP (RFC 7766): long answers, and clients that prefer it.
//!
//! Guarantees: connections are bounded in all and per client, idle ones are closed, and so are those of strangers,
//! before a byte is read, and of those that send too much; a question that waits holds no room for its answer; questions on one connection are answered as their answers come, not in their order.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
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
use super::reply::Transport;
use super::server::Shared;

/// Most connections.
const MAX_CONNECTIONS: usize = 256;
/// Most connections of one client, which leaves room for the other guests.
const MAX_PER_CLIENT: usize = 16;
/// Most questions of one connection in flight; further ones wait in its buffer.
const MAX_PIPELINED: usize = 32;
/// Time without a question after which a connection is closed (RFC 7766 6.2.3 asks for seconds).
const IDLE: Duration = Duration::from_secs(10);
/// Time for a client to send or take one whole message.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer.
const MESSAGE: usize = u16::MAX as usize;
/// Largest question: a name has 255 bytes, and the rest is options. What is longer ends the connection.
const QUESTION: usize = 4096;

/// The connections there are.
#[derive(Default)]
pub(super) struct Connections(Mutex<HashMap<IpAddr, usize>>);

/// One of them; gives its place back when dropped.
struct Place {
    client: IpAddr,
    shared: Arc<Shared>,
}

impl Connections {
    fn change<T>(&self, change: impl FnOnce(&mut HashMap<IpAddr, usize>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, client: IpAddr) -> bool {
        self.change(|clients| {
            let all: usize = clients.values().sum();
            let own = clients.get(&client).copied().unwrap_or(0);
            let room = all < MAX_CONNECTIONS && own < MAX_PER_CLIENT;
            if room {
                clients.insert(client, own + 1);
            }
            room
        })
    }

    fn leave(&self, client: IpAddr) {
        self.change(|clients| match clients.get_mut(&client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(clients.remove(&client)),
        });
    }
}

impl Place {
    fn take(shared: &Arc<Shared>, local: IpAddr, client: IpAddr) -> Option<Self> {
        let snapshot = shared.snapshot.load();
        let admitted = snapshot.network(local).is_some_and(|it| it.admits(local, client));
        if !admitted {
            shared.counters.add(&Tally { strangers: 1, ..Tally::default() });
            return None;
        }
        let room = shared.connections.enter(client);
        room.then(|| Self { client, shared: shared.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.connections.leave(self.client);
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

/// Room for an answer, behind the two bytes of its length.
fn body(out: &mut Option<Vec<u8>>) -> &mut [u8] {
    out.get_or_insert_with(|| vec![0; 2 + MESSAGE]).get_mut(2..).unwrap_or_default()
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

    async fn question(&self, message: Vec<u8>) {
        let mut out = None;
        let verdict = self.answer(&message, body(&mut out));
        let length = match verdict {
            Verdict::Answered(length) => length,
            Verdict::Forward(key) => {
                // many may wait, for seconds: without the room for an answer
                out = None;
                let forwarder = &self.place.shared.forwarder;
                let stored = forwarder.resolve(key, self.place.client).await;
                stored.complete(&message, Transport::Tcp, body(&mut out))
            }
            Verdict::Drop => 0,
        };
        let Some(mut out) = out.filter(|_| length > 0) else { return };
        out.truncate(2 + length);
        let prefix = u16::try_from(length).unwrap_or(0).to_be_bytes();
        out.iter_mut().zip(prefix).for_each(|(byte, length)| *byte = length);
        self.send(&out).await;
    }

    fn answer(&self, message: &[u8], out: &mut [u8]) -> Verdict {
        let shared = &self.place.shared;
        let (local, client) = (self.local, self.place.client);
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
    async fn send(&self, message: &[u8]) {
        let mut writer = self.writer.lock().await;
        let written = timeout(PATIENCE, writer.write_all(message)).await;
        if !matches!(written, Ok(Ok(()))) {
            let _gone = writer.shutdown().await;
            self.gone.notify_one();
        }
    }
}
