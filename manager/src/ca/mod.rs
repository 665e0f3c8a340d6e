//! The manager's own certificate authority.
//!
//! Guarantees: its key lies beside the store in a file that only its owner may read, is made once however many managers
//! start at the same time, and leaves this module only for a back-up; an appliance's certificate is good as a server under
//! the appliance's id alone, the manager's as a client alone, so neither can play the other. The authority can be changed
//! while appliances run: for as long as the older one is kept, both are trusted, and each appliance is met with the one
//! that it knows. Not here: revocation; short lives stand in for it.

mod copy;
mod file;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use sluice_api::boot::Identity;
use sluice_api::types::{ApplianceId, Secret};
use thiserror::Error;
use time::OffsetDateTime;

pub use copy::{CopyIdentities, for_copy};

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
        source: std::io::Error,
    },
    /// There is no key in it, or a key without its certificate.
    #[error("{} has no key with its certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
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
    /// Digest of its public key.
    pub key: String,
}

/// The authority; clones share its key.
#[derive(Clone, Debug)]
pub struct Authority {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    appliance_life: Duration,
    // what is inside is replaced whole, so a panic elsewhere cannot have left it half written
    keys: RwLock<Arc<Keys>>,
}

/// The authorities of a file, the current one first.
#[derive(Debug)]
struct Keys {
    text: String,
    all: Vec<OneKey>,
}

#[derive(Debug)]
struct OneKey {
    certificate: String,
    fingerprint: String,
    /// Its name, as it stands in the certificates that it issued.
    subject: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
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
            file::create(path, &generate("Sluice manager")?)?;
        }
        let keys = RwLock::new(Arc::new(read(path)?));
        Ok(Self { inner: Arc::new(Inner { path: path.to_owned(), appliance_life, keys }) })
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.inner.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again: another manager may have changed it.
    pub fn reload(&self) -> Result<(), CaError> {
        let keys = Arc::new(read(&self.inner.path)?);
        *self.inner.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Begins a new authority; the older ones stay trusted until [`Authority::retire`].
    pub fn rotate(&self) -> Result<(), CaError> {
        // certificates are told apart by their authority's name, so each has another
        let name = format!("Sluice manager {:08x}", rand::random::<u32>());
        let text = generate(&name)? + &self.keys().text;
        file::replace(&self.inner.path, &text)?;
        self.reload()
    }

    /// Gives up all but the current authority.
    pub fn retire(&self) -> Result<(), CaError> {
        let keys = self.keys();
        let current: String = keys.text.split_inclusive(END).take(1).collect();
        file::replace(&self.inner.path, &current)?;
        self.reload()
    }

    /// The whole file, keys included: for a back-up.
    pub fn text(&self) -> String {
        self.keys().text.clone()
    }

    /// The certificates in PEM, the current one first.
    pub fn certificate(&self) -> String {
        self.keys().all.iter().map(|one| one.certificate.as_str()).collect()
    }

    /// SHA-256 of the certificates, the current one first.
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys().all.iter().map(|one| one.fingerprint.clone()).collect()
    }

    /// Digest of what appliances are told to trust.
    pub fn trusted(&self) -> String {
        sluice_api::Digest::of_bytes(self.certificate().as_bytes()).as_str().to_owned()
    }

    /// True when a certificate of this issuer is one of an older authority.
    pub fn is_older(&self, issuer: &[u8]) -> bool {
        self.keys().all.iter().skip(1).any(|one| one.subject == issuer)
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
        let (keys, subject) = (self.keys(), Subject { names, name: id.as_str(), usage });
        let current = keys.all.first().ok_or_else(|| file::empty(&self.inner.path))?;
        self.issue(current, subject, life)
    }

    /// A certificate with which the manager can be a client.
    pub fn client(&self) -> Result<Issued, CaError> {
        let all = self.clients()?.into_iter().next();
        all.ok_or_else(|| file::empty(&self.inner.path))
    }

    /// The same of each authority, since an appliance may know an older one alone.
    pub fn clients(&self) -> Result<Vec<Issued>, CaError> {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let subject = || Subject { names: Vec::new(), name: "manager", usage: usage.clone() };
        self.keys().all.iter().map(|key| self.issue(key, subject(), CLIENT_LIFE)).collect()
    }

    fn issue(&self, by: &OneKey, subject: Subject<'_>, life: Duration) -> Result<Issued, CaError> {
        let (certificate, key, until) = signed(by, subject, life)?;
        let identity = Identity {
            authority: self.certificate(),
            certificate: certificate.pem(),
            key: Secret::new(key.serialize_pem()),
        };
        let key = key_of(certificate.der()).unwrap_or_default();
        Ok(Issued { identity, until, key })
    }
}

/// Whom a certificate is for.
struct Subject<'a> {
    names: Vec<String>,
    name: &'a str,
    usage: ExtendedKeyUsagePurpose,
}

/// A certificate with its key, and when it ends.
fn signed(
    by: &OneKey,
    subject: Subject<'_>,
    life: Duration,
) -> Result<(rcgen::Certificate, KeyPair, i64), CaError> {
    let what = "a certificate";
    let key = KeyPair::generate().map_err(failed(what))?;
    let mut params = CertificateParams::new(subject.names).map_err(failed(what))?;
    params.distinguished_name.push(DnType::CommonName, subject.name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![subject.usage];
    params.use_authority_key_identifier_extension = true;
    let until = limit(&mut params, life);
    let certificate = params.signed_by(&key, &by.issuer).map_err(failed(what))?;
    Ok((certificate, key, until))
}

/// What a certificate ends with, and with it an authority in the file.
const END: &str = "-----END CERTIFICATE-----\n";

fn read(path: &Path) -> Result<Keys, CaError> {
    let text = file::read(path)?;
    let ends = text.split_inclusive(END).filter(|part| !part.trim().is_empty());
    let all = ends.map(|part| one_key(path, part)).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Err(file::empty(path));
    }
    Ok(Keys { text, all })
}

fn one_key(path: &Path, text: &str) -> Result<OneKey, CaError> {
    let what = "the authority's file";
    let start = text.find("-----BEGIN CERTIFICATE-----").ok_or_else(|| file::empty(path))?;
    let (key, certificate) = text.split_at(start);
    let key = KeyPair::from_pem(key).map_err(failed(what))?;
    let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(failed(what))?;
    let (_, block) =
        x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|_| file::empty(path))?;
    let parsed = block.parse_x509().map_err(|_| file::empty(path))?;
    Ok(OneKey {
        certificate: certificate.to_owned(),
        fingerprint: sluice_api::Digest::of_bytes(&block.contents).as_str().to_owned(),
        subject: parsed.subject().as_raw().to_vec(),
        issuer,
    })
}

/// Digest of the public key in a certificate (DER); none when it cannot be read.
pub fn key_of(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(sluice_api::Digest::of_bytes(parsed.public_key().raw).as_str().to_owned())
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

/// A new authority called `name`: key and certificate in PEM.
fn generate(name: &str) -> Result<String, CaError> {
    let what = "the authority";
    let key = KeyPair::generate().map_err(failed(what))?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params, AUTHORITY_LIFE);
    let certificate = params.self_signed(&key).map_err(failed(what))?;
    Ok(key.serialize_pem() + &certificate.pem())
}

#[cfg(test)]
mod tests;
