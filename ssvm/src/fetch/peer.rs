//! Another secondary storage VM as a source: the one address that the configuration names, by TLS of this copy alone.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use rustls::ClientConfig;
use sluice_api::types::{Secret, SourceUrl};

use super::address::Address;
use super::client::Fetcher;
use crate::identity::{Identity, provider};
use crate::slice::{FetchPolicy, PeerSource};

impl Fetcher {
    /// The same for what another appliance gives, shown `identity`.
    ///
    /// Errors: the identity cannot be used.
    pub fn of_peer(&self, peer: &PeerSource, identity: &Secret) -> Result<Self, String> {
        let policy = FetchPolicy { ports: Vec::new(), redirects: 0, ..self.policy().clone() };
        let client = Client::builder()
            .user_agent(concat!("sluice-ssvm/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(Duration::from_secs(policy.connect_seconds.into()))
            .read_timeout(Duration::from_secs(policy.silence_seconds.into()))
            .resolve(&host(peer), peer.address)
            .tls_backend_preconfigured(tls(identity)?)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(self.speaking_by(client, policy))
    }
}

/// Where the object is.
///
/// Errors: the gift's id cannot stand in an address.
pub fn peer_address(peer: &PeerSource) -> Result<Address, String> {
    let text = format!("https://{}:{}/object", host(peer), peer.address.port());
    let url: SourceUrl = text.parse().map_err(|_| "the gift's id is no name".to_owned())?;
    Address::try_from(&url)
}

/// As it stands in addresses and in certificates.
fn host(peer: &PeerSource) -> String {
    peer.gift.as_str().to_ascii_lowercase()
}

fn tls(identity: &Secret) -> Result<ClientConfig, String> {
    let Identity { own, key, authority } = Identity::read(identity)?;
    let config =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    let config = config.with_root_certificates(Arc::clone(&authority));
    config.with_client_auth_cert(vec![own], key).map_err(|error| format!("an identity: {error}"))
}
