//! Carrying a message to a resolver and its answers back, on hickory-net's streams.
//!
//! Its streams of whole messages are used, not its clients: the UDP client throws answers away that have no question, and
//! an error in that shape is how many a resolver says no. Which answer is one is decided above ([`super::exchange`]).
//! Ours is the socket: connected, so that only the resolver is heard and "nobody listens there" is known at once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use hickory_net::NetError;
use hickory_net::proto::op::SerialMessage;
use hickory_net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_net::runtime::{RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime};
use hickory_net::tcp::TcpClientStream;
use hickory_net::tls::tls_client_connect;
use hickory_net::udp::UdpStream;
use hickory_net::xfer::{BufDnsStreamHandle, DnsStreamHandle as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sluice_api::config::UpstreamTls;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Time for a connection to come about.
const CONNECT_TIME: Duration = Duration::from_millis(1500);

/// Answers as they come; an error ends them.
pub(super) struct Answers(Messages);

type Messages = Pin<Box<dyn Stream<Item = io::Result<Vec<u8>>> + Send>>;

impl Answers {
    /// The next one, for as long as it takes.
    pub(super) async fn next(&mut self) -> io::Result<Vec<u8>> {
        self.0.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }
}

/// A connection: whole messages go in and come out.
pub(super) struct Wire {
    resolver: SocketAddr,
    out: BufDnsStreamHandle,
    answers: Answers,
}

impl Wire {
    /// Puts `message` into the connection's queue, from where [`next`](Self::next) sends it.
    ///
    /// Errors: the connection is closed, or does not take what is in its queue.
    pub(super) fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.out.send(SerialMessage::new(message, self.resolver)).map_err(to_io)
    }

    /// Sends what is in the queue, and waits for the next message, for as long as it takes.
    pub(super) async fn next(&mut self) -> io::Result<Vec<u8>> {
        self.answers.next().await
    }
}

/// Sends `message` in a datagram, from a port that nobody can foresee (RFC 6056 3.3.1).
pub(super) async fn over_udp(resolver: SocketAddr, message: Vec<u8>) -> io::Result<Answers> {
    let (stream, mut sender) = UdpStream::new(resolver, None, None, false, Sockets::default());
    let stream = stream.await.map_err(to_io)?;
    sender.send(SerialMessage::new(message, resolver)).map_err(to_io)?;
    // the sender is what keeps the stream's outbound side open
    let answers = stream.map(move |answer| {
        let _open = &sender;
        answer.map(|answer| answer.into_parts().0)
    });
    Ok(Answers(Box::pin(answers)))
}

/// A connection in the clear.
pub(super) async fn over_tcp(resolver: SocketAddr) -> io::Result<Wire> {
    let (stream, out) =
        TcpClientStream::new(resolver, None, Some(CONNECT_TIME), Sockets::default());
    Ok(wire(resolver, out, stream.await.map_err(to_io)?))
}

/// How a set of resolvers is asked over TLS (RFC 7858), and how they prove who they are.
#[derive(Clone, Debug)]
pub(super) struct TlsTerms {
    config: Arc<ClientConfig>,
    /// None: each is known by its address.
    name: Option<ServerName<'static>>,
}

/// The same for one of them.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsTerms {
    /// Whoever shows a certificate for `terms.server_name`, or its own address, that one of the authorities issued.
    pub(super) fn new(terms: &UpstreamTls) -> Result<Self, String> {
        let unusable = |error: &dyn std::fmt::Display| format!("dns.tls cannot be used: {error}");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(terms.authorities.as_str().as_bytes()) {
            roots
                .add(certificate.map_err(|error| unusable(&error))?)
                .map_err(|error| unusable(&error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = terms.server_name.as_ref().map(|name| name.as_str().to_owned());
        let name = name.map(ServerName::try_from).transpose();
        Ok(Self { config: Arc::new(config), name: name.map_err(|error| unusable(&error))? })
    }

    /// That of the resolver at `address`.
    pub(super) fn of(&self, address: IpAddr) -> Tls {
        let name = self.name.clone().unwrap_or_else(|| ServerName::from(address));
        Tls { config: self.config.clone(), name }
    }
}

/// A connection that is encrypted to the resolver; sessions are resumed.
pub(super) async fn over_tls(resolver: SocketAddr, tls: Tls) -> io::Result<Wire> {
    let (stream, out) = tls_client_connect(resolver, tls.name, tls.config, Sockets::default());
    let stream = timeout(CONNECT_TIME, stream).await?;
    Ok(wire(resolver, out, stream.map_err(to_io)?))
}

fn wire(
    resolver: SocketAddr,
    out: BufDnsStreamHandle,
    stream: impl Stream<Item = Result<SerialMessage, NetError>> + Send + 'static,
) -> Wire {
    let answers = stream.map(|answer| answer.map(|answer| answer.into_parts().0).map_err(to_io));
    Wire { resolver, out, answers: Answers(Box::pin(answers)) }
}

fn to_io(error: NetError) -> io::Error {
    match error {
        NetError::Io(error) => io::Error::new(error.kind(), error.to_string()),
        other => io::Error::other(other.to_string()),
    }
}

/// hickory's sockets on tokio, with the datagram ones connected.
#[derive(Clone, Default)]
struct Sockets(TokioRuntimeProvider);

impl RuntimeProvider for Sockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        self.0.connect_tcp(server, local, timeout)
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(server).await?;
            Ok(socket)
        })
    }
}
