//! As much of a browser as is needed to ask the proxy for a screen.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{BOUND, token};

/// What came of asking for a screen.
#[derive(Debug)]
pub enum Outcome {
    /// The proxy's note about the session, and the screen's description.
    Shown(Value, Vec<u8>),
    /// The close frame.
    Closed(u16, String),
}

/// Opens the console of `grant` over plain HTTP and tells what came of it.
pub async fn look(proxy: SocketAddr, grant: &str) -> Outcome {
    let connect = async || TcpStream::connect(proxy).await.unwrap();
    let (status, answer, cookie) = post(connect().await, proxy, "http", grant).await;
    assert_eq!(status, 200, "{answer}");
    begin(connect().await, &proxy.to_string(), "http", grant, &cookie).await.0
}

/// The same over TLS, trusting `authority`; the session goes on. The status and answer when the link was refused.
pub async fn look_securely(
    proxy: SocketAddr,
    authority: &str,
    grant: &str,
) -> Result<(Outcome, WebSocketStream<TlsStream<TcpStream>>), (u16, Value)> {
    let connect = async || tls(proxy, authority, &rustls::version::TLS13).await.unwrap().0;
    let (status, answer, cookie) = post(connect().await, proxy, "https", grant).await;
    if status != 200 {
        return Err((status, answer));
    }
    Ok(begin(connect().await, &proxy.to_string(), "https", grant, &cookie).await)
}

/// Begins the session of `grant` at `host` with the cookie that its token was exchanged for.
pub async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    scheme: &str,
    grant: &str,
    cookie: &str,
) -> (Outcome, WebSocketStream<S>) {
    let socket = scheme.replace("http", "ws");
    let mut request = format!("{socket}://{host}/screen/{grant}").into_client_request().unwrap();
    request.headers_mut().insert("host", host.parse().unwrap());
    request.headers_mut().insert("origin", format!("{scheme}://{host}").parse().unwrap());
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut note = Value::Null;
    let answers: [&[u8]; 3] = [b"RFB 003.008\n", &[1], &[1]];
    let mut answers = answers.into_iter();
    loop {
        match message(&mut socket).await {
            Message::Text(text) => note = serde_json::from_str(&text).unwrap(),
            Message::Binary(bytes) => match answers.next() {
                Some(answer) => socket.send(Message::binary(answer)).await.unwrap(),
                None => return (Outcome::Shown(note, bytes.to_vec()), socket),
            },
            Message::Close(frame) => {
                let frame = frame.unwrap();
                let closed = Outcome::Closed(frame.code.into(), frame.reason.to_string());
                return (closed, socket);
            }
            _ => {}
        }
    }
}

async fn message<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    timeout(BOUND, socket.next()).await.expect("in time").unwrap().unwrap()
}

/// Waits until the proxy ends the session: close code and reason.
pub async fn end<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
) -> (u16, String) {
    loop {
        if let Message::Close(frame) = message(&mut socket).await {
            let frame = frame.unwrap();
            return (frame.code.into(), frame.reason.to_string());
        }
    }
}

/// `POST session` with the token of `grant`: status, answer, cookie.
pub async fn post(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    host: SocketAddr,
    scheme: &str,
    grant: &str,
) -> (u16, Value, String) {
    post_token(stream, &host.to_string(), scheme, &token(grant)).await
}

/// `POST session` with a token: status, answer, cookie.
pub async fn post_token(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    scheme: &str,
    token: &str,
) -> (u16, Value, String) {
    let body = json!({ "token": token }).to_string();
    let head = format!(
        "POST /session HTTP/1.1\r\nHost: {host}\r\nOrigin: {scheme}://{host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // a TLS connection may end without its last word
    let _end = timeout(BOUND, stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let cookie =
        head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null), cookie)
}

/// Opens TLS to the proxy, trusting `authority`, with this version alone; the certificate it showed.
pub async fn tls(
    proxy: SocketAddr,
    authority: &str,
    version: &'static SupportedProtocolVersion,
) -> Result<(TlsStream<TcpStream>, Vec<u8>), std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, TcpStream::connect(proxy).await?).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    Ok((stream, shown))
}
