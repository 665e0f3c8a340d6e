//! What the L2TP process is told.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sluice_api::RouterDocument;
use sluice_api::config::vpn::{Authentication, RemoteAccess, VpnUser, secret_of_blob};
use sluice_api::types::{
    BlobDigest, Cidr, ClientRange, ObjectId, Secret, SecretBytes, VpnUserName,
};

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
    /// Networks that they are told are behind the tunnel, when they ask.
    #[serde(default)]
    pub routes: Vec<Cidr>,
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
    /// How often it was asked to end this user's sessions.
    #[serde(default)]
    pub disconnects: u32,
}

/// The L2TP process's part of `config`. A user whose password is not made as blobs of passwords are cannot come in.
pub fn slice<'a>(
    config: &RouterDocument,
    secret: impl Fn(&BlobDigest) -> Option<&'a SecretBytes>,
) -> LnsSlice {
    let text = |digest: &BlobDigest| secret_of_blob(secret(digest)?.reveal()).map(Secret::new);
    let user = |user: &VpnUser| {
        Some(UserSlice {
            name: user.name.clone(),
            password: text(&user.password)?,
            disconnects: user.disconnects,
        })
    };
    let access = |access: &RemoteAccess| AccessSlice {
        id: access.id.clone(),
        address: access.address,
        range: access.range,
        users: access.users.iter().filter_map(user).collect(),
        dns: resolvers(config, access),
        routes: routes(config, access),
        authentication: access.authentication.clone(),
    };
    LnsSlice { accesses: config.role.vpn.remote_access.iter().map(access).collect() }
}

/// The whole VPC, whose tiers come and go, or each network that clients reach.
fn routes(config: &RouterDocument, access: &RemoteAccess) -> Vec<Cidr> {
    if let Some(vpc) = &config.role.vpc {
        return vec![vpc.cidr];
    }
    let networks = config.role.networks.iter();
    let reached = networks.filter(|network| access.networks.contains(&network.id));
    reached.flat_map(|network| network.spans().map(|(cidr, _)| cidr)).collect()
}

/// What clients are told: the router itself, at the address of the first network that they reach.
fn resolvers(config: &RouterDocument, access: &RemoteAccess) -> Vec<Ipv4Addr> {
    if !access.dns.is_empty() {
        return access.dns.clone();
    }
    let mut networks = config.role.networks.iter();
    let first = networks.find(|network| access.networks.first() == Some(&network.id));
    first.map(|network| network.gateway).into_iter().collect()
}
