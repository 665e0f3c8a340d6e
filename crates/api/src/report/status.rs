//! What an appliance says of itself.
//!
//! Read tolerantly: fields that a reader does not know are passed over, words that it does not know are `Unknown`, and
//! what an older appliance does not say yet has a default; so manager and appliances can be upgraded in either order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Digest;
use crate::boot::Role;
use crate::types::{ApplianceId, BlobDigest, Generation};

/// Answer to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusReport {
    /// Who answers.
    pub appliance: ApplianceId,
    /// What it is.
    pub role: Role,
    /// Version of the firmware.
    pub firmware: String,
    /// Which build of that version it is, as far as its builder said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Versions of the configuration that it reads, the newest last.
    #[serde(default)]
    pub contract_versions: Vec<u32>,
    /// Names of the features that it has, sorted: a configuration may use these and no others.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Seconds since the agent started.
    pub uptime_seconds: u64,
    /// Number of the boot document that it was started with; 0: it does not say.
    #[serde(default, skip_serializing_if = "crate::boot::is_zero")]
    pub incarnation: u64,
    /// Where the engine stands.
    pub phase: Phase,
    /// What is committed; `None` before the first configuration.
    pub current: Option<Reported>,
    /// What waits for its confirmation.
    pub pending: Option<Reported>,
    /// What was undone last because nobody confirmed it in time; nothing since the agent started, and from appliances that
    /// do not say it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted: Option<Reverted>,
    /// Result per subsystem of the last apply or repair.
    pub subsystems: Vec<SubsystemReport>,
    /// The service processes.
    pub services: Vec<ServiceStatus>,
    /// The last repairs of foreign changes, newest last, at most 32.
    pub repairs: Vec<DriftRepair>,
    /// Alarms that a person must look at; empty when all is well.
    pub alarms: Vec<String>,
    /// Blobs that the configuration in force names and that are not here, since they could not be kept or read: to be
    /// sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_blobs: Vec<BlobDigest>,
}

/// A configuration by number and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reported {
    /// Its number.
    pub generation: Generation,
    /// Digest of its content.
    pub digest: Digest,
}

/// A configuration that nobody confirmed, and that was undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reverted {
    /// Its number.
    pub generation: Generation,
    /// Digest of its content.
    pub digest: Digest,
    /// How often in a row, 1 the first time.
    pub times: u32,
}

impl Reverted {
    /// True when it is about this configuration.
    pub fn is(&self, generation: Generation, digest: &Digest) -> bool {
        self.generation == generation && self.digest == *digest
    }
}

/// Where the engine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// No configuration yet: everything but the control API is dropped.
    Unconfigured,
    /// A configuration is being applied or rolled back.
    Applying,
    /// In force, but it reverts unless confirmed.
    AwaitingConfirm,
    /// The committed configuration is in force.
    InForce,
    /// The committed configuration could not be brought into force; the agent keeps trying.
    Degraded,
    /// A word of a newer appliance.
    #[serde(other)]
    Unknown,
}

/// The parts of an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Subsystem {
    /// NICs and VLANs.
    Links,
    /// Addresses on links.
    Addresses,
    /// Routes and policy rules.
    Routes,
    /// Kernel settings.
    Sysctls,
    /// Filter and NAT.
    Rules,
    /// Service processes.
    Services,
    /// A word of a newer appliance.
    #[serde(other)]
    Unknown,
}

/// Result of one subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubsystemReport {
    /// Which one.
    pub subsystem: Subsystem,
    /// Objects that were right already.
    pub unchanged: u64,
    /// Objects changed.
    pub changed: u64,
    /// Objects that could not be changed, each with its reason.
    pub failed: Vec<String>,
}

/// One service process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// Name, such as `dhcp`.
    pub name: String,
    /// What it does now.
    pub state: ServiceState,
    /// Process id while it runs.
    pub pid: Option<u32>,
    /// The generation it said is in force.
    pub generation: Option<Generation>,
    /// Restarts after a crash since the agent started.
    pub restarts: u64,
    /// Why it last ended.
    pub last_exit: Option<String>,
    /// Counters that the service keeps, by name.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// What else it says of itself, such as its members, sessions or jobs, in a form of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub report: Option<serde_json::Value>,
}

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Started, has not yet acknowledged its configuration.
    Starting,
    /// Serves its configuration.
    Running,
    /// Ended; will be started again.
    Restarting,
    /// A word of a newer appliance.
    #[serde(other)]
    Unknown,
}

/// One repair of a change that was not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriftRepair {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What was put back, one line per step.
    pub steps: Vec<String>,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// Answer to `GET /v1/health`: 200 when healthy, 503 when not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// All checks passed.
    pub healthy: bool,
    /// The checks.
    pub checks: Vec<HealthCheck>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// Its name.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What was found, for a person.
    pub detail: String,
}
