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
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::bench::{BOUND, token};

/// What came of asking for a screen.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The proxy's note about the session, and the screen's description.
    Shown(Value, Vec<u8>),
    /// The close frame.
    Closed(u16, String),
}

/// Opens the console of `grant` and tells what came of it.
pub(crate) async fn look(proxy: SocketAddr, grant: &str) -> Outcome {
    let (status, answer, cookie) =
        post(TcpStream::connect(proxy).await.unwrap(), proxy, "http", grant).await;
    assert_eq!(status, 200, "{answer}");
    let mut request = format!("ws://{proxy}/screen/{grant}").into_client_request().unwrap();
    request.headers_mut().insert("origin", format!("http://{proxy}").parse().unwrap());
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    let stream = TcpStream::connect(proxy).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut note = Value::Null;
    let answers: [&[u8]; 3] = [b"RFB 003.008\n", &[1], &[1]];
    let mut answers = answers.into_iter();
    loop {
        match timeout(BOUND, socket.next()).await.expect("in time").unwrap().unwrap() {
            Message::Text(text) => note = serde_json::from_str(&text).unwrap(),
            Message::Binary(bytes) => match answers.next() {
                Some(answer) => socket.send(Message::binary(answer)).await.unwrap(),
                None => return Outcome::Shown(note, bytes.to_vec()),
            },
            Message::Close(frame) => {
                let frame = frame.unwrap();
                return Outcome::Closed(frame.code.into(), frame.reason.to_string());
            }
            _ => {}
        }
    }
}

/// `POST session` with the token of `grant`: status, answer, cookie.
pub(crate) async fn post(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: SocketAddr,
    scheme: &str,
    grant: &str,
) -> (u16, Value, String) {
    let body = json!({ "token": token(grant) }).to_string();
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
pub(crate) async fn tls(
    proxy: SocketAddr,
    authority: &str,
    version: &'static SupportedProtocolVersion,
) -> Result<(tokio_rustls::client::TlsStream<TcpStream>, Vec<u8>), std::io::Error> {
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
