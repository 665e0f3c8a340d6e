//! One HTTP request over one new TLS connection.
//!
//! Guarantees: every exchange has a connection of its own, so a confirmation proves that the appliance can be reached
//! anew; the server is who its certificate says it is, and shows that certificate each time; the answer is bounded in size and time. Rejected: a connection
//! pool, which would hide that new connections no longer get through.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use sluice_api::{Finding, MAX_BODY};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest wait for a connection and its TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of a document from which it is packed.
const WORTHWHILE: usize = 1 << 16;
/// Largest answer read: a capture of 10,000 packets fits.
pub(super) const MAX_ANSWER: usize = 4 * MAX_BODY;

/// Why an exchange with an appliance failed.
#[derive(Debug, Error)]
pub enum PushError {
    /// The certificate or key of the client, or the appliance's name, cannot be used. A retry does not help.
    #[error("the client's identity cannot be used: {0}")]
    Identity(String),
    /// The request has no JSON form; a defect of ours.
    #[error("the request cannot be written down")]
    Encode(#[source] serde_json::Error),
    /// The exchange itself. A retry may help.
    #[error("{address}")]
    Exchange {
        /// Where the appliance should be.
        address: SocketAddr,
        /// Why.
        #[source]
        source: ExchangeError,
    },
    /// The appliance refused the request, with its reasons. A retry helps when it was busy (status 503).
    #[error("{address} refused: {}", findings.first().map(ToString::to_string).unwrap_or_default())]
    Refused {
        /// Where the appliance is.
        address: SocketAddr,
        /// HTTP status.
        status: u16,
        /// Its reasons.
        findings: Vec<Finding>,
    },
    /// The appliance answered something else than the contract says.
    #[error("{address} answered {status}, which is not understood: {body}")]
    Answer {
        /// Where the appliance is.
        address: SocketAddr,
        /// HTTP status.
        status: u16,
        /// The start of the body.
        body: String,
    },
}

impl PushError {
    /// True when the appliance's certificate is past its end.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Exchange { source: ExchangeError::Expired(_), .. })
    }

    /// True when the appliance may have got the request, and done what it says.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Exchange { source, .. } => !matches!(
                source,
                ExchangeError::Connect(_)
                    | ExchangeError::Tls(_)
                    | ExchangeError::Expired(_)
                    | ExchangeError::Request(_)
            ),
            Self::Answer { .. } => true,
            Self::Identity(_) | Self::Encode(_) | Self::Refused { .. } => false,
        }
    }
}

/// What of an exchange failed.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// No connection.
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    /// No TLS session: wrong peer, or a certificate not issued by our authority.
    #[error("no TLS session")]
    Tls(#[source] std::io::Error),
    /// The appliance's certificate is past its end, or our clock is wrong. A retry does not help.
    #[error("its certificate has run out; start its machine with a new boot document")]
    Expired(#[source] std::io::Error),
    /// The request or its answer broke off.
    #[error("the exchange broke off")]
    Http(#[source] hyper::Error),
    /// The answer is too large or broke off.
    #[error("the answer cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request cannot be written down.
    #[error("the request cannot be made")]
    Request(#[source] hyper::http::Error),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// A request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) body: Body,
    pub(super) patience: Duration,
    /// Largest answer read, in bytes.
    pub(super) most: usize,
}

/// What a request carries.
pub(super) enum Body {
    /// A JSON document, or nothing.
    Json(Vec<u8>),
    /// A JSON document as gzip.
    Packed(Vec<u8>),
    /// Bytes that mean nothing to the API itself.
    Bytes(Vec<u8>),
}

impl Body {
    /// A JSON document, packed when that is worth its while.
    pub(super) fn packed(body: Vec<u8>) -> Self {
        if body.len() < WORTHWHILE {
            return Self::Json(body);
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        // writing to memory does not fail
        match packed.write_all(&body).and_then(|()| packed.finish()) {
            Ok(packed) => Self::Packed(packed),
            Err(_) => Self::Json(body),
        }
    }
}

/// An answer, and as whom the appliance gave it.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// The certificate that it showed; none when that cannot be read.
    pub(super) shown: Option<Shown>,
}

/// The certificate that an appliance shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its end, Unix seconds.
    pub until: i64,
    /// Name of the authority that issued it (DER).
    pub issuer: Vec<u8>,
}

/// Where, as whom and to whom.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
    pub(super) address: SocketAddr,
}

impl Peer {
    /// Carries out `call`.
    pub(super) async fn exchange(&self, call: Call<'_>) -> Result<Answered, PushError> {
        let patience = call.patience;
        timeout(patience, self.attempt(call))
            .await
            .unwrap_or(Err(ExchangeError::Timeout(patience)))
            .map_err(|source| PushError::Exchange { address: self.address, source })
    }

    async fn attempt(&self, call: Call<'_>) -> Result<Answered, ExchangeError> {
        let stream = timeout(CONNECT, self.connect())
            .await
            .unwrap_or(Err(ExchangeError::Timeout(CONNECT)))?;
        let shown = shown(&stream);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(ExchangeError::Http)?;
        let most = call.most;
        let answer = async {
            let request = request(call)?;
            let response = sender.send_request(request).await.map_err(ExchangeError::Http)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), most).collect().await;
            let body = body.map_err(ExchangeError::Body)?.to_bytes();
            Ok(Answered { status, body, shown })
        };
        // both in this task: when the caller gives up, so does the connection
        tokio::pin!(connection, answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = &mut connection => {
                ended.map_err(ExchangeError::Http)?;
                answer.await
            }
        }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, ExchangeError> {
        let stream = TcpStream::connect(self.address).await.map_err(ExchangeError::Connect)?;
        stream.set_nodelay(true).map_err(ExchangeError::Connect)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), stream).await.map_err(
            |error| {
                if expired(&error) {
                    ExchangeError::Expired(error)
                } else {
                    ExchangeError::Tls(error)
                }
            },
        )
    }
}

fn expired(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(invalid)) = inner else { return false };
    matches!(invalid, CertificateError::Expired | CertificateError::ExpiredContext { .. })
}

fn shown(stream: &TlsStream<TcpStream>) -> Option<Shown> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates()?.first()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let until = certificate.validity().not_after.timestamp();
    Some(Shown { until, issuer: certificate.issuer().as_raw().to_vec() })
}

/// Unix milliseconds, for appliances whose clock is wrong.
fn now_millis() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis())
}

fn request(call: Call<'_>) -> Result<Request<Full<Bytes>>, ExchangeError> {
    let (kind, encoding, body) = match call.body {
        Body::Json(body) => ("application/json", None, body),
        Body::Packed(body) => ("application/json", Some("gzip"), body),
        Body::Bytes(body) => ("application/octet-stream", None, body),
    };
    let request = Request::builder()
        .method(call.method)
        .uri(call.path)
        .header("host", "appliance")
        .header(sluice_api::TIME_HEADER, now_millis().to_string())
        .header("content-type", kind);
    let request = match encoding {
        Some(encoding) => request.header("content-encoding", encoding),
        None => request,
    };
    request.body(Full::new(Bytes::from(body))).map_err(ExchangeError::Request)
}
