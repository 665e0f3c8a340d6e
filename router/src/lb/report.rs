//! What the service says of itself; the form is the contract's ([`sluice_api::report::balancing`]).

use std::net::SocketAddr;

use sluice_api::report::balancing::{MemberReport, Report, RuleReport};

use super::live::{LiveMember, Rule};

/// Of these rules.
pub(super) fn of<'a>(rules: impl Iterator<Item = &'a Rule>) -> Report {
    Report { rules: rules.map(rule_report).collect() }
}

fn rule_report(rule: &Rule) -> RuleReport {
    let policy = rule.policy();
    let members: Vec<_> = policy.members.iter().map(|it| member_report(it)).collect();
    RuleReport {
        id: rule.id.clone(),
        address: SocketAddr::new(policy.spec.address, policy.spec.port.get()).to_string(),
        mode: policy.spec.mode,
        limit: policy.spec.max_connections.get(),
        members_configured: members.len(),
        members_healthy: members.iter().filter(|member| member.up).count(),
        bindings: policy.memory.len(),
        counts: rule.counters.read(),
        members,
    }
}

fn member_report(member: &LiveMember) -> MemberReport {
    MemberReport {
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
