//! TLS towards clients: certificates by server name, renewed without a connection noticing; and towards members, for
//! checks alone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use sluice_api::config::balancer::{Mode, Tls, TlsVersion};
use sluice_api::types::{BlobDigest, SecretBytes};
use tokio_rustls::TlsAcceptor;

/// One rule's TLS, ready for handshakes.
#[derive(Clone)]
pub struct ServerTls {
    /// For new connections.
    pub acceptor: TlsAcceptor,
    tickets: Arc<dyn ProducesTickets>,
}

impl ServerTls {
    /// TLS as `tls` says, with certificates out of `blobs`. Clients resume sessions of `former`.
    ///
    /// Errors: a blob is missing, or holds no chain or no key that fits it.
    pub fn new(
        tls: &Tls,
        mode: Mode,
        blobs: &BTreeMap<BlobDigest, SecretBytes>,
        former: Option<&Self>,
    ) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let certificates = tls
            .certificates
            .iter()
            .map(|digest| certificate(digest, blobs, &provider))
            .collect::<Result<Vec<_>, _>>()?;
        let versions: &[&rustls::SupportedProtocolVersion] = match tls.minimum {
            TlsVersion::V12 => &[&TLS13, &TLS12],
            TlsVersion::V13 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName(certificates)));
        config.alpn_protocols = protocols(mode, tls.http2);
        let tickets = match former {
            Some(former) => Arc::clone(&former.tickets),
            None => ring::Ticketer::new().map_err(|error| error.to_string())?,
        };
        config.ticketer = Arc::clone(&tickets);
        // tickets do it without memory of ours
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), tickets })
    }
}

/// What is offered of ALPN (RFC 7301); a TCP rule does not know what it carries.
fn protocols(mode: Mode, http2: bool) -> Vec<Vec<u8>> {
    match (mode, http2) {
        (Mode::Http, true) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        (Mode::Http, false) => vec![b"http/1.1".to_vec()],
        (Mode::Tcp | Mode::Udp, _) => Vec::new(),
    }
}

fn certificate(
    digest: &BlobDigest,
    blobs: &BTreeMap<BlobDigest, SecretBytes>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, String> {
    let wrong = |reason: String| format!("certificate {digest}: {reason}");
    let pem = blobs.get(digest).ok_or_else(|| wrong("is not here".to_owned()))?.reveal();
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("has no certificate in PEM".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| wrong(format!("has no private key in PEM: {error}")))?;
    CertifiedKey::from_der(chain, key, provider)
        .map(Arc::new)
        .map_err(|error| wrong(error.to_string()))
}

/// The first certificate that is good for the name asked; else the first of all.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fitting = name.and_then(|name| self.0.iter().find(|key| is_for(key, &name)));
        fitting.or(self.0.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    parsed.is_some_and(|leaf| verify_server_name(&leaf, name).is_ok())
}

/// A client that takes any certificate: a check asks whether a member serves, not who it is.
pub fn unjudging_client() -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Unjudging(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

struct Unjudging(Arc<CryptoProvider>);

impl fmt::Debug for Unjudging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unjudging")
    }
}

impl ServerCertVerifier for Unjudging {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
