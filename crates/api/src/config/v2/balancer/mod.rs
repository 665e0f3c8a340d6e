//! One load balancing rule, as a configuration states it.
//!
//! Guarantees: what decodes is within its range. Not here: what needs two values to judge, which is the check's.
//! Defaults are HAProxy's where the guide names none (guide 11.9, 11.15, 11.19.10), but for the idle time of plain TCP.

mod health;
mod stickiness;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{
    BlobDigest, Cidr, ConnectSeconds, ConnectionLimit, DrainSeconds, IdleSeconds, KeepAliveSeconds,
    ObjectId, Port, RequestSeconds, Weight,
};

pub use health::{Check, CheckMethod, Health, HttpCheck};
pub use stickiness::{AppCookie, CookieMode, LbCookie, SourceBased, Stickiness, UrlMode};

/// Connections to one address and port, shared out among members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Balancer {
    /// Id of the rule, unique in the configuration.
    pub id: ObjectId,
    /// The address that clients connect to: a public one of the router, or one of a tier.
    #[schema(value_type = String, example = "198.51.100.10")]
    pub address: IpAddr,
    /// The port that clients connect to.
    pub port: Port,
    /// What is balanced. Default: TCP connections.
    #[serde(default)]
    pub mode: Mode,
    /// Ends TLS here; members get plain text. Default: bytes pass as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How a new client's member is chosen. Default: round-robin.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Clients that are let in. Default: all.
    #[serde(default)]
    pub sources: Vec<Cidr>,
    /// How long each thing may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Connections of clients at once; more wait in the kernel's queue. Default 4096.
    #[serde(default)]
    pub max_connections: ConnectionLimit,
    /// The header that tells members who the client is. Default: none. HTTP members need it no more than this rarely do,
    /// since they get `X-Forwarded-For`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Binds a client to the member it got first. Default: each connection, or each request in HTTP, is chosen anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,
    /// How members are found to be well.
    #[serde(default)]
    pub health: Health,
    /// In HTTP: the client's address is added to X-Forwarded-For; X-Forwarded-Proto and -Port are set, whatever the client
    /// claims. Default true.
    #[serde(default = "yes")]
    pub forwarded_headers: bool,
    /// Who serves. Default: nobody, and clients are refused.
    #[serde(default)]
    pub members: Vec<Member>,
}

/// What is balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// TCP connections, whatever they carry.
    #[default]
    Tcp,
    /// HTTP requests, each by itself.
    Http,
    /// UDP flows; done by the kernel's packet rules, with members' health from here.
    Udp,
}

/// How a member is chosen for a client that is bound to none. Weights count in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// In turn.
    #[default]
    RoundRobin,
    /// Whoever has the fewest connections.
    LeastConnections,
    /// By the client's address, the same one each time; a change of members moves no more clients than it must.
    Source,
}

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Blobs in PEM, each a certificate chain and its private key. The client's server name chooses; the first is for
    /// clients that name none or another.
    pub certificates: Vec<BlobDigest>,
    /// The oldest version spoken. Default 1.2.
    #[serde(default)]
    pub minimum: TlsVersion,
    /// Whether HTTP/2 is offered, in HTTP mode. Default true.
    #[serde(default = "yes")]
    pub http2: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V13,
}

/// The form of the PROXY protocol's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocol {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Times of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Until a member accepts the connection. Default 5.
    pub connect_seconds: ConnectSeconds,
    /// Without a byte in either direction, and in HTTP until a member answers. Default 7440 (2 h 4 min, RFC 5382 REQ-5)
    /// for TCP, 50 for HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<IdleSeconds>,
    /// In HTTP, from the end of an answer to the next request. 0: a connection carries one request. Default 50.
    pub keep_alive_seconds: KeepAliveSeconds,
    /// In HTTP, for a whole request head, and for the TLS handshake. Default 10.
    pub request_seconds: RequestSeconds,
    /// What connections of a removed rule may still take. Default 30.
    pub drain_seconds: DrainSeconds,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect_seconds: ConnectSeconds::of(5),
            idle_seconds: None,
            keep_alive_seconds: KeepAliveSeconds::of(50),
            request_seconds: RequestSeconds::of(10),
            drain_seconds: DrainSeconds::of(30),
        }
    }
}

impl Balancer {
    /// The blobs of its certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &BlobDigest> {
        self.tls.iter().flat_map(|tls| &tls.certificates)
    }

    /// What members are asked.
    pub fn check(&self) -> Check {
        let usual = if self.mode == Mode::Udp { Check::Udp } else { Check::Tcp };
        self.health.check.clone().unwrap_or(usual)
    }

    /// Whether the kernel's packet rules do it, and no process.
    pub fn is_in_kernel(&self) -> bool {
        self.mode == Mode::Udp
    }
}

impl Timeouts {
    /// The idle time that holds in `mode`, in seconds.
    pub fn idle(&self, mode: Mode) -> u32 {
        self.idle_seconds.map_or(if mode == Mode::Http { 50 } else { 7440 }, IdleSeconds::get)
    }
}

/// One server behind the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its id, unique in the rule; also what cookies name it by, so that they tell no inside address.
    pub id: ObjectId,
    /// Its address.
    #[schema(value_type = String, example = "10.1.1.23")]
    pub address: IpAddr,
    /// The private port.
    pub port: Port,
    /// Its share against the others'. 0: only clients that are bound to it. Default 1.
    #[serde(default)]
    pub weight: Weight,
    /// Serves only when no other can. Default false.
    #[serde(default)]
    pub backup: bool,
    /// Gets no new clients; those that are bound to it stay. Default false.
    #[serde(default)]
    pub drain: bool,
}

impl Member {
    /// Where it serves.
    pub fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.get())
    }
}

const fn yes() -> bool {
    true
}
