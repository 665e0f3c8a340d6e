//! What the service says of itself: every rule and member, with HAProxy's words where it has them.

use serde::Serialize;
use sluice_api::config::balancer::Mode;
use sluice_api::types::ObjectId;

use super::counters::Counts;
use super::health::Found;
use super::live::{LiveMember, Rule};

/// The state of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The rules by id.
    pub rules: Vec<RuleReport>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// Its id.
    pub id: ObjectId,
    /// Where clients connect to.
    pub address: String,
    /// What it balances.
    pub mode: Mode,
    /// Most connections at once.
    pub limit: u32,
    /// Members configured.
    pub members_configured: usize,
    /// Members that are well.
    pub members_healthy: usize,
    /// Clients whose member is remembered.
    pub bindings: usize,
    /// What was counted.
    pub counts: Counts,
    /// The members, in the order configured.
    pub members: Vec<MemberReport>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberReport {
    /// Its id.
    pub id: ObjectId,
    /// Where it serves.
    pub address: String,
    /// Whether it may serve.
    pub up: bool,
    /// Gets no new clients.
    pub drain: bool,
    /// Serves only when no other can.
    pub backup: bool,
    /// Its share.
    pub weight: u32,
    /// What checks found.
    pub health: Found,
    /// What was counted.
    pub counts: Counts,
}

impl Report {
    /// Of these rules.
    pub(super) fn of<'a>(rules: impl Iterator<Item = &'a Rule>) -> Self {
        Self { rules: rules.map(RuleReport::of).collect() }
    }
}

impl RuleReport {
    fn of(rule: &Rule) -> Self {
        let policy = rule.policy();
        let members: Vec<_> = policy.members.iter().map(|it| MemberReport::of(it)).collect();
        Self {
            id: rule.id.clone(),
            address: std::net::SocketAddr::new(policy.spec.address, policy.spec.port.get())
                .to_string(),
            mode: policy.spec.mode,
            limit: policy.spec.max_connections.get(),
            members_configured: members.len(),
            members_healthy: members.iter().filter(|member| member.up).count(),
            bindings: policy.memory.len(),
            counts: rule.counters.read(),
            members,
        }
    }
}

impl MemberReport {
    fn of(member: &LiveMember) -> Self {
        Self {
            id: member.spec.id.clone(),
            address: member.state.endpoint.to_string(),
            up: member.state.health.is_up(),
            drain: member.spec.drain,
            backup: member.spec.backup,
            weight: member.spec.weight.get(),
            health: member.state.health.found(),
            counts: member.state.counters.read(),
        }
    }
}
