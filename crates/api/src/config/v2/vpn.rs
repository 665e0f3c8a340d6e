//! Virtual private networks of a router: site-to-site connections and remote access.
//!
//! Secrets are blobs. A digest stands in documents in clear, so whoever makes such a blob writes a line of random characters
//! first and the secret after it: the digest then tells nobody when a guess is right.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{
    BlobDigest, Cidr, ClientRange, DhGroup, HostAddress, IkeId, LifetimeSeconds, ObjectId,
    VpnUserName,
};

/// All tunnels of a router. Default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnConfig {
    /// May algorithms be used that can be broken today or soon: 3DES, MD5, groups 2 and 5? Default: no. With yes each use
    /// is a warning.
    #[serde(default)]
    pub allow_obsolete: bool,
    /// Site-to-site connections. Default: none.
    #[serde(default)]
    pub connections: Vec<VpnConnection>,
    /// Remote access, L2TP over IPsec (RFC 3193). Default: none.
    #[serde(default)]
    pub remote_access: Vec<RemoteAccess>,
}

impl VpnConfig {
    /// True when there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The secrets that it names.
    pub fn blobs(&self) -> impl Iterator<Item = BlobDigest> {
        let sites = self.connections.iter().map(|connection| connection.gateway.psk);
        let accesses = self.remote_access.iter().flat_map(|access| {
            let passwords = access.users.iter().map(|user| user.password);
            passwords.chain([access.psk])
        });
        sites.chain(accesses)
    }
}

/// A tunnel between networks of ours and those behind a customer's gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnConnection {
    /// Id of the connection, unique in the configuration.
    pub id: ObjectId,
    /// Our end: a public address of this router.
    #[schema(value_type = String, example = "198.51.100.10")]
    pub address: Ipv4Addr,
    /// How we name ourselves. Default: our address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_id: Option<IkeId>,
    /// Networks of ours that the peer reaches, IPv4; at least one.
    pub local_networks: Vec<Cidr>,
    /// Wait for the peer to begin. Default: no, we begin as soon as the configuration is in force.
    #[serde(default)]
    pub passive: bool,
    /// How often a reset was asked for: another number than before ends the connection and begins it anew. Default: 0.
    #[serde(default)]
    pub resets: u32,
    /// The other end.
    pub gateway: CustomerGateway,
}

/// The other end of a site-to-site connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerGateway {
    /// Id of the gateway; one gateway has one connection.
    pub id: ObjectId,
    /// Its address. None: it may come from anywhere, which asks for a passive connection and an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<HostAddress>,
    /// How it names itself; behind NAT that is often its inside address. Default: its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<IkeId>,
    /// Networks behind it, IPv4; at least one. None may overlap a network of this router or of another connection.
    pub networks: Vec<Cidr>,
    /// The pre-shared key.
    pub psk: BlobDigest,
    /// The first phase.
    pub ike: IkePolicy,
    /// The second phase.
    pub esp: EspPolicy,
    /// Ask a silent peer whether it is there (RFC 3706, RFC 7296 1.4), every 30 s; one that is gone is called again.
    /// Default: yes.
    #[serde(default = "yes")]
    pub dead_peer_detection: bool,
    /// Wrap ESP in UDP although no NAT is seen, for networks that drop ESP. Default: no.
    #[serde(default)]
    pub force_encapsulation: bool,
}

/// How the two ends prove themselves and agree on keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IkePolicy {
    /// Which IKE. Default: 2.
    #[serde(default)]
    pub version: IkeVersion,
    /// Encryption.
    pub encryption: Encryption,
    /// Integrity, and the pseudo-random function.
    pub hash: Hash,
    /// Diffie-Hellman group. None: any of 31, 20, 19, 16, 15 and 14, and with `allow_obsolete` 5 and 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<DhGroup>,
    /// New keys after this time. Default: 86400.
    #[serde(default = "day")]
    pub lifetime_seconds: LifetimeSeconds,
}

/// How packets are protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EspPolicy {
    /// Encryption.
    pub encryption: Encryption,
    /// Integrity; none with encryption that has its own (GCM), and needed with the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// Perfect forward secrecy: this group anew for each key. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pfs: Option<DhGroup>,
    /// New keys after this time. Default: 3600.
    #[serde(default = "hour")]
    pub lifetime_seconds: LifetimeSeconds,
}

/// Version of IKE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IkeVersion {
    /// Version 1, main mode (RFC 2409).
    V1,
    /// Version 2 (RFC 7296).
    #[default]
    V2,
    /// We begin with version 2, and take either from a peer that begins.
    Any,
}

/// Encryption algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// AES-CBC, 128 bits (RFC 3602).
    Aes128,
    /// AES-CBC, 192 bits.
    Aes192,
    /// AES-CBC, 256 bits.
    Aes256,
    /// AES-GCM, 128 bits, with its own integrity of 128 bits (RFC 4106, RFC 5282).
    Aes128Gcm,
    /// AES-GCM, 256 bits.
    Aes256Gcm,
    /// 3DES-CBC (RFC 2451); obsolete.
    #[serde(rename = "3des")]
    TripleDes,
}

impl Encryption {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Aes128,
        Self::Aes192,
        Self::Aes256,
        Self::Aes128Gcm,
        Self::Aes256Gcm,
        Self::TripleDes,
    ];

    /// True when it brings its own integrity.
    pub const fn has_integrity(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes256Gcm)
    }

    /// True when it can be broken today or soon (RFC 8221 5).
    pub const fn is_obsolete(self) -> bool {
        matches!(self, Self::TripleDes)
    }
}

/// Hash algorithms, used as HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hash {
    /// HMAC-MD5-96 (RFC 2403); obsolete.
    Md5,
    /// HMAC-SHA1-96 (RFC 2404).
    Sha1,
    /// HMAC-SHA-256-128 (RFC 4868): 128 bits, where some old peers cut to 96.
    Sha256,
    /// HMAC-SHA-384-192.
    Sha384,
    /// HMAC-SHA-512-256.
    Sha512,
}

impl Hash {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// True when it can be broken today or soon (RFC 8221 6).
    pub const fn is_obsolete(self) -> bool {
        matches!(self, Self::Md5)
    }
}

/// Road warriors' access to guest networks by one public address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteAccess {
    /// Id, unique in the configuration.
    pub id: ObjectId,
    /// A public address of this router; one address has one remote access.
    #[schema(value_type = String, example = "198.51.100.10")]
    pub address: Ipv4Addr,
    /// Guest networks that clients reach, by id; at least one.
    pub networks: Vec<ObjectId>,
    /// The pre-shared key of all clients.
    pub psk: BlobDigest,
    /// Addresses: the first is the server's, the others are given to clients.
    pub range: ClientRange,
    /// Who may come in. Default: nobody.
    #[serde(default)]
    pub users: Vec<VpnUser>,
    /// May clients reach the Internet through the tunnel? Default: deny, so that only guest networks' traffic goes in.
    #[serde(default)]
    pub internet: TunnelInternet,
    /// Name servers that clients are told, at most 2. Default: the server's own end, which answers names of guests.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<Ipv4Addr>,
    /// Ways for users to prove themselves, the preferred one first. Default: all, the strongest first.
    #[serde(default = "all_ways")]
    pub authentication: Vec<Authentication>,
}

/// One user of remote access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VpnUser {
    /// Name, unique in its remote access.
    pub name: VpnUserName,
    /// The password.
    pub password: BlobDigest,
    /// How often it was asked to end the user's sessions: another number than before ends them. Default: 0.
    #[serde(default)]
    pub disconnects: u32,
}

/// What happens to clients' connections to the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelInternet {
    /// They leave by source NAT.
    Allow,
    /// They are refused at once.
    #[default]
    Deny,
}

/// How a user proves who it is, within IPsec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// MS-CHAPv2 (RFC 2759).
    MsChapV2,
    /// CHAP with MD5 (RFC 1994).
    Chap,
    /// PAP (RFC 1334): whoever has the pre-shared key can pose as the router and read the password.
    Pap,
}

impl Authentication {
    /// All of them, the strongest first.
    pub const ALL: [Self; 3] = [Self::MsChapV2, Self::Chap, Self::Pap];
}

const fn yes() -> bool {
    true
}

fn day() -> LifetimeSeconds {
    LifetimeSeconds::DAY
}

fn hour() -> LifetimeSeconds {
    LifetimeSeconds::HOUR
}

fn all_ways() -> Vec<Authentication> {
    Authentication::ALL.to_vec()
}

/// The secret within a blob: what comes after its first line. `None` for a blob that is not made so, or whose secret is
/// empty or no text.
pub fn secret_of_blob(blob: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(blob).ok()?;
    let (_, secret) = text.split_once('\n')?;
    Some(secret).filter(|secret| !secret.is_empty())
}
