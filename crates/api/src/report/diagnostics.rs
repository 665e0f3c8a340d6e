//! Logs, power and the questions an engineer asks a box without a shell.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::LinkName;

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
}

/// One entry of the log ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
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
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Echo requests, 1 to 10. Default 3.
    #[serde(default = "three")]
    pub count: u8,
    /// Leave by this link. Default: as routed.
    #[serde(default)]
    pub link: Option<LinkName>,
}

/// Body of `POST /v1/diagnostics/traceroute`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TracerouteRequest {
    /// Where to.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Hops at most, 1 to 30. Default 15.
    #[serde(default = "fifteen")]
    pub max_hops: u8,
}

/// Body of `POST /v1/diagnostics/arping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArpingRequest {
    /// Whose MAC is asked for.
    #[schema(value_type = String)]
    pub address: std::net::Ipv4Addr,
    /// On this link.
    pub link: LinkName,
    /// Requests, 1 to 10. Default 3.
    #[serde(default = "three")]
    pub count: u8,
}

/// Body of `POST /v1/diagnostics/capture`; the answer is a pcap file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureRequest {
    /// On this link.
    pub link: LinkName,
    /// Packets at most, 1 to 10000. Default 100.
    #[serde(default = "hundred")]
    pub packets: u32,
    /// Seconds at most, 1 to 60. Default 10.
    #[serde(default = "ten")]
    pub seconds: u8,
}

/// Output of a diagnostic, line by line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagnosticOutput {
    /// Did the peer answer?
    pub reached: bool,
    /// What happened.
    pub lines: Vec<String>,
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

fn three() -> u8 {
    3
}

fn ten() -> u8 {
    10
}

fn fifteen() -> u8 {
    15
}

fn hundred() -> u32 {
    100
}
