//! Logs, power and the questions an engineer asks a box without a shell.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{
    CaptureBytes, CapturePackets, CaptureSeconds, HopLimit, HostAddress, LinkName, MacAddr, Port,
    ProbeCount,
};

/// Severity of a log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// A human must look.
    Error,
    /// Will be retried.
    Warn,
    /// Something changed.
    Info,
    /// Why.
    Debug,
    /// A word of a newer appliance.
    #[serde(other)]
    Unknown,
}

/// One entry of the log ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// Number of the entry; they rise by one without gaps.
    pub sequence: u64,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// How severe.
    pub level: LogLevel,
    /// The module that wrote it.
    pub target: String,
    /// The event and its fields as text.
    pub message: String,
}

/// Answer to `GET /v1/logs?after=N&limit=N`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// The entries after the one asked for, oldest first.
    pub entries: Vec<LogEntry>,
    /// Entries that were overwritten before they were read.
    pub lost: u64,
    /// What to ask for next.
    pub next_after: u64,
}

/// Body of `POST /v1/diagnostics/ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PingRequest {
    /// Whom to ask.
    pub address: HostAddress,
    /// Echo requests, 1 to 10. Default 3.
    #[serde(default)]
    pub count: ProbeCount,
    /// Leave by this link. Default: as routed; an IPv6 link-local address needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkName>,
}

/// Body of `POST /v1/diagnostics/traceroute`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TracerouteRequest {
    /// Where to.
    pub address: HostAddress,
    /// Hops at most, 1 to 30. Default 15.
    #[serde(default)]
    pub max_hops: HopLimit,
    /// Leave by this link. Default: as routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkName>,
}

/// Body of `POST /v1/diagnostics/arping`: ARP (RFC 826) for IPv4, neighbour solicitation (RFC 4861) for IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArpingRequest {
    /// Whose MAC is asked for.
    pub address: HostAddress,
    /// On this link.
    pub link: LinkName,
    /// Requests, 1 to 10. Default 3.
    #[serde(default)]
    pub count: ProbeCount,
}

/// Body of `POST /v1/diagnostics/capture`; the answer is a pcap file that ends at the first limit reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureRequest {
    /// On this link.
    pub link: LinkName,
    /// Packets at most, 1 to 10000. Default 100.
    #[serde(default)]
    pub packets: CapturePackets,
    /// Bytes of the file at most, 65600 to 16777216. Default 4194304.
    #[serde(default)]
    pub bytes: CaptureBytes,
    /// Seconds at most, 1 to 60. Default 10.
    #[serde(default)]
    pub seconds: CaptureSeconds,
    /// Only packets from or to this address; in ARP, about it. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostAddress>,
    /// Only TCP and UDP packets from or to this port. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Only packets of this protocol. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<CaptureProtocol>,
    /// With the packets of the agent's own API, which carry the capture itself. Default false.
    #[serde(default)]
    pub include_api: bool,
}

/// What a capture can be narrowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureProtocol {
    /// Address resolution.
    Arp,
    /// ICMP of IPv4.
    Icmp,
    /// ICMPv6, neighbour discovery included.
    Icmpv6,
    /// TCP over either.
    Tcp,
    /// UDP over either.
    Udp,
}

/// What a ping, a traceroute or an arping found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiagnosticOutput {
    /// Did the address that was asked for answer?
    pub reached: bool,
    /// Each probe and what came of it, in order; an arping lists every host that answered a probe.
    pub probes: Vec<Probe>,
}

/// One probe and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// From 1: number of the request, or the hop.
    pub number: u8,
    /// What came of it.
    pub outcome: ProbeOutcome,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<IpAddr>,
    /// Its MAC, of an arping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Microseconds from request to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
    /// More, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeOutcome {
    /// The address that was asked for answered.
    Reply,
    /// A router on the way answered that the hops were used up.
    Expired,
    /// Somebody answered that there is no way on.
    Unreachable,
    /// Nothing came.
    Silent,
    /// Our own kernel did not send it.
    NotSent,
    /// A word of a newer appliance.
    #[serde(other)]
    Unknown,
}

/// Body of `POST /v1/power`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerRequest {
    /// What to do.
    pub action: PowerAction,
}

/// What can be asked of the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PowerAction {
    /// Clean shutdown.
    Off,
    /// Clean restart.
    Reboot,
}
