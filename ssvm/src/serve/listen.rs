//! Sockets, TLS and connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sluice_api::types::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::grants::Grants;
use super::peers::Peers;
use super::{Desk, router};
use crate::jobs::Engine;
use crate::slice::{Listen, StorageSlice};

/// Longest TLS handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest wait for a request's head, also between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// Most header lines, and most bytes of them.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 32 << 10;
/// Wait after accepting failed, which is for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// The current way to speak TLS; none: plain.
type Acceptor = Arc<RwLock<Option<TlsAcceptor>>>;

/// Serves uploads and downloads.
pub struct Server {
    desk: Desk,
    open: Mutex<BTreeMap<SocketAddr, Door>>,
    peers: Peers,
}

struct Door {
    local: SocketAddr,
    acceptor: Acceptor,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// A server that listens nowhere yet and answers from `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        let desk = Desk { engine, grants: Arc::new(Grants::default()) };
        Self { desk, open: Mutex::default(), peers: Peers::default() }
    }

    /// Brings grants and listeners of `slice` into force: when this returns, its sockets are open. An error leaves what was.
    pub async fn apply(&self, slice: &StorageSlice) -> Result<(), String> {
        let mut wanted = Vec::new();
        for listen in &slice.listen {
            wanted.push((listen.address, acceptor(listen)?));
        }
        let mut fresh = BTreeMap::new();
        for (address, acceptor) in &wanted {
            if !self.is_open(*address) {
                let bound = TcpListener::bind(address).await;
                let listener =
                    bound.map_err(|error| format!("cannot listen on {address}: {error}"))?;
                fresh.insert(*address, (listener, acceptor.clone()));
            }
        }
        self.peers.apply(slice, &self.desk.engine).await?;
        self.desk.grants.set(&slice.grants);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|address, _| wanted.iter().any(|(other, _)| other == address));
        for (address, acceptor) in wanted {
            if let Some(door) = open.get(&address) {
                *door.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
            }
        }
        for (address, (listener, acceptor)) in fresh {
            let connections = slice.limits.connections;
            let door = self.door(listener, acceptor, connections).map_err(|e| e.to_string())?;
            tracing::info!(address = %door.local, "storage listens");
            open.insert(address, door);
        }
        Ok(())
    }

    /// Where it listens: the address of the configuration and the one that the kernel gave.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().map(|door| door.local).collect()
    }

    fn is_open(&self, address: SocketAddr) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&address)
    }

    fn door(
        &self,
        listener: TcpListener,
        acceptor: Option<TlsAcceptor>,
        connections: u16,
    ) -> std::io::Result<Door> {
        let local = listener.local_addr()?;
        let acceptor: Acceptor = Arc::new(RwLock::new(acceptor));
        let slots = Arc::new(Semaphore::new(usize::from(connections.max(1))));
        let (router, current) = (router(self.desk.clone()), Arc::clone(&acceptor));
        let serves = move |stream| {
            let acceptor = current.read().unwrap_or_else(PoisonError::into_inner).clone();
            serve(stream, acceptor, router.clone())
        };
        let task = tokio::spawn(accept(listener, slots, serves));
        Ok(Door { local, acceptor, task })
    }
}

fn acceptor(listen: &Listen) -> Result<Option<TlsAcceptor>, String> {
    listen.tls.as_ref().map(configured).transpose()
}

fn configured(tls: &Secret) -> Result<TlsAcceptor, String> {
    let pem = tls.reveal().as_bytes();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| "the certificate is no PEM")?;
    // what the parser says could quote the key
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "the certificate's key is no PEM")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key: {error}"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Has every connection served, as many at a time as there are `slots`.
pub(super) async fn accept<F>(
    listener: TcpListener,
    slots: Arc<Semaphore>,
    serve: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = Result<(), Ended>> + Send + 'static,
{
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let served = serve(stream);
                tokio::spawn(async move {
                    if let Err(error) = served.await {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

pub(super) type Ended = Box<dyn std::error::Error + Send + Sync>;

async fn serve(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    router: Router,
) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    match acceptor {
        Some(acceptor) => {
            let stream = timeout(HANDSHAKE, acceptor.accept(stream)).await??;
            answer(stream, router).await
        }
        None => answer(stream, router).await,
    }
}

/// Answers what is asked on a connection from `router`.
pub(super) async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
) -> Result<(), Ended> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    Ok(connection.await?)
}
