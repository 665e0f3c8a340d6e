//! Where the API is served: a socket in the file system, TCP, TCP with TLS.
//!
//! Guarantees: a handshake that hangs delays no other caller; a socket that a manager left behind when it was killed is
//! replaced, one that is served is not.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that are greeted and wait to be served.
const GREETED: usize = 64;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this user, on the socket.
    User(u32),
    /// Somebody at this address.
    Address(SocketAddr),
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self::Address(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self::Address(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        // a caller that the kernel cannot name is nobody whom we know
        Self::User(stream.io().peer_cred().map_or(u32::MAX, |who| who.uid()))
    }
}

/// TCP connections behind their handshake.
#[derive(Debug)]
pub struct TlsListener {
    address: SocketAddr,
    greeted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Greets what comes in on `listener` with the certificate chain and key of these files.
    pub fn new(listener: TcpListener, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let acceptor = acceptor(certificate, key)?;
        let address = listener.local_addr().context("the listener has no address")?;
        let (greeting, greeted) = mpsc::channel(GREETED);
        tokio::spawn(greet_all(listener, acceptor, greeting));
        Ok(Self { address, greeted })
    }
}

fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let named = |path: &Path| format!("{} cannot be used", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| named(certificate))?;
    let secret = PrivateKeyDer::from_pem_file(key).with_context(|| named(key))?;
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .with_context(|| named(key))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn greet_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    greeting: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut listener = listener;
    loop {
        let (stream, from) = Listener::accept(&mut listener).await;
        let (acceptor, greeting) = (acceptor.clone(), greeting.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                let _ended = greeting.send((stream, from)).await;
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.greeted.recv().await {
            Some(greeted) => greeted,
            // whoever greets has gone: there is nobody to wait for
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A socket at `path` that only its owner can call; whoever calls is looked at all the same.
pub async fn socket(path: &Path) -> anyhow::Result<UnixListener> {
    let named = || format!("cannot listen on {}", path.display());
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).await.is_ok() {
                bail!("{}: a manager is running there", named());
            }
            std::fs::remove_file(path).with_context(named)?;
            UnixListener::bind(path).with_context(named)?
        }
        bound => bound.with_context(named)?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(named)?;
    Ok(listener)
}
