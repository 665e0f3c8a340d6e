//! Rules of a router's balancer and their members, out of the service's report.
//!
//! Not here: a report that is too long to be told, which the status leaves out too.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use serde::Deserialize as _;
use sluice_api::report::balancing::{Counts, MemberReport, Report, RuleReport, SERVICE};

use super::{Kind, Snapshot, count, family};

/// A counter or a gauge of each rule or member: its label `what`, and its value.
type Values = Vec<(&'static str, u64)>;

impl Snapshot {
    pub(super) fn balancing(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = self.status.services.iter();
        let mut reports =
            services.filter(|it| it.name == SERVICE).filter_map(|it| it.report.as_ref());
        let Some(Ok(report)) = reports.next().map(Report::deserialize) else { return Ok(()) };
        rules(encoder, &report.rules)?;
        members(encoder, &report.rules)
    }
}

fn rules(encoder: &mut DescriptorEncoder<'_>, rules: &[RuleReport]) -> fmt::Result {
    let mut tell = |kind, name, help, of: &dyn Fn(&RuleReport) -> Values| {
        let each = rules.iter().flat_map(|rule| {
            let labels = |what| [("rule", rule.id.as_str()), ("what", what)];
            of(rule).into_iter().map(move |(what, value)| (labels(what), value))
        });
        let each: Vec<_> = each.collect();
        let series: Vec<_> = each.iter().map(|(labels, value)| (labels, *value)).collect();
        family(encoder, kind, name, help, &series)
    };
    let help = "Members of each balancing rule, and connections it has";
    tell(Kind::Gauge, "balancer_rule", help, &|rule| {
        vec![
            ("members", count(rule.members_configured)),
            ("healthy", count(rule.members_healthy)),
            ("connections", rule.counts.current.into()),
            ("bindings", count(rule.bindings)),
        ]
    })?;
    let help = "What each balancing rule counts";
    tell(Kind::Counter, "balancer_rule_events", help, &|rule| {
        let mut all = counted(&rule.counts);
        all.extend([
            ("requests", rule.counts.requests),
            ("denied", rule.counts.denied),
            ("request_errors", rule.counts.request_errors),
            ("no_member", rule.counts.no_member),
            ("client_aborts", rule.counts.client_aborts),
            ("timeouts", rule.counts.timeouts),
        ]);
        all
    })
}

fn members(encoder: &mut DescriptorEncoder<'_>, rules: &[RuleReport]) -> fmt::Result {
    let mut tell = |kind, name, help, of: &dyn Fn(&MemberReport) -> Values| {
        let members =
            rules.iter().flat_map(|rule| rule.members.iter().map(move |member| (rule, member)));
        let each = members.flat_map(|(rule, member)| {
            let labels =
                |what| [("rule", rule.id.as_str()), ("member", member.id.as_str()), ("what", what)];
            of(member).into_iter().map(move |(what, value)| (labels(what), value))
        });
        let each: Vec<_> = each.collect();
        let series: Vec<_> = each.iter().map(|(labels, value)| (labels, *value)).collect();
        family(encoder, kind, name, help, &series)
    };
    let help = "Whether each member is well, and connections and requests it has";
    tell(Kind::Gauge, "balancer_member", help, &|member| {
        vec![("up", u64::from(member.up)), ("connections", member.counts.current.into())]
    })?;
    let help = "What each member of a balancing rule counts";
    tell(Kind::Counter, "balancer_member_events", help, &|member| {
        let mut all = counted(&member.counts);
        all.extend([
            ("checks", member.health.checks),
            ("failed_checks", member.health.failures),
            ("downs", member.health.downs),
        ]);
        all
    })
}

/// What rules and members count alike.
fn counted(counts: &Counts) -> Values {
    vec![
        ("sessions", counts.sessions),
        ("bytes_in", counts.bytes_in),
        ("bytes_out", counts.bytes_out),
        ("connect_errors", counts.connect_errors),
        ("response_errors", counts.response_errors),
        ("retries", counts.retries),
        ("redispatches", counts.redispatches),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_api::report::{StatusReport, UsageReport};

    use crate::metrics::{Totals, text};

    #[test]
    fn rules_and_members_have_series_of_their_own() {
        let status: StatusReport = serde_json::from_value(json!({
            "appliance": "r-1", "role": "router", "firmware": "0", "uptime_seconds": 1,
            "phase": "in-force", "current": null, "pending": null, "subsystems": [],
            "services": [{
                "name": "lb", "state": "running", "pid": 7, "generation": 3, "restarts": 0,
                "last_exit": null, "counters": {},
                "report": { "rules": [{
                    "id": "web", "address": "192.0.2.1:80", "mode": "http", "limit": 9,
                    "members_configured": 2, "members_healthy": 1, "counts": { "sessions": 5 },
                    "members": [
                        { "id": "m1", "address": "10.1.1.1:80", "up": true, "weight": 1,
                          "counts": { "bytes_out": 4711 } },
                        { "id": "m2", "address": "10.1.1.2:80", "up": false, "weight": 1 },
                    ] }] },
            }],
            "repairs": [], "alarms": [],
        }))
        .unwrap();
        let text = text(status, Totals::default(), UsageReport::default());
        for line in [
            "sluice_balancer_rule{rule=\"web\",what=\"members\"} 2",
            "sluice_balancer_rule{rule=\"web\",what=\"healthy\"} 1",
            "sluice_balancer_rule_events_total{rule=\"web\",what=\"sessions\"} 5",
            "sluice_balancer_member{rule=\"web\",member=\"m2\",what=\"up\"} 0",
            "sluice_balancer_member_events_total{rule=\"web\",member=\"m1\",what=\"bytes_out\"} 4711",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
    }
}
