//! The report as a page for a browser: a table of rules and members, read anew every five seconds.
//!
//! It is plain text and markup: no scripts, nothing from elsewhere. Every word of it that a member or a client could have
//! said is escaped.

use std::fmt::Write as _;

use super::{Counts, MemberReport, Report, RuleReport};

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta http-equiv=\"refresh\" content=\"5\"><title>Load balancing</title><style>\
    body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}\
    th,td{padding:.2em .8em;text-align:right;border-bottom:1px solid #ccc}\
    th:first-child,td:first-child,td:nth-child(2),td:nth-child(3),td:last-child{text-align:left}\
    tr.rule{background:#eef;font-weight:bold}tr.down{background:#fdd}tr.drain{background:#ffd}\
    </style></head><body>\n<h1>Load balancing";

const COLUMNS: [&str; 12] = [
    "Rule, member",
    "Address",
    "State",
    "Now",
    "Most",
    "Limit",
    "Sessions",
    "Per second",
    "In",
    "Out",
    "Errors",
    "Trouble",
];

/// The page of the appliance called `name`.
pub fn page(name: &str, report: &Report) -> String {
    let mut text = format!("{HEAD} of {}</h1>\n<table>\n<tr>", escaped(name));
    for column in COLUMNS {
        // writing to a String cannot fail
        let _ = write!(text, "<th>{column}</th>");
    }
    text.push_str("</tr>\n");
    for rule in &report.rules {
        line(&mut text, "rule", rule_cells(rule));
        for member in &rule.members {
            line(&mut text, &member.state().to_lowercase(), member_cells(member));
        }
    }
    text.push_str("</table>\n</body></html>\n");
    text
}

fn line(text: &mut String, class: &str, cells: impl IntoIterator<Item = String>) {
    let _ = write!(text, "<tr class=\"{class}\">");
    for cell in cells {
        let _ = write!(text, "<td>{}</td>", escaped(&cell));
    }
    text.push_str("</tr>\n");
}

fn rule_cells(rule: &RuleReport) -> impl Iterator<Item = String> {
    let first = [rule.id.to_string(), rule.address.clone(), rule.health()];
    let trouble = String::new();
    first.into_iter().chain(numbers(&rule.counts, Some(rule.limit))).chain([trouble])
}

fn member_cells(member: &MemberReport) -> impl Iterator<Item = String> {
    let backup = if member.backup { " (backup)" } else { "" };
    let state = format!("{}{backup}", member.state());
    let first = [format!("\u{2003}{}", member.id), member.address.clone(), state];
    let trouble = member.health.trouble.clone().unwrap_or_default();
    first.into_iter().chain(numbers(&member.counts, None)).chain([trouble])
}

fn numbers(counts: &Counts, limit: Option<u32>) -> [String; 8] {
    let errors = counts.connect_errors + counts.response_errors + counts.no_member;
    [
        counts.current.to_string(),
        counts.current_most.to_string(),
        limit.map(|limit| limit.to_string()).unwrap_or_default(),
        counts.sessions.to_string(),
        counts.session_rate[0].to_string(),
        counts.bytes_in.to_string(),
        counts.bytes_out.to_string(),
        errors.to_string(),
    ]
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_member_says_is_text() {
        let report: Report = serde_json::from_value(serde_json::json!({ "rules": [{
            "id": "web", "address": "192.0.2.1:80", "mode": "http", "limit": 9,
            "members_configured": 2, "members_healthy": 1,
            "members": [
                { "id": "m1", "address": "10.1.1.1:80", "up": false, "weight": 1,
                  "health": { "trouble": "status <script>alert(\"x\")</script>" } },
                { "id": "m2", "address": "10.1.1.2:80", "up": true, "weight": 1, "backup": true },
            ] }] }))
        .unwrap();
        let page = page("r-1", &report);
        for words in ["members 2, healthy 1", "class=\"down\"", "UP (backup)", "&lt;script&gt;"] {
            assert!(page.contains(words), "{words} in {page}");
        }
        assert!(!page.contains("<script"), "{page}");
        let cells = page.matches("<td>").count();
        assert_eq!(cells, 3 * COLUMNS.len(), "{page}");
    }
}
