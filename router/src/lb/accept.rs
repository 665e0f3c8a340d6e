//! Listening sockets, and what becomes of each connection that comes in.
//!
//! Guarantees: a socket lives as long as any rule has its address and port, whatever else changes, so no change refuses a
//! connection; a rule at its limit leaves connections in the kernel's queue and harms no other rule; what was accepted is
//! served by the process that has it, also after another one accepts in its place; an address that the router does not
//! have yet can be listened on (IP_FREEBIND).

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sluice_api::config::balancer::Mode;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use super::client_io::ClientIo;
use super::connect::Ends;
use super::counters::add;
use super::http;
use super::live::{Policy, Rule};
use super::session::{Phase, Session, Sessions, Waiting};
use super::tcp;
use super::tls::ServerTls;

/// Connections that may wait to be accepted; the kernel's own bound is `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Quiet time after which the kernel asks whether a client is still there, so that those that vanished do not stay for
/// the whole idle time.
const PROBE_AFTER: Duration = Duration::from_mins(10);
/// Wait after an error such as running out of descriptors, which only ends of connections mend.
const BREATH: Duration = Duration::from_millis(50);

/// An address and port that are listened on, and the rule that has them.
pub(super) struct Listening {
    socket: Socket,
    rule: ArcSwap<Rule>,
}

impl Listening {
    /// Opens the socket; connections queue from now on.
    ///
    /// Errors: the port is taken, or below 1024 without CAP_NET_BIND_SERVICE.
    pub(super) fn open(address: SocketAddr, rule: Arc<Rule>) -> io::Result<Self> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        match address.ip() {
            IpAddr::V4(_) => socket.set_freebind_v4(true)?,
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_freebind_v6(true)?;
            }
        }
        // what is accepted inherits both
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self { socket, rule: ArcSwap::new(rule) })
    }

    /// Goes on with a socket of another process of the service.
    pub(super) fn adopt(socket: OwnedFd, rule: Arc<Rule>) -> Self {
        Self { socket: socket.into(), rule: ArcSwap::new(rule) }
    }

    /// The socket, for another process.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Nobody is accepted here any more, by whatever process has a copy: the agent keeps one.
    pub(super) fn shut(&self) {
        if let Err(error) = self.socket.shutdown(Shutdown::Both) {
            warn!(%error, "a port that no rule has any more may still accept");
        }
    }

    /// What comes from now on is `rule`'s.
    pub(super) fn give_to(&self, rule: Arc<Rule>) {
        let former = self.rule.swap(rule);
        // who waits for room at the former one looks again
        former.room.notify_waiters();
    }

    /// Accepts connections for ever, on the thread it runs on.
    pub(super) async fn accept(self: Arc<Self>, sessions: Arc<Sessions>) {
        let listener = match self.socket.try_clone().and_then(|it| TcpListener::from_std(it.into()))
        {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "cannot accept"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    let arrival = Arrival { stream, client, sessions: Arc::clone(&sessions) };
                    self.begin(arrival).await;
                }
                Err(error) if is_of_one_connection(&error) => debug!(%error, "connection lost"),
                Err(error) => {
                    warn!(%error, "cannot accept now");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    /// Begins to serve `arrival` when its rule has room; until then no further one is accepted on this thread.
    async fn begin(self: &Arc<Self>, arrival: Arrival) {
        let Err((arrival, rule)) = self.admit(arrival) else { return };
        // in a task of its own: who accepts is stopped when another process takes over, and who came in is not left out
        let waiting = Waiting::new(&arrival.sessions);
        let wait = Arc::clone(self).admit_late(arrival, rule, waiting);
        if let Err(error) = tokio::spawn(wait).await {
            warn!(%error, "a connection that waited for room is lost");
        }
    }

    /// Serves `arrival` once there is room for it at `rule`, or whatever rule has the socket by then.
    async fn admit_late(
        self: Arc<Self>,
        mut arrival: Arrival,
        mut rule: Arc<Rule>,
        _waiting: Waiting,
    ) {
        loop {
            self.room_at(&rule).await;
            match self.admit(arrival) {
                Ok(()) => return,
                Err(again) => (arrival, rule) = again,
            }
        }
    }

    /// Ends when `rule` may have room again, or another limit, or is not the one to ask any more.
    async fn room_at(&self, rule: &Arc<Rule>) {
        let change = rule.room.notified();
        tokio::pin!(change);
        change.as_mut().enable();
        // it may have come between the question and the wait
        if Arc::ptr_eq(&self.rule.load(), rule) && is_full(rule) {
            change.await;
        }
    }

    /// Serves `arrival`, or sends it away; gives it back when its rule is full.
    fn admit(&self, arrival: Arrival) -> Result<(), (Arrival, Arc<Rule>)> {
        let rule = self.rule.load_full();
        let policy = rule.policy();
        if !policy.admits(arrival.client.ip()) {
            add(&rule.counters.denied, 1);
            tcp::reset(&arrival.stream);
            return Ok(());
        }
        if rule.counters.current.enter_below(policy.spec.max_connections.get()) {
            arrival.serve(rule, &policy);
        } else if rule.removed().is_some() {
            // nobody waits for a rule that is gone
            tcp::reset(&arrival.stream);
        } else {
            return Err((arrival, rule));
        }
        Ok(())
    }
}

/// A connection that was just accepted.
struct Arrival {
    stream: TcpStream,
    client: SocketAddr,
    /// The connections of the thread.
    sessions: Arc<Sessions>,
}

impl Arrival {
    /// Begins to serve it, for which room was taken at `rule`.
    fn serve(self, rule: Arc<Rule>, policy: &Policy) {
        let session = Arc::new(Session::new(rule, policy.spec.mode, Phase::Opening));
        self.sessions.add(&session);
        let server = SocketAddr::new(policy.spec.address, policy.spec.port.get());
        let ends = Ends { client: self.client, server };
        let tls = policy.tls.clone();
        let stream = self.stream;
        tokio::spawn(async move {
            if let Some(io) = decrypted(stream, tls, &session).await {
                serve(io, ends, session).await;
            }
        });
    }
}

/// Whether one more has to wait at `rule`; nobody waits for one that is gone.
fn is_full(rule: &Rule) -> bool {
    let limit = rule.peek().spec.max_connections.get();
    rule.removed().is_none() && rule.counters.current.now() >= limit
}

/// An error of accept(2) that says nothing of the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn decrypted(
    stream: TcpStream,
    tls: Option<ServerTls>,
    session: &Session,
) -> Option<ClientIo> {
    let Some(tls) = tls else { return Some(ClientIo::Plain(stream)) };
    let handshake = tokio::select! {
        // in a place of its own, which connections without TLS do not need
        handshake = Box::pin(tls.acceptor.accept(stream)) => handshake,
        _ = session.ended() => return None,
    };
    match handshake {
        Ok(stream) => Some(ClientIo::Tls(Box::new(stream))),
        Err(error) => {
            debug!(%error, rule = %session.rule.id, "tls handshake failed");
            add(&session.rule.counters.request_errors, 1);
            None
        }
    }
}

async fn serve(io: ClientIo, ends: Ends, session: Arc<Session>) {
    match session.mode() {
        // each in its own place, so that a connection takes no more memory than its kind needs
        Mode::Http => Box::pin(http::serve(io, ends, session)).await,
        Mode::Tcp | Mode::Udp => Box::pin(tcp::serve(io, ends, &session)).await,
    }
}
