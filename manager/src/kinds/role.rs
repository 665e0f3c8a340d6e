//! What the kinds of console proxies and secondary storage VMs share: which appliance is meant, and what it shows to the
//! public.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sluice_api::boot::Role;
use sluice_api::types::{ApplianceId, BlobDigest, ObjectId, Secret};

use super::Context;
use super::appliance::Appliance;
use super::zone::Zone;
use crate::error::Error;

/// Digests of a certificate's blobs.
#[derive(Clone, Copy)]
pub(super) struct Certificate {
    pub(super) whole: BlobDigest,
    pub(super) chain: BlobDigest,
    pub(super) key: BlobDigest,
}

/// The named appliance of `role` in the zone, or the zone's only one.
pub(super) async fn of_role(
    context: &mut Context<'_>,
    zone: &Zone,
    role: Role,
    name: Option<&ObjectId>,
) -> Result<ApplianceId, Error> {
    let word = word(role);
    let invalid = |reason| Error::Invalid { field: "router", reason };
    if let Some(name) = name {
        let found: Appliance = context.find(Some(&zone.id), name).await?;
        if found.role == role {
            return Ok(found.id);
        }
        return Err(invalid(format!("{} is no {word}", found.name)));
    }
    let mut all = all(context, &zone.id, role).await?;
    let count = all.len();
    let only = all.pop().filter(|_| count == 1);
    only.map(|appliance| appliance.id).ok_or_else(|| {
        invalid(format!("must be given: zone {} has {count} appliances of role {word}", zone.name))
    })
}

/// The console proxies of a zone.
pub(super) async fn proxies(
    context: &mut Context<'_>,
    zone: &ObjectId,
) -> Result<Vec<Appliance>, Error> {
    all(context, zone, Role::Proxy).await
}

async fn all(
    context: &mut Context<'_>,
    zone: &ObjectId,
    role: Role,
) -> Result<Vec<Appliance>, Error> {
    context.all::<Appliance>(&[("zone", zone.as_str()), ("role", word(role))]).await
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Router => "router",
        Role::Proxy => "proxy",
        Role::Ssvm => "ssvm",
    }
}

/// The key by which all proxies of a zone know browsers again, so that a session goes on at another one.
pub(super) async fn cookie_key(
    context: &mut Context<'_>,
    zone: &ObjectId,
) -> Result<BlobDigest, Error> {
    let known = proxies(context, zone).await?.into_iter().find_map(|proxy| proxy.cookie_key);
    match known {
        Some(digest) => Ok(digest),
        None => context.keep(STANDARD.encode(rand::random::<[u8; 32]>()).as_bytes()).await,
    }
}

/// A certificate as it is given: the whole, the chain alone and the key alone are kept.
pub(super) async fn certificate(
    context: &mut Context<'_>,
    pem: Option<&Secret>,
) -> Result<Option<Certificate>, Error> {
    let Some(pem) = pem.map(Secret::reveal) else { return Ok(None) };
    let (chain, key) = parts(pem);
    if chain.is_empty() || !key.contains("PRIVATE KEY-----") {
        let reason = "must have a certificate chain and a private key in PEM".to_owned();
        return Err(Error::Invalid { field: "certificate", reason });
    }
    usable(&chain, &key).map_err(|error| Error::Invalid {
        field: "certificate",
        reason: format!("is none that TLS can use: {error}"),
    })?;
    Ok(Some(Certificate {
        whole: context.keep(pem.as_bytes()).await?,
        chain: context.keep(chain.as_bytes()).await?,
        key: context.keep(key.as_bytes()).await?,
    }))
}

/// Whether a chain and a key belong together. What no appliance takes would hold up all that comes after it, and links that
/// are revoked would stay good.
fn usable(chain: &str, key: &str) -> Result<(), String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| error.to_string())?;
    Ok(())
}

/// Whether there is a certificate in a PEM text.
pub(super) fn has_certificate(pem: &str) -> bool {
    !parts(pem).0.is_empty()
}

/// The certificates of a PEM text, and everything else in it.
fn parts(pem: &str) -> (String, String) {
    let (mut chain, mut key) = (String::new(), String::new());
    for block in pem.split("-----BEGIN ").skip(1) {
        let part = if block.starts_with("CERTIFICATE-----") { &mut chain } else { &mut key };
        part.push_str("-----BEGIN ");
        part.push_str(block);
    }
    (chain, key)
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_pem_text_is_told_apart_whatever_the_order() {
        let [own, key, issuer] = ["CERTIFICATE", "PRIVATE KEY", "CERTIFICATE"]
            .map(|word| format!("-----BEGIN {word}-----\nAAAA\n-----END {word}-----\n"));
        let (chain, rest) = parts(&format!("note\n{own}{key}{issuer}"));
        assert_eq!((chain, rest), (format!("{own}{issuer}"), key));
        assert_eq!(parts("no PEM"), (String::new(), String::new()));
    }
}
