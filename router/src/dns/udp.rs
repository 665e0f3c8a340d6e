//! Answering datagrams, a batch per system call.
//!
//! Guarantees: what the core can answer leaves in the batch it came in; what must be forwarded is completed apart and
//! holds nothing up. One thread runs several of these, for its part of each address's queries.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use sluice_sys::udp_batch::{ReceiveBatch, SendBatch};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

use super::answer::{Request, Verdict, answer};
use super::cache::Key;
use super::counters::Tally;
use super::places::Asker;
use super::reply::{Transport, UDP_PAYLOAD};
use super::server::Shared;

/// Datagrams per system call: enough to make its cost vanish, few enough to stay in the processor's cache.
const BATCH: usize = 64;
/// Largest query read. No client needs more; a longer one is malformed.
const QUERY_BYTES: usize = 1536;

/// Buffers of one thread, used by whichever of its sockets has something to do.
pub(super) struct Batches {
    inbox: ReceiveBatch,
    outbox: SendBatch,
    forwards: Vec<Forward>,
}

struct Forward {
    key: Key,
    network: IpAddr,
    client: SocketAddr,
    message: Vec<u8>,
}

impl Batches {
    /// Buffers for a thread.
    pub(super) fn new() -> Self {
        let inbox = ReceiveBatch::new(BATCH, QUERY_BYTES);
        let outbox = SendBatch::new(BATCH, usize::from(UDP_PAYLOAD));
        Self { inbox, outbox, forwards: Vec::new() }
    }

    /// Answers what is in the inbox.
    fn answer(&mut self, shared: &Shared, local: IpAddr) {
        let Self { inbox, outbox, forwards } = self;
        let mut tally = Tally::default();
        let snapshot = shared.snapshot.load();
        let Some(network) = snapshot.network(local) else { return };
        let (now, nanos) = (shared.seconds(), shared.nanoseconds());
        for (message, from) in inbox.iter() {
            let client = from.ip();
            if !shared.limiter.admits(client, nanos) {
                tally.limited += 1;
                continue;
            }
            let transport = Transport::Udp;
            let request = Request { network, message, client, local, transport, now };
            outbox.push(from, |out| {
                match answer(&snapshot, &shared.cache, &request, &mut tally, out) {
                    Verdict::Answered(length) => length,
                    Verdict::Forward(key) => {
                        let (network, message) = (network.share(), message.to_vec());
                        forwards.push(Forward { key, network, client: from, message });
                        0
                    }
                    Verdict::Drop => 0,
                }
            });
        }
        shared.counters.add(&tally);
    }
}

/// Answers on `socket`, which is bound to `local`, for ever. Must run in a `LocalSet`.
pub(super) async fn serve(
    socket: Rc<UdpSocket>,
    local: IpAddr,
    shared: Arc<Shared>,
    batches: Rc<RefCell<Batches>>,
) {
    loop {
        if let Err(error) = socket.readable().await {
            debug!(%local, %error, "socket not usable");
            return;
        }
        let full = one_batch(&socket, local, &shared, &mut batches.borrow_mut());
        if full {
            // forwarded answers of this thread wait for their turn
            tokio::task::yield_now().await;
        }
    }
}

/// Answers one batch; whether it was a full one.
fn one_batch(
    socket: &Rc<UdpSocket>,
    local: IpAddr,
    shared: &Arc<Shared>,
    batches: &mut Batches,
) -> bool {
    let count = receive(socket, &mut batches.inbox);
    if count == 0 {
        return false;
    }
    batches.answer(shared, local);
    send(socket, shared, &mut batches.outbox);
    for forward in batches.forwards.drain(..) {
        tokio::task::spawn_local(complete(forward, socket.clone(), shared.clone()));
    }
    count == BATCH
}

/// Fills the inbox. A batch that is not full has emptied the socket, which saves the call that would find that out; what
/// comes after it makes the socket readable anew.
fn receive(socket: &UdpSocket, inbox: &mut ReceiveBatch) -> usize {
    let mut count = 0;
    // an error of a queued ICMP message is no reason to stop, and reading it took it off the socket
    let _emptied = socket.try_io(Interest::READABLE, || {
        count = inbox.receive(socket.as_fd())?;
        if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    count
}

/// Sends the outbox; what the socket does not take is lost, as on any full link.
fn send(socket: &UdpSocket, shared: &Shared, outbox: &mut SendBatch) {
    let mut done = 0;
    while done < outbox.len() {
        match outbox.send(socket.as_fd(), done) {
            Ok(sent) => done += sent.max(1),
            Err(error) => {
                shared.counters.add(&Tally { unsent: 1, ..Tally::default() });
                if error.kind() == io::ErrorKind::WouldBlock {
                    break;
                }
                // it concerns this client alone
                done += 1;
            }
        }
    }
    outbox.clear();
}

async fn complete(forward: Forward, socket: Rc<UdpSocket>, shared: Arc<Shared>) {
    let Forward { key, network, client, message } = forward;
    let stored = shared.forwarder.resolve(key, Asker { network, client: client.ip() }).await;
    let mut out = vec![0; usize::from(UDP_PAYLOAD)];
    let length = stored.complete(&message, Transport::Udp, &mut out);
    let answer = out.get(..length).unwrap_or_default();
    if !answer.is_empty() && socket.send_to(answer, client).await.is_err() {
        shared.counters.add(&Tally { unsent: 1, ..Tally::default() });
    }
}
