//! One check of one member.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sluice_api::config::balancer::{Check, HttpCheck, Member};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

use super::Manner;
use crate::lb::{proxy_header, tls};

static CONNECTOR: LazyLock<Result<TlsConnector, String>> =
    LazyLock::new(|| tls::unjudging_client().map(|config| TlsConnector::from(Arc::new(config))));

/// Checks `member` once; the error says what was wrong, for a person.
pub(super) async fn probe(member: &Member, manner: &Manner) -> Result<(), String> {
    let Manner { health, check, proxy } = manner;
    let endpoint = SocketAddr::new(member.address, health.port.unwrap_or(member.port).get());
    if *check == Check::Udp {
        return knock(endpoint).await.map_err(|error| error.to_string());
    }
    let text = |error: io::Error| error.to_string();
    let mut stream = TcpStream::connect(endpoint).await.map_err(text)?;
    // a check's own port speaks for itself, without the header
    if let (Some(version), None) = (proxy, health.port) {
        stream.write_all(&proxy_header::own(*version)).await.map_err(text)?;
    }
    match check {
        Check::None | Check::Tcp | Check::Udp => Ok(()),
        Check::Http(check) => ask(stream, check, endpoint).await,
        Check::Https(check) => ask(encrypt(stream, check, endpoint).await?, check, endpoint).await,
    }
}

/// Sends an empty datagram. Ends with an answer or a refusal; where nothing comes it does not end.
async fn knock(endpoint: SocketAddr) -> io::Result<()> {
    let any = if endpoint.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    sluice_sys::udp::hear_refusals(&socket, endpoint.is_ipv4())?;
    socket.connect(endpoint).await?;
    socket.send(&[]).await?;
    socket.recv(&mut [0; 16]).await.map(drop)
}

async fn encrypt(
    stream: TcpStream,
    check: &HttpCheck,
    endpoint: SocketAddr,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, String> {
    let name = match &check.host {
        Some(host) => ServerName::try_from(host.as_str().to_owned()).map_err(|e| e.to_string())?,
        None => ServerName::from(endpoint.ip()),
    };
    let connector = CONNECTOR.as_ref().map_err(Clone::clone)?;
    connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    check: &HttpCheck,
    endpoint: SocketAddr,
) -> Result<(), String> {
    let host = check.host.as_ref().map_or_else(|| endpoint.to_string(), ToString::to_string);
    let request = Request::builder()
        .method(check.method.as_str())
        .uri(check.path.to_string())
        .header("host", host)
        .header("user-agent", "sluice-health")
        .header("connection", "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| error.to_string())?;
    let text = |error: hyper::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // the connection ends as soon as the answer's head is there, or with what went wrong
        _ = &mut connection => answer.await,
    };
    let status = u32::from(answer.map_err(text)?.status().as_u16());
    if (check.status_from.get()..=check.status_to.get()).contains(&status) {
        return Ok(());
    }
    Err(format!("status {status}"))
}
