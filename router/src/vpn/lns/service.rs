//! `sluice-router service l2tp`: the server as a process of the agent's.
//!
//! Guarantees: a slice is in force when every address it names is listened at; sockets of addresses that stay are not
//! touched by a change; a data path that cannot be made ends the call or tunnel that it was for, and no other.
//! What the process may do (its user, `CAP_NET_ADMIN`, `/dev/ppp`, its system calls) is set by whoever starts it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use sluice_api::types::Generation;
use sluice_sys::marked_udp::MarkedUdp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::warn;

use super::path::{Input, Inputs, KernelPath, Paths, TunPath, WAITING, read_datagrams};
use super::server::{Action, Server, SessionReport};
use super::slice::LnsSlice;
use crate::vpn::Random;
use crate::vpn::l2tp::{PORT, Peer, SessionKey, Settings};

/// How often bytes of sessions are read for the report.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// Serves until the agent goes away.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Process::default)
}

/// Nothing is served before the first slice.
#[derive(Default)]
struct Process {
    running: Option<Running>,
    shown: Arc<Mutex<Shown>>,
}

struct Running {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A slice to put in force, and whom to tell.
struct Order(LnsSlice, oneshot::Sender<Result<(), String>>);

/// What is shown of the server.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    sessions: Vec<ShownSession>,
    #[serde(skip)]
    counters: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownSession {
    #[serde(flatten)]
    session: SessionReport,
    /// Bytes that came from the client, and that went to it, within the tunnel.
    bytes_in: u64,
    bytes_out: u64,
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl sluice_agent::service::Service for Process {
    type Slice = LnsSlice;

    async fn apply(&mut self, _: Generation, slice: LnsSlice) -> Result<(), String> {
        let running = match self.running.take().filter(|running| !running.task.is_finished()) {
            Some(running) => running,
            None => start(Arc::clone(&self.shown)).await.map_err(|error| error.to_string())?,
        };
        let (reply, answer) = oneshot::channel();
        let gone = |()| "the server ended".to_owned();
        running.orders.send(Order(slice, reply)).await.map_err(|_| gone(()))?;
        self.running = Some(running);
        answer.await.map_err(|_| gone(()))?
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        lock(&self.shown).counters.clone()
    }

    fn report(&self) -> Value {
        serde_json::to_value(&*lock(&self.shown)).unwrap_or_default()
    }
}

async fn start(shown: Arc<Mutex<Shown>>) -> io::Result<Running> {
    let (inputs, incoming) = mpsc::channel(WAITING);
    let paths: Box<dyn Paths> = match KernelPath::open(inputs.clone()).await {
        Ok(paths) => Box::new(paths),
        Err(error) => {
            warn!(%error, "the kernel has no L2TP: packets of clients pass through this process");
            Box::new(TunPath::open(inputs.clone())?)
        }
    };
    Ok(serve(paths, (inputs, incoming), shown))
}

fn serve(
    paths: Box<dyn Paths>,
    (inputs, incoming): (Inputs, mpsc::Receiver<Input>),
    shown: Arc<Mutex<Shown>>,
) -> Running {
    let (orders, ordered) = mpsc::channel(1);
    let server = Server::new(Settings::default(), Random::system(), Random::system());
    let works =
        Works { server, paths, listeners: BTreeMap::new(), inputs, began: Instant::now(), shown };
    Running { orders, task: tokio::spawn(works.run(incoming, ordered)) }
}

/// The server with its sockets and paths.
struct Works {
    server: Server,
    paths: Box<dyn Paths>,
    listeners: BTreeMap<Ipv4Addr, Listener>,
    inputs: Inputs,
    began: Instant,
    shown: Arc<Mutex<Shown>>,
}

/// A socket that tunnels begin at, and the task that reads it.
struct Listener {
    socket: Arc<MarkedUdp>,
    reader: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Works {
    async fn run(mut self, mut incoming: mpsc::Receiver<Input>, mut orders: mpsc::Receiver<Order>) {
        let mut report = tokio::time::interval(REPORT_EVERY);
        loop {
            let due = self.server.deadline().map(|at| self.began + at);
            let due = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.order(order).await,
                    None => return,
                },
                input = incoming.recv() => match input {
                    Some(input) => self.take(input).await,
                    None => return,
                },
                () = due => self.server.tick(self.now()),
                _ = report.tick() => self.show().await,
            }
            self.obey().await;
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn order(&mut self, Order(slice, reply): Order) {
        let outcome = self.listen(&slice);
        if outcome.is_ok() {
            self.server.replace(self.now(), slice);
            self.obey().await;
        }
        // whoever asked may have lost patience
        let _ =
            reply.send(outcome.map_err(|(at, error)| format!("cannot listen at {at}: {error}")));
    }

    /// Sockets of all addresses of `slice`, those that are open already left alone.
    fn listen(&mut self, slice: &LnsSlice) -> Result<(), (Ipv4Addr, io::Error)> {
        let wanted = |address: &Ipv4Addr| slice.accesses.iter().any(|a| a.address == *address);
        let mut fresh = BTreeMap::new();
        for access in &slice.accesses {
            if !self.listeners.contains_key(&access.address) {
                let listener =
                    self.open(access.address).map_err(|error| (access.address, error))?;
                fresh.insert(access.address, listener);
            }
        }
        self.listeners.retain(|address, _| wanted(address));
        self.listeners.append(&mut fresh);
        Ok(())
    }

    fn open(&self, address: Ipv4Addr) -> io::Result<Listener> {
        let at = SocketAddrV4::new(address, PORT);
        let socket = Arc::new(MarkedUdp::listen(at)?);
        let reader = tokio::spawn(read_datagrams(Arc::clone(&socket), self.inputs.clone()));
        Ok(Listener { socket, reader })
    }

    async fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Datagram(peer, bytes) => {
                if let Some((key, frame)) = self.server.datagram(now, peer, &bytes)
                    && self.paths.arrived(key, frame).await
                {
                    self.server.frame(now, key, frame);
                }
            }
            Input::Frame(key, frame) => self.server.frame(now, key, &frame),
        }
    }

    /// Does what the server wants, until it wants nothing more.
    async fn obey(&mut self) {
        loop {
            let actions = self.server.actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(action).await;
            }
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Send { peer, bytes } => self.send(peer, &bytes),
            Action::TunnelUp { tunnel, peer_tunnel, peer } => {
                if let Err(error) = self.paths.tunnel_up(tunnel, peer_tunnel, peer).await {
                    warn!(tunnel, %error, "no data path for a tunnel");
                    self.server.tunnel_failed(self.now(), tunnel, "no data path");
                }
            }
            Action::SessionUp { key, peer_session, sequenced } => {
                let made = self.paths.session_up(key, peer_session, sequenced).await;
                self.made(key, made);
            }
            Action::Frame { key, frame } => {
                if let Err(error) = self.paths.frame(key, &frame).await {
                    tracing::debug!(%key, %error, "ppp frame not sent; it will be repeated");
                }
            }
            Action::LinkUp { key, opened, told } => {
                let made = self.paths.link_up(key, &opened, told).await.map(drop);
                self.made(key, made);
            }
            Action::LinkDown { key } => self.paths.link_down(key),
            Action::SessionDown { key } => self.paths.session_down(key).await,
            Action::TunnelDown { tunnel } => self.paths.tunnel_down(tunnel).await,
        }
    }

    fn made(&mut self, key: SessionKey, made: io::Result<()>) {
        if let Err(error) = made {
            warn!(%key, %error, "no data path for a vpn session");
            self.server.failed(self.now(), key, "no data path");
        }
    }

    fn send(&self, peer: Peer, bytes: &[u8]) {
        let Some(listener) = self.listeners.get(&peer.local) else { return };
        if let Err(error) = listener.socket.send(peer.remote, peer.mark, bytes) {
            tracing::debug!(%peer, %error, "l2tp datagram not sent; it will be repeated");
        }
    }

    async fn show(&mut self) {
        let now = self.now();
        let mut sessions = Vec::new();
        let reports: Vec<_> = self.server.report(now).collect();
        for (key, session) in reports {
            let (bytes_in, bytes_out) = self.paths.traffic(key).await.unwrap_or_default();
            sessions.push(ShownSession { session, bytes_in, bytes_out });
        }
        let (counts, dropped) = (self.server.counts(), self.server.dropped());
        let up = sessions.iter().filter(|shown| shown.session.address.is_some()).count();
        let size = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let counters = [
            ("tunnels", size(self.server.tunnels())),
            ("sessions_up", size(up)),
            ("sessions_opened", counts.opened),
            ("sessions_failed", counts.failed),
            ("datagrams_malformed", dropped.malformed),
            ("datagrams_stray", dropped.stray),
            ("tunnels_refused", dropped.refused),
        ];
        let counters = counters.map(|(name, count)| (name.to_owned(), count)).into();
        *lock(&self.shown) = Shown { sessions, counters };
    }
}

#[cfg(test)]
mod tests;
