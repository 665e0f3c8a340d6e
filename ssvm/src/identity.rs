//! The certificates of a copy between two appliances: one of our own, and the authority that the other one's must be of.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sluice_api::types::Secret;

/// What one side of a copy shows and believes.
pub(crate) struct Identity {
    /// Its certificate.
    pub(crate) own: CertificateDer<'static>,
    /// The key of that.
    pub(crate) key: PrivateKeyDer<'static>,
    /// The authority of this copy alone.
    pub(crate) authority: Arc<RootCertStore>,
}

impl Identity {
    /// Reads a certificate, its authority's and a key.
    ///
    /// Errors: one of them is missing; what is there is not quoted, for it could be the key.
    pub(crate) fn read(pem: &Secret) -> Result<Self, String> {
        let pem = pem.reveal().as_bytes();
        let mut certificates = CertificateDer::pem_slice_iter(pem);
        let mut next = || certificates.next().and_then(Result::ok);
        let own = next().ok_or("an identity has no certificate")?;
        let mut roots = RootCertStore::empty();
        let authority = next().ok_or("an identity has no authority")?;
        roots.add(authority).map_err(|_| "an identity's authority cannot be read")?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "an identity has no key")?;
        Ok(Self { own, key, authority: Arc::new(roots) })
    }
}

/// What TLS is made of here.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
