//! Sockets, and connections within limits.
//!
//! Guarantees: a slice's sockets are open before it is in force, and those of the former are closed after it; whoever
//! opens a connection and says nothing is gone within seconds; a new certificate counts for the next connection and
//! ends none.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{Peer, Shared, answer, redirect};

/// Connections at the same time; sessions, which have a bound of their own, are not among them.
const CONNECTIONS: usize = 4096;
const BACKLOG: i32 = 256;
/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest wait for a request's head, also between two requests.
const HEAD: Duration = Duration::from_secs(15);
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 32 * 1024;
/// A browser that acknowledges nothing for so long is gone, whatever waits for it.
const PEER_SILENT: Duration = Duration::from_secs(30);
/// Most bytes that the kernel keeps for a browser that is slow: what it shows must not be seconds old.
const SEND_BUFFER: usize = 256 * 1024;
/// Wait after accepting failed, which is for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// What is behind a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The console.
    Console,
    /// The way to it.
    Redirect,
}

/// Where browsers come in.
pub(crate) struct Door {
    shared: Arc<Shared>,
    tls: ArcSwapOption<ServerConfig>,
    places: Arc<Semaphore>,
}

/// A socket that is open; closed when dropped.
pub(crate) struct Open {
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Door {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        Arc::new(Self { shared, tls: ArcSwapOption::empty(), places })
    }

    /// Serves TLS by `config` from the next connection on; none: plain HTTP.
    pub(crate) fn secure(&self, config: Option<Arc<ServerConfig>>) {
        self.tls.store(config);
    }

    /// Opens what of `wanted` is not open.
    ///
    /// Errors: the first socket that cannot be opened; those already opened stay in the answer of nobody and are closed.
    pub(crate) fn open(
        self: &Arc<Self>,
        wanted: impl Iterator<Item = (SocketAddr, Kind)>,
        open: &BTreeMap<(SocketAddr, Kind), Open>,
    ) -> Result<BTreeMap<(SocketAddr, Kind), Open>, String> {
        let mut new = BTreeMap::new();
        for (address, kind) in wanted.filter(|key| !open.contains_key(key)) {
            let listener =
                bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
            let task = tokio::spawn(Arc::clone(self).accept(listener, kind)).abort_handle();
            new.insert((address, kind), Open { task });
        }
        Ok(new)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, kind: Kind) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, address)) => {
                    tokio::spawn(Arc::clone(&self).receive(stream, address, kind, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn receive(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        kind: Kind,
        _place: OwnedSemaphorePermit,
    ) {
        let config = self.tls.load_full().filter(|_| kind == Kind::Console);
        let Some(config) = config else {
            return self.serve(stream, Peer { address, tls: false }, kind).await;
        };
        match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, Peer { address, tls: true }, kind).await,
            Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS with a browser"),
            Err(_) => tracing::debug!(%address, "a browser was too slow with TLS"),
        }
    }

    async fn serve<S>(&self, stream: S, peer: Peer, kind: Kind)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let service = service_fn(move |request: Request<Incoming>| {
            let shared = Arc::clone(&shared);
            async move {
                Ok::<_, std::convert::Infallible>(match kind {
                    Kind::Console => answer(shared, peer, request).await,
                    Kind::Redirect => redirect::answer(&shared, &request),
                })
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(address = %peer.address, %error, "connection ended");
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // an address that comes with this configuration may not be there yet
    if address.is_ipv6() {
        // so that both families can have the same port
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    // accepted sockets inherit these
    socket.set_tcp_user_timeout(Some(PEER_SILENT))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
