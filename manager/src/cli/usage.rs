//! What an appliance counted, as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sluice_api::report::{Used, Volume};

use super::client::Failure;
use super::table::{Column, render};
use super::{object, output};
use crate::ops::usage::ApplianceUsage;

const WAYS: &[Column] = &[
    ("WHAT", "/what"),
    ("NAME", "/name"),
    ("RECEIVED BYTES", "/received/bytes"),
    ("PACKETS", "/received/packets"),
    ("SENT BYTES", "/sent/bytes"),
    ("PACKETS", "/sent/packets"),
];
const RULES: &[Column] = &[
    ("RULE", "/rule"),
    ("NAME", "/name"),
    ("JUDGED PACKETS", "/judged/packets"),
    ("BYTES", "/judged/bytes"),
];
const PORTS: &[Column] = &[
    ("LEAVES WITH", "/address"),
    ("PROTOCOL", "/protocol"),
    ("TO", "/destination"),
    ("PORT", "/port"),
    ("SOURCE PORTS USED", "/used"),
    ("OF", "/range"),
];

/// As JSON, or as tables for a person.
pub(super) fn show(json: bool, answer: Value) -> Result<(), Failure> {
    if json {
        object::show(true, &answer);
        return Ok(());
    }
    let told: ApplianceUsage =
        serde_json::from_value(answer).map_err(|error| Failure::Answer(error.to_string()))?;
    output::print(&text(&told));
    Ok(())
}

fn text(told: &ApplianceUsage) -> String {
    let names: BTreeMap<&str, &str> =
        told.owners.iter().map(|owner| (owner.rule.as_str(), owner.name.as_str())).collect();
    let usage = &told.usage;
    let mut ways = rows("address", &usage.addresses, &names);
    ways.extend(rows("network", &usage.networks, &names));
    ways.extend(rows("forward", &usage.forwards, &names));
    let rules: Vec<Value> = usage
        .rules
        .iter()
        .filter(|rule| rule.judged != Volume::default())
        .map(|rule| {
            json!({ "rule": rule.rule, "judged": rule.judged,
                    "name": names.get(rule.rule.as_str()) })
        })
        .collect();
    let ports: Vec<Value> = usage.source_ports.iter().map(|pool| json!(pool)).collect();
    let mut text = format!("{}\n{}", render(&ways, WAYS), render(&rules, RULES));
    // writing to a String cannot fail
    if !ports.is_empty() {
        let _ = write!(text, "\n{}", render(&ports, PORTS));
    }
    if let Some(tracking) = &usage.tracking {
        let _ = writeln!(
            text,
            "\ntracked connections: {} of {}; lost: {} not entered, {} for want of room, {} ended early",
            tracking.entries,
            tracking.limit,
            tracking.insert_failed,
            tracking.dropped,
            tracking.early_dropped
        );
    }
    text
}

fn rows(kind: &str, all: &[Used], names: &BTreeMap<&str, &str>) -> Vec<Value> {
    let row = |used: &Used| {
        json!({ "what": format!("{kind} {}", used.name), "name": names.get(used.name.as_str()),
                "received": used.received, "sent": used.sent })
    };
    all.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use sluice_api::report::{RuleOwner, RuleUse, UsageReport};

    use super::*;

    #[test]
    fn what_has_a_name_is_told_by_it() {
        let volume = |packets| Volume { packets, bytes: packets * 100 };
        let owner = |rule: &str, name: &str| RuleOwner {
            rule: rule.to_owned(),
            kind: String::new(),
            id: String::new(),
            name: name.to_owned(),
        };
        let told = ApplianceUsage {
            appliance: "r-1".parse().unwrap(),
            usage: UsageReport {
                networks: vec![Used {
                    name: "n-1".to_owned(),
                    received: volume(1),
                    sent: volume(2),
                }],
                rules: vec![RuleUse { rule: "firewall/fw-1".to_owned(), judged: volume(3) }],
                ..UsageReport::default()
            },
            owners: vec![owner("n-1", "net1"), owner("firewall/fw-1", "web")],
        };
        let expected = "\
WHAT         NAME  RECEIVED BYTES  PACKETS  SENT BYTES  PACKETS
network n-1  net1  100             1        200         2

RULE           NAME  JUDGED PACKETS  BYTES
firewall/fw-1  web   3               300
";
        assert_eq!(text(&told), expected);
    }
}
