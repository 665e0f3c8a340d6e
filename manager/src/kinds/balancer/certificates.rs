//! Certificates of a rule: looked at before they are kept.

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sluice_api::types::{BlobDigest, Secret};

use crate::error::Error;
use crate::kinds::{Context, rule};

/// Most bytes of one: a chain is some kilobytes.
const MOST: usize = 1 << 18;

/// Keeps each of them, and returns the digests that a configuration names.
///
/// Errors: one is no chain in PEM with the private key that fits it; which one, and why.
pub(super) async fn keep(
    context: &mut Context<'_>,
    certificates: &[Secret],
) -> Result<Vec<BlobDigest>, Error> {
    let mut digests = Vec::with_capacity(certificates.len());
    for (number, pem) in (1..).zip(certificates) {
        let pem = pem.reveal();
        sound(pem).map_err(|reason| {
            rule::invalid("certificates", format!("certificate {number} {reason}"))
        })?;
        digests.push(context.keep(pem.as_bytes()).await?);
    }
    Ok(digests)
}

fn sound(pem: &str) -> Result<(), String> {
    if pem.len() > MOST {
        return Err(format!("has {} bytes, more than {MOST}", pem.len()));
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("has no certificate in PEM".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| format!("has no private key in PEM: {error}"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map(drop)
        .map_err(|error| format!("cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_the_key_that_fits_it() {
        let made = || rcgen::generate_simple_self_signed(["www.example.net".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let pem = |chain: &rcgen::CertifiedKey<rcgen::KeyPair>,
                   key: &rcgen::CertifiedKey<rcgen::KeyPair>| {
            format!("{}{}", chain.cert.pem(), key.signing_key.serialize_pem())
        };
        assert_eq!(sound(&pem(&one, &one)), Ok(()));
        for (bad, why) in [
            (pem(&one, &other), "cannot be used"),
            (one.cert.pem(), "no private key"),
            (one.signing_key.serialize_pem(), "no certificate"),
            ("x".repeat(MOST + 1), "more than"),
        ] {
            let reason = sound(&bad).unwrap_err();
            assert!(reason.contains(why), "{reason}");
        }
    }
}
