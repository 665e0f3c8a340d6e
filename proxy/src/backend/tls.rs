//! TLS towards a VNC server: its certificate is proved by the authorities with the name that it must have, by a pin, or by both.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::slice::BackendTls;
use crate::values::Fingerprint;

/// What is configured cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The authorities are not certificates in PEM.
    #[error("backend.tls.authorities cannot be read: {0}")]
    Authorities(String),
    /// The name is none that a certificate can have.
    #[error("backend.tls.name {0:?} cannot be in a certificate")]
    Name(String),
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The client's side of TLS as `trust` says.
pub fn config(trust: &BackendTls) -> Result<Arc<ClientConfig>, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let chain = trust.authorities.as_deref().map(|pem| authorities(pem, &provider)).transpose()?;
    let verifier = Verifier { chain, pin: trust.pin, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The name that the certificate must be for.
pub(super) fn name(trust: &BackendTls) -> Result<ServerName<'static>, TrustError> {
    let name = trust.name.as_str();
    ServerName::try_from(name.to_owned()).map_err(|_| TrustError::Name(name.to_owned()))
}

/// Why there is no TLS, in words; the library has none for a certificate that is not the pinned one.
pub(super) fn told(error: &std::io::Error) -> String {
    let pin = Error::from(CertificateError::ApplicationVerificationFailure);
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(inner) if *inner == pin => "it is not the one that is pinned".to_owned(),
        _ => error.to_string(),
    }
}

fn authorities(
    pem: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let wrong = |error: &dyn std::fmt::Display| TrustError::Authorities(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| wrong(&error))
}

/// Proves certificates: the pin's own, the chain's by the authorities.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    pin: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pin.is_some_and(|pin| pin != Fingerprint::of(certificate)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        match &self.chain {
            Some(chain) => chain.verify_server_cert(certificate, intermediates, name, ocsp, now),
            // the very certificate says more than any name in it, and self-signed ones often have none
            None if self.pin.is_some() => Ok(ServerCertVerified::assertion()),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
