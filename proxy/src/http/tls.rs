//! TLS towards browsers: which certificate, which versions.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use crate::slice::Certificate;
use crate::values::HostPattern;

/// The server's side of TLS with `certificates`; none without any.
///
/// Errors: a certificate cannot be read, or the key is not its own.
pub(crate) fn certificates(
    certificates: &[Certificate],
) -> Result<Option<Arc<ServerConfig>>, String> {
    if certificates.is_empty() {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let keys = certificates.iter().enumerate().map(|(at, certificate)| {
        certified(certificate).map_err(|error| format!("certificates[{at}]: {error}"))
    });
    let resolver = Resolver { keys: keys.collect::<Result<_, _>>()? };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    // browsers keep one connection for the WebSocket anyway, which HTTP/2 would need an extension for
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn certified(certificate: &Certificate) -> Result<(Vec<HostPattern>, Arc<CertifiedKey>), String> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("chain: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.reveal().as_bytes())
        .map_err(|error| format!("key: {error}"))?;
    let names = chain.first().map(|own| names(own)).unwrap_or_default();
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| error.to_string())?;
    Ok((names, Arc::new(key)))
}

/// The DNS names in a certificate.
fn names(certificate: &CertificateDer<'_>) -> Vec<HostPattern> {
    use x509_parser::extensions::GeneralName;
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        _ => None,
    });
    names.collect()
}

/// Chooses by the name that the browser asks for; the first certificate is for everybody else.
#[derive(Debug)]
struct Resolver {
    keys: Vec<(Vec<HostPattern>, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        let has = |names: &[HostPattern]| {
            asked.is_some_and(|asked| names.iter().any(|name| name.matches(asked)))
        };
        let chosen = self.keys.iter().find(|(names, _)| has(names));
        chosen.or(self.keys.first()).map(|(_, key)| Arc::clone(key))
    }
}
