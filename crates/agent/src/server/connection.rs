//! From an accepted connection to answered requests, within limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::Identities;

/// Handshakes at the same time; whoever has no certificate never gets further.
const HANDSHAKES: usize = 128;
/// Connections at the same time of clients that showed their certificate.
const CONNECTIONS: usize = 32;
/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest wait for a request's head, also between two requests.
const HEAD: Duration = Duration::from_secs(15);
/// Longest life of a connection; clients connect anew, and learn of a renewed certificate then.
const LIFE: Duration = Duration::from_mins(10);
/// Most header lines, and most bytes of them.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 32 * 1024;
/// Wait after accepting failed, which is for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// Lets clients in.
pub(super) struct Door {
    identities: Arc<Identities>,
    router: Router,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(identities: Arc<Identities>, router: Router) -> Self {
        Self {
            identities,
            router,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Accepts for ever. Dropping this closes the socket only: connections are tasks of their own and go on.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok(turn) = Arc::clone(&self.handshakes).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let door = Arc::clone(&self);
                    tokio::spawn(async move {
                        if let Err(error) = door.receive(stream, turn).await {
                            tracing::debug!(%peer, error = %error, "connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn receive(
        &self,
        stream: TcpStream,
        turn: OwnedSemaphorePermit,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let acceptor = TlsAcceptor::from(self.identities.current());
        let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
        drop(turn);
        let _slot = self.connections.try_acquire()?;
        timeout(LIFE, self.answer(stream)).await??;
        Ok(())
    }

    async fn answer(&self, stream: TlsStream<TcpStream>) -> hyper::Result<()> {
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router.clone()))
            .await
    }
}
