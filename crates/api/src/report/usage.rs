//! What an appliance counted: bytes and packets, and how far connection tracking is used.
//!
//! Read tolerantly, as every report is.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Answer to `GET /v1/usage`. Numbers only rise, whatever becomes of rules, configurations and the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// By public address.
    #[serde(default)]
    pub addresses: Vec<Used>,
    /// By the id of a guest network: what its guests received and sent.
    #[serde(default)]
    pub networks: Vec<Used>,
    /// By the id of a port forward.
    #[serde(default)]
    pub forwards: Vec<Used>,
    /// By rule: what it judged, which of a connection is its first packet.
    #[serde(default)]
    pub rules: Vec<RuleUse>,
    /// Connection tracking; none when it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<TrackingUse>,
    /// The pools of source ports that are used most, the fullest first, at most [`UsageReport::POOLS`].
    #[serde(default)]
    pub source_ports: Vec<PortUse>,
}

impl UsageReport {
    /// Most pools of source ports in a report.
    pub const POOLS: usize = 16;
}

/// Packets and bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[schema(as = TrafficVolume)]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Bytes, of the IP packets.
    pub bytes: u64,
}

/// What was received and sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Used {
    /// Of what.
    pub name: String,
    /// What came to it.
    pub received: Volume,
    /// What came from it.
    pub sent: Volume,
}

/// What a rule judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleUse {
    /// Its id, as `explain` has it.
    pub rule: String,
    /// How much.
    pub judged: Volume,
}

/// How far connection tracking is used, since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrackingUse {
    /// Connections now.
    pub entries: u32,
    /// Connections that it may hold.
    pub limit: u32,
    /// Packets lost because their connection could not be entered.
    pub insert_failed: u64,
    /// Packets lost because the table was full.
    pub dropped: u64,
    /// Connections that had to go before their time.
    pub early_dropped: u64,
}

/// Translated connections that share a source address, a protocol and a destination: each needs a source port of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortUse {
    /// The address that they leave with.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Number of the protocol.
    pub protocol: u8,
    /// Where they go.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// To which port.
    pub port: u16,
    /// Connections now.
    pub used: u32,
    /// Ports that there are.
    pub range: u32,
}

impl PortUse {
    /// Ports that the kernel translates to: 1024 and above.
    pub const RANGE: u32 = 64_512;
}
