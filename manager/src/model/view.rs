//! What the manager shows besides the objects themselves, which are in [`crate::kinds`].

use serde::{Deserialize, Serialize};
use sluice_api::Finding;
use sluice_api::boot::Role;
use sluice_api::report::{Phase, PlanSummary, Timing};
use sluice_api::types::{ApplianceId, Generation};
use utoipa::ToSchema;

pub use crate::kinds::appliance::{Appliance, ApplianceNic, NicPurpose};
pub use crate::kinds::guest::{Guest, Nic};
pub use crate::kinds::network::Network;
pub use crate::store::observations::LastAnswer;

/// Wanted against reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplianceStatus {
    /// Which appliance.
    pub appliance: ApplianceId,
    /// What it is.
    pub role: Role,
    /// Number of the configuration that it should have.
    pub wanted: Generation,
    /// Number of the configuration that it last reported as committed.
    pub reported: Option<Generation>,
    /// True when it answers and has what is wanted.
    pub in_sync: bool,
    /// Did it answer the last time it was asked?
    pub reachable: bool,
    /// Where its engine stands.
    pub phase: Option<Phase>,
    /// What the last exchange with it came to.
    pub last_answer: Option<LastAnswer>,
    /// The reason behind the last answer, for a person.
    pub detail: Option<String>,
    /// What the last push changed.
    pub plan: Option<PlanSummary>,
    /// How long the last push took.
    pub timing: Option<Timing>,
    /// Since when it is as it is, RFC 3339 in UTC.
    pub since: Option<String>,
    /// When the certificate that it shows ends, RFC 3339 in UTC; until it was first seen, the one issued; none before
    /// the first boot document.
    pub certificate_until: Option<String>,
    /// What it last reported as wrong with it, and a certificate that cannot be renewed; empty: nothing.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// The manager that saw it so.
    #[serde(default)]
    pub seen_by: Option<String>,
}

/// One item taken from a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Allocation {
    /// The pool, such as `public:z-1`, `vlan:pn-1`, `guest:n-1`, `control` or `mac`.
    pub pool: String,
    /// The item as it is written: an address, a VLAN id, a MAC.
    pub value: String,
    /// Id of the object that it was taken for.
    pub owner: String,
    /// What for.
    pub purpose: String,
    /// Whether it is in use or on its way back.
    pub state: AllocationState,
    /// The appliance that must confirm a release.
    pub appliance: Option<ApplianceId>,
    /// The generation that the appliance must confirm before a releasing item is free.
    pub release_generation: Option<Generation>,
}

/// State of an allocation: free -> allocated -> releasing -> free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AllocationState {
    /// In use.
    Allocated,
    /// Given back, but the appliance may still use it: until it confirms, nobody else gets it.
    Releasing,
}

/// A dry run of the wanted configuration on the appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliancePlan {
    /// The configuration that was tried.
    pub generation: u64,
    /// The steps that would be taken.
    pub plan: PlanSummary,
    /// What the appliance remarks.
    pub findings: Vec<Finding>,
}

/// What a change would do on an appliance, as the appliance itself says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandidatePlan {
    /// Which appliance.
    pub appliance: ApplianceId,
    /// The steps that it would take; none when it could not be asked.
    pub plan: Option<PlanSummary>,
    /// What it remarks.
    pub findings: Vec<Finding>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// Where an appliance's API is reached, if not at its control address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// Address and port, such as a forwarded loopback port of the lab; null goes back to the control address.
    #[schema(value_type = Option<String>, example = "127.0.0.1:43922")]
    pub address: Option<std::net::SocketAddr>,
}
