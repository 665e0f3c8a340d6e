//! Who trusts whom: clients us by our certificate, we clients by theirs.
//!
//! Guarantees: an identity that passes [`both_ways`] can be reached with, by whoever sent it and as of now.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier as _};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use sluice_api::boot::Identity;
use sluice_api::types::ApplianceId;
use x509_parser::parse_x509_certificate;

use super::identity::{IdentityError, certificates};

/// Looks at `identity` as a client would that has its authority, and at `sender` as we would with it.
pub(super) fn both_ways(
    identity: &Identity,
    appliance: &ApplianceId,
    sender: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), IdentityError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    trusted(identity, appliance, &provider, now)?;
    let clients = OnlyClients::issued_by(&identity.authority, &provider)?;
    let (own, between) = sender
        .split_first()
        .ok_or(IdentityError::LockedOut(rustls::Error::NoCertificatesPresented))?;
    clients.verify_client_cert(own, between, now).map_err(IdentityError::LockedOut)?;
    Ok(())
}

fn trusted(
    identity: &Identity,
    appliance: &ApplianceId,
    provider: &Arc<CryptoProvider>,
    now: UnixTime,
) -> Result<(), IdentityError> {
    let chain = certificates("certificate", &identity.certificate)?;
    let wrong_name = || IdentityError::WrongName { appliance: appliance.clone() };
    let name = ServerName::try_from(appliance.as_str()).map_err(|_| wrong_name())?;
    let (own, between) = chain.split_first().ok_or_else(wrong_name)?;
    let roots = roots(&identity.authority)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| IdentityError::Authority(error.to_string()))?;
    verifier.verify_server_cert(own, between, &name, &[], now).map_err(IdentityError::Untrusted)?;
    Ok(())
}

fn roots(pem: &str) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("authority", pem)? {
        roots.add(authority).map_err(|error| IdentityError::Authority(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

/// WebPKI's verifier, and the certificate must say that it is for clients; WebPKI alone accepts one that says nothing.
#[derive(Debug)]
pub(super) struct OnlyClients {
    webpki: Arc<dyn ClientCertVerifier>,
}

impl OnlyClients {
    pub(super) fn issued_by(
        pem: &str,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, IdentityError> {
        let roots = roots(pem)?;
        let webpki = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|error| IdentityError::Authority(error.to_string()))?;
        Ok(Self { webpki })
    }
}

impl ClientCertVerifier for OnlyClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.webpki.verify_client_cert(end_entity, intermediates, now)?;
        if for_clients(end_entity) {
            return Ok(verified);
        }
        Err(CertificateError::InvalidPurpose.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn for_clients(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return false };
    matches!(parsed.extended_key_usage(), Ok(Some(usage)) if usage.value.client_auth)
}
