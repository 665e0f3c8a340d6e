//! The manager as a TLS client of appliances.
//!
//! Guarantees: an appliance that names the authorities it knows is met with a certificate of one of them, so that it can be
//! reached while the authority is being changed. A certificate past its end is accepted only when its key is one that this
//! manager issued to the appliance, and only by a client that is made for renewing it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sluice_api::boot::Identity;

use super::exchange::PushError;
use crate::ca::key_of;

/// The manager as a TLS client; clones share it.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    pub(super) tls: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    own: Arc<Certificates>,
}

fn refused(error: &dyn std::fmt::Display) -> PushError {
    PushError::Identity(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl ClientIdentity {
    /// From a client certificate, its key and the authority of the appliances.
    pub fn new(identity: &Identity) -> Result<Self, PushError> {
        Self::of([identity])
    }

    /// From one for each authority that an appliance may know, the one to be shown first in front.
    pub fn of<'a>(identities: impl IntoIterator<Item = &'a Identity>) -> Result<Self, PushError> {
        let (mut roots, mut own) = (RootCertStore::empty(), Vec::new());
        for identity in identities {
            for certificate in CertificateDer::pem_slice_iter(identity.authority.as_bytes()) {
                let certificate = certificate.map_err(|error| refused(&error))?;
                roots.add(certificate).map_err(|error| refused(&error))?;
            }
            own.push(OwnCertificate::new(identity)?);
        }
        let (roots, own) = (Arc::new(roots), Arc::new(Certificates(own)));
        let verifier = webpki(&roots)?;
        let tls = Arc::new(config(verifier, Arc::clone(&own))?);
        Ok(Self { tls, roots, own })
    }

    /// The same for an appliance whose certificate may have run out: one with any of these keys is taken all the same.
    pub(super) fn renewing(&self, keys: &[String]) -> Result<Self, PushError> {
        let keys = keys.iter().cloned().collect();
        let verifier = Arc::new(KnownKeys { webpki: webpki(&self.roots)?, keys });
        let tls = Arc::new(config(verifier, Arc::clone(&self.own))?);
        Ok(Self { tls, ..self.clone() })
    }
}

fn webpki(roots: &Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, PushError> {
    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider())
        .build()
        .map_err(|error| refused(&error))
}

fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    own: Arc<Certificates>,
) -> Result<ClientConfig, PushError> {
    let mut tls = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(own);
    // a resumed session would show the certificate that it began with, not the one in use
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

#[derive(Debug)]
struct OwnCertificate {
    /// Name of the authority that issued it.
    issuer: Vec<u8>,
    key: Arc<CertifiedKey>,
}

impl OwnCertificate {
    fn new(identity: &Identity) -> Result<Self, PushError> {
        let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| refused(&error))?;
        let first = chain.first().ok_or_else(|| refused(&"there is no certificate"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(first).map_err(|error| refused(&error))?;
        let issuer = parsed.issuer().as_raw().to_vec();
        let key = PrivateKeyDer::from_pem_slice(identity.key.reveal().as_bytes())
            .map_err(|error| refused(&error))?;
        let key = any_supported_type(&key).map_err(|error| refused(&error))?;
        Ok(Self { issuer, key: Arc::new(CertifiedKey::new(chain, key)) })
    }
}

#[derive(Debug)]
struct Certificates(Vec<OwnCertificate>);

impl ResolvesClientCert for Certificates {
    fn resolve(&self, known: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |own: &&OwnCertificate| known.contains(&own.issuer.as_slice());
        let own = self.0.iter().find(fits).or_else(|| self.0.first());
        own.map(|own| Arc::clone(&own.key))
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// WebPKI's verifier, to which the end of a certificate with one of these keys does not matter.
#[derive(Debug)]
struct KnownKeys {
    webpki: Arc<WebPkiServerVerifier>,
    keys: BTreeSet<String>,
}

impl ServerCertVerifier for KnownKeys {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let known = key_of(shown).is_some_and(|key| self.keys.contains(&key));
        let end = end_of(shown).filter(|end| known && *end < now);
        self.webpki.verify_server_cert(shown, between, name, ocsp, end.unwrap_or(now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// The last second of a certificate.
fn end_of(certificate: &[u8]) -> Option<UnixTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let end = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_secs(end)))
}
