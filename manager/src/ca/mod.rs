//! The manager's own certificate authority.
//!
//! Guarantees: its key lies beside the store in a file that only its owner may read, is made once however many managers
//! start at the same time, and leaves this module never; an appliance's certificate is good as a server under the
//! appliance's id alone, the manager's as a client alone, so neither can play the other. Not here: revocation; short
//! lives stand in for it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use sluice_api::boot::Identity;
use sluice_api::types::{ApplianceId, Secret};
use thiserror::Error;
use time::OffsetDateTime;

/// How far before now a certificate starts: an appliance's clock may be behind.
const BACKDATED: Duration = Duration::from_hours(24);
/// Life of the authority itself.
const AUTHORITY_LIFE: Duration = Duration::from_hours(24 * 365 * 10);
/// Life of the manager's client certificate; it is made anew at every start and daily.
const CLIENT_LIFE: Duration = Duration::from_hours(24 * 7);

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CaError {
    /// The authority's file.
    #[error("{} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in it, or what was to be signed.
    #[error("{what} cannot be made or read")]
    Certificate {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

/// An appliance's certificate and when it ends.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Authority, certificate and key in PEM.
    pub identity: Identity,
    /// End of the certificate, Unix seconds.
    pub until: i64,
}

/// The authority; clones share its key.
#[derive(Clone, Debug)]
pub struct Authority {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    appliance_life: Duration,
}

impl Authority {
    /// The authority beside the store at `store` (`manager.db` has `manager.ca.pem`), made if there is none.
    /// `appliance_life` is how long certificates of appliances are good.
    pub fn open(store: &Path, appliance_life: Duration) -> Result<Self, CaError> {
        Self::at(&store.with_extension("ca.pem"), appliance_life)
    }

    /// The authority in the file at `path`, made if there is none.
    pub fn at(path: &Path, appliance_life: Duration) -> Result<Self, CaError> {
        if !path.exists() {
            create(path)?;
        }
        let text = fs::read_to_string(path)
            .map_err(|source| CaError::File { path: path.to_owned(), source })?;
        Self::from_pem(&text, appliance_life)
    }

    fn from_pem(text: &str, appliance_life: Duration) -> Result<Self, CaError> {
        let what = "the authority's file";
        let start = text.find("-----BEGIN CERTIFICATE-----").unwrap_or(0);
        let (key, certificate) = text.split_at(start);
        let key = KeyPair::from_pem(key).map_err(failed(what))?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(failed(what))?;
        let certificate = certificate.to_owned();
        Ok(Self { inner: Arc::new(Inner { certificate, issuer, appliance_life }) })
    }

    /// The authority's certificate in PEM.
    pub fn certificate(&self) -> &str {
        &self.inner.certificate
    }

    /// How long certificates of appliances are good.
    pub fn appliance_life(&self) -> Duration {
        self.inner.appliance_life
    }

    /// A certificate with which `appliance` can be a server.
    pub fn appliance(&self, appliance: &ApplianceId) -> Result<Issued, CaError> {
        self.appliance_for(appliance, self.inner.appliance_life)
    }

    /// The same with a life of its own; tests and rebuilds with a slow clock need it.
    pub fn appliance_for(&self, id: &ApplianceId, life: Duration) -> Result<Issued, CaError> {
        let names = vec![id.as_str().to_owned()];
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        self.issue(names, id.as_str(), usage, life)
    }

    /// A certificate with which the manager can be a client.
    pub fn client(&self) -> Result<Issued, CaError> {
        self.issue(Vec::new(), "manager", ExtendedKeyUsagePurpose::ClientAuth, CLIENT_LIFE)
    }

    fn issue(
        &self,
        names: Vec<String>,
        common_name: &str,
        usage: ExtendedKeyUsagePurpose,
        life: Duration,
    ) -> Result<Issued, CaError> {
        let what = "a certificate";
        let key = KeyPair::generate().map_err(failed(what))?;
        let mut params = CertificateParams::new(names).map_err(failed(what))?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let until = limit(&mut params, life);
        let certificate = params.signed_by(&key, &self.inner.issuer).map_err(failed(what))?;
        let identity = Identity {
            authority: self.inner.certificate.clone(),
            certificate: certificate.pem(),
            key: Secret::new(key.serialize_pem()),
        };
        Ok(Issued { identity, until })
    }
}

fn failed(what: &'static str) -> impl Fn(rcgen::Error) -> CaError {
    move |source| CaError::Certificate { what, source }
}

/// Sets the life of a certificate and returns its end.
fn limit(params: &mut CertificateParams, life: Duration) -> i64 {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
    params.not_after.unix_timestamp()
}

/// Writes a new authority to `path`, unless another manager was faster; theirs is as good.
fn create(path: &Path) -> Result<(), CaError> {
    let text = generate()?;
    let file = |source| CaError::File { path: path.to_owned(), source };
    let draft = path.with_extension(format!(
        "{}-{:?}.new",
        std::process::id(),
        std::thread::current().id()
    ));
    let written = write_private(&draft, &text).and_then(|()| match fs::hard_link(&draft, path) {
        // a link is made only where there is nothing, so exactly one manager wins
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(path),
    });
    let removed = fs::remove_file(&draft);
    written.and(removed).map_err(file)
}

fn generate() -> Result<String, CaError> {
    let what = "the authority";
    let key = KeyPair::generate().map_err(failed(what))?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Sluice manager");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params, AUTHORITY_LIFE);
    let certificate = params.self_signed(&key).map_err(failed(what))?;
    Ok(key.serialize_pem() + &certificate.pem())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // a draft of a manager that was killed, with the same process id
    let _ = fs::remove_file(path);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
