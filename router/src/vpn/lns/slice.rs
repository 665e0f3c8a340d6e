//! What the L2TP process is told.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sluice_api::config::vpn::Authentication;
use sluice_api::types::{ClientRange, ObjectId, Secret, VpnUserName};

/// Everything the L2TP process needs of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LnsSlice {
    /// Remote accesses, at most one for each address.
    pub accesses: Vec<AccessSlice>,
}

/// One remote access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSlice {
    /// Its id.
    pub id: ObjectId,
    /// The address that clients call.
    pub address: Ipv4Addr,
    /// The server's end and the clients'.
    pub range: ClientRange,
    /// Who may come in.
    pub users: Vec<UserSlice>,
    /// Name servers that clients are told.
    pub dns: Vec<Ipv4Addr>,
    /// Ways to prove oneself.
    pub authentication: Vec<Authentication>,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSlice {
    /// Name.
    pub name: VpnUserName,
    /// Password.
    pub password: Secret,
}
