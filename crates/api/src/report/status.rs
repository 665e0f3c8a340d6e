//! What an appliance says of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Digest;
use crate::boot::Role;
use crate::types::{ApplianceId, Generation};

/// Answer to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusReport {
    /// Who answers.
    pub appliance: ApplianceId,
    /// What it is.
    pub role: Role,
    /// Version of the firmware.
    pub firmware: String,
    /// Seconds since the agent started.
    pub uptime_seconds: u64,
    /// Where the engine stands.
    pub phase: Phase,
    /// What is committed; `None` before the first configuration.
    pub current: Option<Reported>,
    /// What waits for its confirmation.
    pub pending: Option<Reported>,
    /// Result per subsystem of the last apply or repair.
    pub subsystems: Vec<SubsystemReport>,
    /// The service processes.
    pub services: Vec<ServiceStatus>,
    /// The last repairs of foreign changes, newest last, at most 32.
    pub repairs: Vec<DriftRepair>,
    /// Alarms that a person must look at; empty when all is well.
    pub alarms: Vec<String>,
}

/// A configuration by number and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// Its number.
    pub generation: Generation,
    /// Digest of its content.
    pub digest: Digest,
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
}

/// Result of one subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
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
}

/// One repair of a change that was not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub struct Health {
    /// All checks passed.
    pub healthy: bool,
    /// The checks.
    pub checks: Vec<HealthCheck>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// Its name.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What was found, for a person.
    pub detail: String,
}
