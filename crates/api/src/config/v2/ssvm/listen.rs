//! Where uploads and downloads are served.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{BlobDigest, LinkName, Port};

/// An address that browsers and tools come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// A public or management link.
    pub link: LinkName,
    /// One of that link's addresses.
    #[schema(value_type = String, example = "198.51.100.20")]
    pub address: IpAddr,
    /// TCP port. Default 443 with TLS, 80 without.
    #[serde(default)]
    pub port: Option<Port>,
    /// A blob of PEM: the certificate chain, the server's own first, and its private key (PKCS #8). Default: plain HTTP, for
    /// what is behind a front that has TLS.
    #[serde(default)]
    pub tls: Option<BlobDigest>,
}

impl Listener {
    /// Its port.
    pub fn port(&self) -> u16 {
        let default = if self.tls.is_some() { 443 } else { 80 };
        self.port.map_or(default, Port::get)
    }
}
