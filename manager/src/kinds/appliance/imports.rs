//! How a secondary storage VM brings images in: by which proxy, from which ports, believing whom, how large.

use std::collections::BTreeSet;

use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sluice_api::boot::Role;
use sluice_api::types::{BlobDigest, Secret};

use super::{Appliance, AppliancePatch};
use crate::error::Error;
use crate::kinds::{Context, rule};

/// Most ports that are listed.
const MOST_PORTS: usize = 32;
const MIB: u64 = 1 << 20;

/// Keeps the address of a proxy.
pub(super) async fn proxy(
    context: &mut Context<'_>,
    address: Option<&Secret>,
) -> Result<Option<BlobDigest>, Error> {
    let Some(address) = address else { return Ok(None) };
    let field = "source_proxy";
    if !is_proxy(address.reveal()) {
        return Err(rule::invalid(field, "must be http://[USER:PASSWORD@]HOST:PORT"));
    }
    context.keep_secret(field, address).await.map(Some)
}

/// What is wrong with it may be a secret, so it is not told.
fn is_proxy(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    url.scheme() == "http" && url.has_host() && plain && text.trim() == text
}

/// Keeps authorities. What no appliance takes would hold up all that comes after it.
pub(super) async fn authorities(
    context: &mut Context<'_>,
    pem: Option<&Secret>,
) -> Result<Option<BlobDigest>, Error> {
    let Some(pem) = pem.map(Secret::reveal) else { return Ok(None) };
    if !are_authorities(pem) {
        let reason = "must be one or more certificates in PEM, each of an authority";
        return Err(rule::invalid("source_authorities", reason));
    }
    context.keep(pem.as_bytes()).await.map(Some)
}

fn are_authorities(pem: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
    all.all(|one| one.is_ok_and(|one| roots.add(one).is_ok())) && !roots.is_empty()
}

impl Appliance {
    /// Whether what is said of imports can be, and is of an ssvm.
    pub(super) fn imports_are_sound(&self) -> Result<(), Error> {
        let given = [
            ("source_proxy", self.source_proxy.is_some()),
            ("source_authorities", self.source_authorities.is_some()),
            ("source_ports", !self.source_ports.is_empty()),
            ("most_disk_bytes", self.most_disk_bytes.is_some()),
            ("unpack_bytes", self.unpack_bytes.is_some()),
            ("image_jobs", self.image_jobs.is_some()),
        ];
        let given = given.into_iter().find(|(_, given)| *given && self.role != Role::Ssvm);
        if let Some((field, _)) = given {
            return Err(rule::invalid(field, "is of an ssvm alone"));
        }
        let different: BTreeSet<_> = self.source_ports.iter().collect();
        if different.len() < self.source_ports.len() || different.len() > MOST_PORTS {
            let reason = format!("must be at most {MOST_PORTS} ports, each of them once");
            return Err(rule::invalid("source_ports", reason));
        }
        within("most_disk_bytes", self.most_disk_bytes, (MIB, 64 << 40))?;
        within("unpack_bytes", self.unpack_bytes, (MIB, 4 << 30))?;
        within("image_jobs", self.image_jobs.map(u64::from), (1, 64))
    }

    pub(super) async fn change_imports(
        &mut self,
        context: &mut Context<'_>,
        patch: &AppliancePatch,
    ) -> Result<(), Error> {
        if let Some(networks) = &patch.allowed_sources {
            self.allowed_sources.clone_from(networks);
        }
        if let Some(address) = &patch.source_proxy {
            self.source_proxy = proxy(context, address.as_ref()).await?;
        }
        if let Some(pem) = &patch.source_authorities {
            self.source_authorities = authorities(context, pem.as_ref()).await?;
        }
        if let Some(ports) = &patch.source_ports {
            self.source_ports.clone_from(ports);
        }
        self.most_disk_bytes = patch.most_disk_bytes.unwrap_or(self.most_disk_bytes);
        self.unpack_bytes = patch.unpack_bytes.unwrap_or(self.unpack_bytes);
        self.image_jobs = patch.image_jobs.unwrap_or(self.image_jobs);
        self.imports_are_sound()
    }
}

fn within(field: &'static str, value: Option<u64>, (least, most): (u64, u64)) -> Result<(), Error> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(rule::invalid(field, format!("must be {least} to {most}, not {value}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_address_of_a_host_and_no_more() {
        for good in
            ["http://192.0.2.20:3128", "http://bob:hush@proxy.example.org:3128", "http://p/"]
        {
            assert!(is_proxy(good), "{good}");
        }
        for bad in [
            "",
            "proxy.example.org:3128",
            "https://proxy.example.org",
            "socks5://192.0.2.20",
            "http://",
            "http://p/path",
            "http://p?query",
            "http://p:70000",
            " http://p",
        ] {
            assert!(!is_proxy(bad), "{bad}");
        }
    }

    #[test]
    fn authorities_are_certificates() {
        for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(!are_authorities(bad), "{bad}");
        }
    }
}
