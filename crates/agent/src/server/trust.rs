//! Who trusts whom: clients us by our certificate, we clients by theirs.
//!
//! Guarantees: an identity that passes [`both_ways`] can be reached with, by whoever sent it and as of now.

use std::sync::Arc;
use std::time::Duration;

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
    let clients = OnlyClients::issued_by(&identity.authority, None, &provider)?;
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

/// When a certificate is valid, Unix seconds, both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    from: u64,
    until: u64,
}

impl Life {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        let validity = parsed.validity();
        let seconds = |time: i64| u64::try_from(time).ok();
        let from = seconds(validity.not_before.timestamp())?;
        Some(Self { from, until: seconds(validity.not_after.timestamp())? })
    }

    fn has(self, now: UnixTime) -> bool {
        (self.from..=self.until).contains(&now.as_secs())
    }
}

/// Says that the clock cannot be right: an identity was issued for the present.
pub(super) fn tell_wrong_clock(life: Option<Life>, now: UnixTime) {
    if let Some(Life { from, until }) = life.filter(|life| !life.has(now)) {
        let alarm = "the clock is outside the life of the own certificate";
        tracing::error!(
            alarm,
            now = now.as_secs(),
            from,
            until,
            "clock is wrong; the manager will set it"
        );
    }
}

/// WebPKI's verifier, and the certificate must say that it is for clients; WebPKI alone accepts one that says nothing.
///
/// A clock outside the life of the own certificate is wrong, and must not keep the manager out, which alone can put it right:
/// then a client's certificate is looked at as of its own beginning. What an old certificate of the manager could do with
/// that it could do while it was valid.
#[derive(Debug)]
pub(super) struct OnlyClients {
    webpki: Arc<dyn ClientCertVerifier>,
    /// That of the own certificate; none: the clock is believed.
    life: Option<Life>,
}

impl OnlyClients {
    pub(super) fn issued_by(
        pem: &str,
        life: Option<Life>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, IdentityError> {
        let roots = roots(pem)?;
        let webpki = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|error| IdentityError::Authority(error.to_string()))?;
        Ok(Self { webpki, life })
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
        let clock_is_wrong = self.life.is_some_and(|life| !life.has(now));
        let begun = Life::of(end_entity).filter(|_| clock_is_wrong);
        let now =
            begun.map_or(now, |life| UnixTime::since_unix_epoch(Duration::from_secs(life.from)));
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

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };

    use super::*;

    /// An authority in PEM, and a client's certificate of its that is valid in these years.
    fn issued(from: i32, until: i32) -> (String, CertificateDer<'static>) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(1990, 1, 1);
        params.not_after = rcgen::date_time_ymd(2090, 1, 1);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let mut client = CertificateParams::new([]).unwrap();
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        client.not_before = rcgen::date_time_ymd(from, 1, 1);
        client.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = client.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        (authority, certificate.der().clone())
    }

    fn at(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600 + 86_400))
    }

    #[test]
    fn a_wrong_clock_keeps_no_client_out_and_a_right_one_keeps_out_who_is_late() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (authority, client) = issued(2030, 2032);
        let own = Life { from: at(2029).as_secs(), until: at(2040).as_secs() };
        let clients = OnlyClients::issued_by(&authority, Some(own), &provider).unwrap();
        let lets_in = |year| clients.verify_client_cert(&client, &[], at(year)).is_ok();
        assert!(lets_in(2031));
        assert!(!lets_in(2035), "it ended, and the clock is right");
        assert!(lets_in(1999) && lets_in(2050), "the clock says nothing");
        let believing = OnlyClients::issued_by(&authority, None, &provider).unwrap();
        assert!(believing.verify_client_cert(&client, &[], at(1999)).is_err());
        let (other, _) = issued(2030, 2032);
        let strict = OnlyClients::issued_by(&other, Some(own), &provider).unwrap();
        assert!(strict.verify_client_cert(&client, &[], at(1999)).is_err(), "another authority's");
    }
}
