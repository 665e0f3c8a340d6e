//! A client that says exactly what a test wants, over real TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use sluice_api::boot::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Nothing here may take longer.
pub const BOUND: Duration = Duration::from_secs(20);

pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

/// Status and body.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts status and kind of answer.
    pub fn is(&self, status: u16, answer: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status, json["answer"].as_str()), (status, Some(answer)), "{self:?}");
        json
    }

    /// Asserts a refusal whose findings include `code`.
    pub fn refuses(&self, status: u16, code: &str) -> Value {
        let json = self.is(status, "rejected");
        let found = json["findings"].as_array().unwrap().iter().any(|one| one["code"] == code);
        assert!(found, "no finding {code} in {self:?}");
        for finding in json["findings"].as_array().unwrap() {
            let code = finding["code"].as_str().unwrap();
            assert!(sluice_api::finding::meaning(code).is_some(), "{code} is documented nowhere");
        }
        json
    }
}

impl Client {
    pub fn new(address: IpAddr, authority: &str, identity: Option<&Identity>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots);
        let tls = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain =
                    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(identity.key.reveal().as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        Self { address: SocketAddr::new(address, 3922), tls: Arc::new(tls) }
    }

    pub fn to(mut self, address: IpAddr) -> Self {
        self.address.set_ip(address);
        self
    }

    /// A plain connection, as soon as somebody listens.
    pub async fn tcp(&self) -> TcpStream {
        let end = Instant::now() + BOUND;
        loop {
            match TcpStream::connect(self.address).await {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < end, "{}: {error}", self.address),
            }
            tokio::task::yield_now().await;
        }
    }

    /// A plain connection from an address of our own choice.
    pub async fn tcp_from(&self, source: IpAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    pub async fn open(&self) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("r-1").unwrap();
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, self.tcp().await).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Reply> {
        timeout(BOUND, async { exchange(&mut self.open().await?, method, path, body).await })
            .await
            .map_err(io::Error::from)?
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, b"").await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, body.to_string().as_bytes()).await.unwrap()
    }

    pub async fn push(&self, query: &str, body: &Value) -> Reply {
        let path = format!("/v1/config{query}");
        self.ask("PUT", &path, body.to_string().as_bytes()).await.unwrap()
    }
}

/// One request on an open connection, which stays open.
pub async fn exchange(
    stream: &mut TlsStream<TcpStream>,
    method: &str,
    path: &str,
    body: &[u8],
) -> io::Result<Reply> {
    exchange_as(stream, method, path, "", body).await
}

/// The same with further lines in the head.
pub async fn exchange_as(
    stream: &mut TlsStream<TcpStream>,
    method: &str,
    path: &str,
    lines: &str,
    body: &[u8],
) -> io::Result<Reply> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: r-1\r\n{lines}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    loop {
        if let Some(reply) = parsed(&bytes) {
            return Ok(reply);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            let said = String::from_utf8_lossy(&bytes).into_owned();
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, said));
        }
    }
}

fn parsed(bytes: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let lengths = head.lines().filter_map(|line| line.split_once(": "));
    let length = lengths.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(Ok(0), |(_, length)| length.parse()).ok()?;
    (body.len() >= length).then(|| Reply { status, body: body.to_owned() })
}
