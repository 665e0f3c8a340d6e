//! Who we are towards clients, and which clients we talk to; replaceable while running.
//!
//! Guarantees: TLS 1.3 only; a client must show a certificate that our authority issued for clients, so another
//! appliance's (for servers only) is refused; a new identity counts for every connection from then on, and one that
//! cannot be used, or with which whoever sends it could not come back, changes nothing. Not here: revocation; short lives
//! stand in for it. The identity of the boot document is not held against the clock, which may be wrong at start.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sluice_api::boot::{BootDocument, Identity};
use sluice_api::types::ApplianceId;
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::trust::{self, Life, OnlyClients};

/// Why an identity cannot be used. A retry does not help but for [`IdentityError::Keep`].
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Not PEM, or nothing of that kind in it.
    #[error("the {what} is not usable PEM")]
    Pem {
        /// Authority, certificate or key.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate is for somebody else.
    #[error("the certificate is not for {appliance}")]
    WrongName {
        /// Who we are.
        appliance: ApplianceId,
    },
    /// The authority is not a certificate that can issue others.
    #[error("the authority cannot be used: {0}")]
    Authority(String),
    /// Certificate and key do not fit each other or are of a kind that is not supported.
    #[error("certificate and key cannot be used")]
    Tls(#[from] rustls::Error),
    /// Clients that trust the authority would not trust the certificate: not its issue, not valid now, not for servers.
    #[error("the certificate would not be trusted by clients of the authority")]
    Untrusted(#[source] rustls::Error),
    /// Whoever sends the identity could not connect any more.
    #[error(
        "the authority would not let the sender of this in again; to change it, send the old and the new one together"
    )]
    LockedOut(#[source] rustls::Error),
    /// The boot document in RAM could not be rewritten; the old identity stays.
    #[error("cannot keep the identity in {}", path.display())]
    Keep {
        /// The boot document.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl IdentityError {
    /// The field of the identity that is at fault; empty when it is none of them.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Pem { what, .. } => what,
            Self::WrongName { .. } | Self::Untrusted(_) => "certificate",
            Self::Authority(_) | Self::LockedOut(_) => "authority",
            Self::Tls(_) => "key",
            Self::Keep { .. } => "",
        }
    }
}

/// The identity in use.
#[derive(Debug)]
pub struct Identities {
    appliance: ApplianceId,
    boot_file: Option<PathBuf>,
    tls: ArcSwap<ServerConfig>,
}

impl Identities {
    /// Starts with `identity`; later ones are also written into `boot_file`.
    pub fn new(
        identity: &Identity,
        appliance: ApplianceId,
        boot_file: Option<PathBuf>,
    ) -> Result<Self, IdentityError> {
        let tls = ArcSwap::from_pointee(server_config(identity, &appliance)?);
        Ok(Self { appliance, boot_file, tls })
    }

    /// For the next connection.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.tls.load_full()
    }

    /// Uses `identity` from the next connection on; connections that are open go on. `sender` is the certificate chain of
    /// the client that asks for it.
    pub fn renew(
        &self,
        identity: &Identity,
        sender: &[CertificateDer<'_>],
    ) -> Result<(), IdentityError> {
        let tls = server_config(identity, &self.appliance)?;
        trust::both_ways(identity, &self.appliance, sender, UnixTime::now())?;
        if let Some(path) = &self.boot_file {
            keep(path, identity)
                .map_err(|source| IdentityError::Keep { path: path.clone(), source })?;
        }
        self.tls.store(Arc::new(tls));
        tracing::info!("identity renewed");
        Ok(())
    }
}

fn server_config(
    identity: &Identity,
    appliance: &ApplianceId,
) -> Result<ServerConfig, IdentityError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates("certificate", &identity.certificate)?;
    if !chain.first().is_some_and(|own| is_for(own, appliance)) {
        return Err(IdentityError::WrongName { appliance: appliance.clone() });
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key.reveal().as_bytes())
        .map_err(|source| IdentityError::Pem { what: "key", source })?;
    let life = chain.first().and_then(Life::of);
    trust::tell_wrong_clock(life, UnixTime::now());
    let clients = OnlyClients::issued_by(&identity.authority, life, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(clients))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // a resumed session would skip the look at the client's certificate and outlive a renewal
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

pub(super) fn certificates(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem_error = |source| IdentityError::Pem { what, source };
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(pem_error)?;
    if list.is_empty() {
        return Err(pem_error(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(list)
}

/// Whether the certificate's alternative names have the appliance's id.
fn is_for(certificate: &CertificateDer<'_>, appliance: &ApplianceId) -> bool {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return false };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| {
        matches!(name, GeneralName::DNSName(name) if name.eq_ignore_ascii_case(appliance.as_str()))
    })
}

/// Replaces the identity in the boot document, whole or not at all.
fn keep(path: &Path, identity: &Identity) -> io::Result<()> {
    let mut document: BootDocument = serde_json::from_slice(&fs::read(path)?)?;
    // what is sealed on the disk stays readable under the new key
    document.seal_key = Some(crate::blobs::seal_key(&document));
    document.identity = identity.clone();
    let next = path.with_extension("next");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(&serde_json::to_vec(&document)?)?;
    fs::rename(next, path)
}
