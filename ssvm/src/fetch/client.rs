//! Single requests: admitted, sent, redirected, judged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, IF_RANGE, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::address::Address;
use super::error::FetchError;
use super::incoming::Incoming;
use super::names::Names;
use super::policy::AddressPolicy;
use super::range::ContentRange;
use super::resolve::Guarded;
use super::validator::Validator;
use crate::holes::HOLES;
use crate::slice::{FetchPolicy, StorageSlice};

/// The authorities of a Debian machine.
pub const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Fetches under one policy. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    addresses: Arc<AddressPolicy>,
    policy: Arc<FetchPolicy>,
    /// Whether the other side may leave out zeros.
    holes: bool,
}

/// An answer that has, or may have, the bytes that were asked for.
pub(super) struct Answer {
    pub(super) body: Incoming,
    /// The range that it is; none: it is the whole source from its start.
    pub(super) range: Option<ContentRange>,
    pub(super) marks: Validator,
    /// The address that answered, after redirects.
    pub(super) url: Address,
}

/// What to ask for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    /// First byte.
    pub(super) first: u64,
    /// Last byte; none: all that follow.
    pub(super) last: Option<u64>,
    /// State of the source that the range must be of.
    pub(super) marks: Option<&'a Validator>,
}

impl Fetcher {
    /// A fetcher under the policy of `slice`.
    ///
    /// Errors: the proxy or an authority cannot be read.
    pub fn new(slice: &StorageSlice) -> Result<Self, String> {
        let policy = &slice.fetch;
        let addresses =
            AddressPolicy { allowed: policy.allowed.clone(), refused: policy.refused.clone() };
        let addresses = Arc::new(addresses);
        let proxy = slice.proxy.as_ref().map(|proxy| proxy.reveal().to_owned());
        let proxy_url = proxy.as_deref().map(Url::parse).transpose();
        let proxy_url = proxy_url.map_err(|_| "the proxy is no address".to_owned())?;
        let proxy_host = proxy_url.as_ref().and_then(Url::host_str).map(str::to_owned);
        let guarded =
            Guarded::new(Names::new(&slice.resolvers), Arc::clone(&addresses), proxy_host);
        let mut builder = Client::builder()
            .user_agent(concat!("sluice-ssvm/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(Duration::from_secs(policy.connect_seconds.into()))
            .read_timeout(Duration::from_secs(policy.silence_seconds.into()))
            .dns_resolver(Arc::new(guarded));
        if let Some(url) = proxy_url {
            let proxy = reqwest::Proxy::all(url).map_err(|_| "the proxy is not understood")?;
            builder = builder.proxy(proxy);
        }
        builder = builder.tls_backend_preconfigured(tls(&slice.authorities)?);
        let client = builder.build().map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { client, addresses, policy: Arc::new(policy.clone()), holes: false })
    }

    /// Another one, which speaks by `client` under `policy` with another appliance, which may leave out zeros.
    pub(super) fn speaking_by(&self, client: Client, policy: FetchPolicy) -> Self {
        let addresses = Arc::clone(&self.addresses);
        Self { client, addresses, policy: Arc::new(policy), holes: true }
    }

    /// Its policy.
    pub fn policy(&self) -> &FetchPolicy {
        &self.policy
    }

    /// Asks `url`, following redirects, and judges the answer's head.
    pub(super) async fn ask(&self, url: &Address, ask: Ask<'_>) -> Result<Answer, FetchError> {
        let mut url = url.clone();
        for _ in 0..=self.policy.redirects {
            self.admit(&url)?;
            let response = self.send(&url, ask).await?;
            match redirected(&url, &response)? {
                Some(next) => url = next,
                None => return answer(response, url, self.holes),
            }
        }
        let reason = format!("more than {} in a row", self.policy.redirects);
        Err(FetchError::Redirect { reason })
    }

    /// Port and, where the host is an address itself, address; of names the resolver judges.
    fn admit(&self, url: &Address) -> Result<(), FetchError> {
        let url = url.reveal();
        let port = url.port_or_known_default().unwrap_or(0);
        if !self.policy.ports.is_empty() && !self.policy.ports.contains(&port) {
            return Err(FetchError::Port { port });
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match host.parse::<IpAddr>() {
            Ok(address) => Ok(self.addresses.judge(address)?),
            Err(_) => Ok(()),
        }
    }

    async fn send(&self, url: &Address, ask: Ask<'_>) -> Result<Response, FetchError> {
        let range = match ask.last {
            Some(last) => format!("bytes={}-{last}", ask.first),
            None => format!("bytes={}-", ask.first),
        };
        let mut request = self.client.get(url.reveal().clone());
        // what is hashed is the file, not a coding of it
        request = request.header(ACCEPT_ENCODING, "identity").header(RANGE, range);
        if let Some(mark) = ask.marks.and_then(Validator::if_range) {
            request = request.header(IF_RANGE, mark);
        }
        if self.holes {
            request = request.header(HOLES, "1");
        }
        request.send().await.map_err(|error| broken(url, error))
    }
}

/// A client for object stores, which the configuration names and may be anywhere.
///
/// Errors: an authority cannot be read.
pub fn store_client(slice: &StorageSlice) -> Result<Client, String> {
    let builder = Client::builder()
        .user_agent(concat!("sluice-ssvm/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(Duration::from_secs(slice.fetch.connect_seconds.into()))
        .read_timeout(Duration::from_secs(slice.fetch.silence_seconds.into()))
        .dns_resolver(Arc::new(Guarded::anywhere(Names::new(&slice.resolvers))))
        .tls_backend_preconfigured(tls(&slice.authorities)?);
    builder.build().map_err(|error| format!("no HTTP client: {error}"))
}

/// TLS that believes the machine's authorities and `more`, PEM. A machine that has none can still fetch by `http`, and the
/// reason why `https` fails is then that of the server's certificate.
fn tls(more: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // some of a system's own may be too old for the library; those that remain do
    let system = std::fs::read(AUTHORITIES).unwrap_or_default();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&system).flatten());
    for certificate in CertificateDer::pem_slice_iter(more.as_bytes()) {
        let bad = "an authority is no PEM certificate";
        roots.add(certificate.map_err(|_| bad)?).map_err(|_| bad)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Where an answer sends us.
fn redirected(url: &Address, response: &Response) -> Result<Option<Address>, FetchError> {
    let status = response.status();
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location else {
        return Err(FetchError::Redirect { reason: "it does not say where to".to_owned() });
    };
    let next = url.join(location).map_err(|reason| FetchError::Redirect { reason })?;
    if url.reveal().scheme() == "https" && next.reveal().scheme() != "https" {
        return Err(FetchError::Redirect { reason: "from https to http".to_owned() });
    }
    Ok(Some(next))
}

fn answer(response: Response, url: Address, holes: bool) -> Result<Answer, FetchError> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    match response.status() {
        StatusCode::OK => {
            let marks = Validator::of(response.headers(), response.content_length());
            Ok(Answer { range: None, marks, url, body: Incoming::new(response, holes) })
        }
        StatusCode::PARTIAL_CONTENT => {
            let Some(range) = header(CONTENT_RANGE).and_then(ContentRange::parse) else {
                return Err(FetchError::Protocol { what: "a range without a sound Content-Range" });
            };
            let marks = Validator::of(response.headers(), range.total);
            Ok(Answer { range: Some(range), marks, url, body: Incoming::new(response, holes) })
        }
        status => {
            let seconds = header(RETRY_AFTER).and_then(|text| text.trim().parse().ok());
            let retry_after = seconds.map(Duration::from_secs);
            Err(FetchError::Status { status: status.as_u16(), retry_after })
        }
    }
}

/// reqwest's error with its causes but without the address, whose query is a secret. A refused address is no broken
/// connection: it comes back out of the resolver under two wrappings.
pub(super) fn broken(url: &Address, error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut what = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    while let Some(cause) = next {
        if let Some(refused) = refusal(cause) {
            return refused.into();
        }
        let text = cause.to_string();
        if !what.ends_with(&text) {
            what = if what.is_empty() { text } else { format!("{what}: {text}") };
        }
        next = cause.source();
    }
    let host = url.reveal().host_str().unwrap_or_default();
    FetchError::Broken { what: format!("{host}: {what}") }
}

fn refusal(cause: &(dyn std::error::Error + 'static)) -> Option<super::AddressRefused> {
    let direct = cause.downcast_ref::<super::AddressRefused>();
    let inside = || {
        let io = cause.downcast_ref::<std::io::Error>()?;
        io.get_ref()?.downcast_ref::<super::AddressRefused>()
    };
    direct.or_else(inside).cloned()
}
