//! The way to a VM's VNC server: TCP, the RFB handshake, and TLS when both sides have it.
//!
//! Guarantees: a server gets no further than its grant's rules allow; one that goes silent, dies or never answers is
//! noticed within seconds; the whole way has a bound in time.

mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rfb::{Handshake, HandshakeError, Rules, Security, ServerInit, Unencrypted, Want};
use crate::slice::{Backend, Settings};

pub use tls::{TrustError, config as tls_config};

/// Probes of a server that is silent: one that is dead is noticed after some 11 seconds, where the last picture would
/// look alive for ever.
const ALIVE_AFTER: Duration = Duration::from_secs(5);
const ALIVE_EVERY: Duration = Duration::from_secs(2);
const ALIVE_PROBES: u32 = 3;
/// A server that does not take what it is sent is given up.
pub(crate) const STALLED: Duration = Duration::from_secs(10);

/// What a session needs of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A session with a VM's screen that has begun.
pub struct Screen {
    /// What follows on it.
    pub stream: Box<dyn Stream>,
    /// Size, format and name.
    pub init: ServerInit,
    /// How the server was authenticated.
    pub security: Security,
    /// The TLS version in use, such as `TLSv1_3`; none without TLS.
    pub tls: Option<String>,
}

/// Why a VM's screen cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Nobody answers there. A later attempt may do: the VM starts, or moves.
    #[error("cannot reach the VM's screen: {0}")]
    Unreachable(String),
    /// It went away or silent in the middle of the handshake. A later attempt may do.
    #[error("the VM's screen went away during the handshake: {0}")]
    Lost(String),
    /// It cannot be used as it is configured.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Its certificate is not the expected one.
    #[error("the VM host's certificate is not trusted: {0}")]
    Untrusted(String),
    /// The configured authorities cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The manager says that this VM's screen is elsewhere, or nowhere.
    #[error("this is not the VM's screen any more: {0}")]
    Elsewhere(String),
    /// No manager said whether this is still the VM's screen. A later attempt may do.
    #[error("no manager said whether this is still the VM's screen")]
    Unasked,
    /// Another VM's screen is on this port.
    #[error("another screen is on this port: it calls itself {found:?}, not {expected:?}")]
    WrongScreen {
        /// What it must be called.
        expected: String,
        /// What it is called.
        found: String,
    },
}

impl BackendError {
    /// Whether trying again can help without any change to the grant.
    pub fn may_pass(&self) -> bool {
        use BackendError::{Handshake, Lost, Unasked, Unreachable};
        matches!(
            self,
            Unreachable(_) | Lost(_) | Unasked | Handshake(HandshakeError::Refused { .. })
        )
    }
}

/// Opens the session with the screen of `backend`.
pub async fn open(backend: &Backend, settings: &Settings) -> Result<Screen, BackendError> {
    let rules = rules(backend);
    let first = attempt(backend, rules.clone(), settings).await;
    let Err(BackendError::Handshake(HandshakeError::NoSubtype { .. })) = &first else {
        return first;
    };
    if rules.unencrypted == Unencrypted::Refuse {
        return first;
    }
    // there is no way back within a connection once VeNCrypt was chosen
    attempt(backend, Rules { tls: false, ..rules }, settings).await
}

fn rules(backend: &Backend) -> Rules {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Rules {
        tls: backend.tls.is_some(),
        unencrypted: backend.unencrypted,
        user: backend.user.as_deref().map(bytes),
        password: backend.password.as_ref().map(|password| bytes(password.reveal())),
    }
}

async fn attempt(
    backend: &Backend,
    rules: Rules,
    settings: &Settings,
) -> Result<Screen, BackendError> {
    let address = SocketAddr::new(backend.address, backend.port.get());
    let patience = Duration::from_secs(settings.connect_seconds.get().into());
    let unreachable = |error: io::Error| BackendError::Unreachable(error.to_string());
    let tcp = match timeout(patience, TcpStream::connect(address)).await {
        Ok(tcp) => tcp.map_err(unreachable)?,
        Err(_) => return Err(BackendError::Unreachable("no answer in time".into())),
    };
    watchful(&tcp).map_err(unreachable)?;
    let patience = Duration::from_secs(settings.handshake_seconds.get().into());
    let screen = match timeout(patience, begin(tcp, Handshake::new(rules), backend)).await {
        Ok(screen) => screen?,
        Err(_) => return Err(BackendError::Lost("no answer in time".into())),
    };
    match &backend.desktop_name {
        Some(expected) if *expected != screen.init.desktop_name() => {
            let found = screen.init.desktop_name();
            Err(BackendError::WrongScreen { expected: expected.clone(), found })
        }
        _ => Ok(screen),
    }
}

fn watchful(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(ALIVE_AFTER)
        .with_interval(ALIVE_EVERY)
        .with_retries(ALIVE_PROBES);
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(STALLED))
}

async fn begin(
    mut tcp: TcpStream,
    mut handshake: Handshake,
    backend: &Backend,
) -> Result<Screen, BackendError> {
    if !drive(&mut tcp, &mut handshake).await? {
        return Ok(screen(Box::new(tcp), &handshake, None));
    }
    let Some(trust) = &backend.tls else {
        return Err(HandshakeError::Broken("TLS that nobody asked for").into());
    };
    let connector = tokio_rustls::TlsConnector::from(tls::config(trust)?);
    let name = tls::name(trust)?;
    let mut stream = connector.connect(name, tcp).await.map_err(refused)?;
    handshake.secured();
    let version = stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
    let version = version.map(str::to_owned);
    drive(&mut stream, &mut handshake).await?;
    Ok(screen(Box::new(stream), &handshake, version))
}

fn screen(stream: Box<dyn Stream>, handshake: &Handshake, tls: Option<String>) -> Screen {
    // `drive` ends with TLS or with the description
    let init = handshake.init().cloned().unwrap_or_else(ServerInit::nothing);
    Screen { stream, init, security: handshake.security(), tls }
}

/// Goes on until the session begins (false) or TLS has to (true).
async fn drive(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    handshake: &mut Handshake,
) -> Result<bool, BackendError> {
    let lost = |error: io::Error| BackendError::Lost(error.to_string());
    let mut buffer = Vec::new();
    loop {
        match handshake.want() {
            Want::Read(length) => {
                buffer.resize(length, 0);
                stream.read_exact(&mut buffer).await.map_err(lost)?;
                handshake.give(&buffer)?;
            }
            Want::Write(bytes) => {
                stream.write_all(&bytes).await.map_err(lost)?;
                stream.flush().await.map_err(lost)?;
            }
            Want::StartTls => return Ok(true),
            Want::Done => return Ok(false),
        }
    }
}

/// A failed TLS handshake is a matter of trust, unless the connection just broke.
fn refused(error: io::Error) -> BackendError {
    match error.kind() {
        io::ErrorKind::InvalidData => BackendError::Untrusted(tls::told(&error)),
        _ => BackendError::Lost(error.to_string()),
    }
}
