//! Copies between secondary storage VMs: who gives which object to whom, for once.
//!
//! Each copy has two certificates of an authority that is made for it alone, one for either side; who has the other one may
//! fetch the one object, and nobody else may connect.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::place::Place;
use crate::types::{BlobDigest, LinkName, ObjectId, Port};

/// Port where objects are given to other secondary storage VMs.
const PORT: u16 = 8443;

/// An address where objects are given to other secondary storage VMs, over TLS with a certificate on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerListener {
    /// A public, management or storage link.
    pub link: LinkName,
    /// One of that link's addresses.
    #[schema(value_type = String, example = "10.4.0.20")]
    pub address: IpAddr,
    /// TCP port. Default 8443.
    #[serde(default)]
    pub port: Option<Port>,
    /// What is given.
    pub gifts: Vec<Gift>,
}

/// One object for one other appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Gift {
    /// The name that its certificate is for; the taker asks for it.
    pub id: ObjectId,
    /// A blob of PEM: the certificate, that of the authority, and the private key (PKCS #8).
    pub identity: BlobDigest,
    /// When it ends, in seconds since 1970-01-01 UTC.
    pub expires: u64,
    /// The store that the object is on.
    pub store: ObjectId,
    /// Where.
    pub place: Place,
}

/// An object of another secondary storage VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerSource {
    /// Id of the gift there.
    pub gift: ObjectId,
    /// Where it is given.
    #[schema(value_type = String, example = "10.4.0.20:8443")]
    pub address: SocketAddr,
    /// A blob of PEM: our certificate, that of the authority, and our private key (PKCS #8).
    pub identity: BlobDigest,
}

impl PeerListener {
    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.map_or(PORT, Port::get)
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port())
    }
}
