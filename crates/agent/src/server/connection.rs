//! From an accepted connection to answered requests, within limits.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use sluice_api::TIME_HEADER;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::Identities;
use super::peers::{Peers, Share};
use crate::clock::Clock;

/// Handshakes at the same time; whoever has no certificate never gets further.
const HANDSHAKES: usize = 128;
/// Connections at the same time of clients that showed their certificate.
const CONNECTIONS: usize = 32;
/// Longest wait for a request's head, also between two requests.
const HEAD: Duration = Duration::from_secs(15);
/// Age at which a connection takes no further request; clients connect anew, and learn of a renewed certificate then.
const LIFE: Duration = Duration::from_mins(10);
/// Time that a request under way at that age still has; none that is answered at all takes longer.
const GRACE: Duration = Duration::from_mins(5);
/// Most header lines, and most bytes of them.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 32 * 1024;
/// Wait after accepting failed, which is for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// The certificate chain that the client of a connection showed, its own first; an extension of each request.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Arc<[CertificateDer<'static>]>);

/// When the connection of a request was made; an extension of each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connected(pub(super) tokio::time::Instant);

/// Leave to be in a handshake: one of all, and one of those of the peer's address.
type Turn = (OwnedSemaphorePermit, Share);

/// Why a connection ended before its time; logged for engineers only.
type Ended = Box<dyn std::error::Error + Send + Sync>;

/// Lets clients in.
pub(super) struct Door {
    identities: Arc<Identities>,
    router: Router,
    handshakes: Arc<Semaphore>,
    peers: Arc<Peers>,
    connections: Arc<Semaphore>,
    clock: Arc<Clock>,
    /// Longest handshake.
    handshake: Duration,
}

impl Door {
    pub(super) fn new(
        identities: Arc<Identities>,
        router: Router,
        clock: Arc<Clock>,
        handshake: Duration,
    ) -> Self {
        Self {
            identities,
            router,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            peers: Arc::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            clock,
            handshake,
        }
    }

    /// Accepts for ever. Dropping this closes the socket only: connections are tasks of their own and go on.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok(turn) = Arc::clone(&self.handshakes).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => Arc::clone(&self).welcome(stream, peer, turn),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn welcome(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, turn: OwnedSemaphorePermit) {
        let Some(share) = Peers::enter(&self.peers, peer.ip()) else {
            tracing::debug!(%peer, "connection refused: too many handshakes");
            return;
        };
        tokio::spawn(async move {
            if let Err(error) = self.receive(stream, (turn, share)).await {
                tracing::debug!(%peer, error = %error, "connection ended");
            }
        });
    }

    async fn receive(&self, stream: TcpStream, turn: Turn) -> Result<(), Ended> {
        let acceptor = TlsAcceptor::from(self.identities.current());
        let stream = timeout(self.handshake, acceptor.accept(stream)).await??;
        drop(turn);
        let _slot = self.connections.try_acquire()?;
        self.answer(stream).await
    }

    async fn answer(&self, stream: TlsStream<TcpStream>) -> Result<(), Ended> {
        let connected = Connected(tokio::time::Instant::now());
        let caller = Caller(stream.get_ref().1.peer_certificates().unwrap_or_default().into());
        let router = TowerToHyperService::new(self.router.clone());
        let clock = Arc::clone(&self.clock);
        let service = service_fn(move |mut request: Request<Incoming>| {
            clock.heard(request.headers().get(TIME_HEADER).and_then(|said| said.to_str().ok()));
            request.extensions_mut().insert(caller.clone());
            request.extensions_mut().insert(connected);
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        within(connection, LIFE, GRACE).await
    }
}

/// Serves a connection for `life`; then the request under way, if any, has `grace` to be answered.
async fn within<I, S>(
    connection: http1::Connection<I, S>,
    life: Duration,
    grace: Duration,
) -> Result<(), Ended>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming, ResBody = axum::body::Body>,
    S::Error: Into<Ended>,
{
    let mut connection = pin!(connection);
    if let Ok(ended) = timeout(life, connection.as_mut()).await {
        return Ok(ended?);
    }
    connection.as_mut().graceful_shutdown();
    Ok(timeout(grace, connection).await??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::Notify;

    const NEVER: Duration = Duration::from_mins(1);
    /// A connection that is too old as soon as its first request, which waits for the returned bell, is under way.
    async fn under_way(grace: Duration) -> (DuplexStream, Arc<Notify>) {
        let (mut client, server) = duplex(4096);
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (bell, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (waits, begins) = (Arc::clone(&bell), Arc::clone(&begun));
        let slow = move || async move {
            begins.notify_one();
            waits.notified().await;
            "whole"
        };
        let service = TowerToHyperService::new(Router::new().route("/", get(slow)));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        tokio::spawn(within(connection, Duration::ZERO, grace));
        begun.notified().await;
        (client, bell)
    }

    async fn rest(mut client: DuplexStream) -> String {
        let mut text = String::new();
        timeout(NEVER, client.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_and_then_the_old_connection_ends() {
        let (client, bell) = under_way(NEVER).await;
        bell.notify_one();
        let text = rest(client).await;
        assert!(text.ends_with("whole"), "{text}");
    }

    #[tokio::test]
    async fn a_request_that_is_never_answered_does_not_keep_its_connection() {
        let (client, _bell) = under_way(Duration::from_millis(20)).await;
        assert_eq!(rest(client).await, "");
    }
}
