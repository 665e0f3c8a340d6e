//! The report as HAProxy's statistics: a line for each rule's clients, each member and each rule's members together, so
//! that what reads HAProxy's CSV reads ours.
//!
//! The columns and their order are those of HAProxy up to `ttime`; those that we have nothing for are empty.

use std::fmt::Write as _;

use super::{Counts, MemberReport, Report, RuleReport};

/// The columns in HAProxy's order.
const COLUMNS: [&str; 62] = [
    "pxname",
    "svname",
    "qcur",
    "qmax",
    "scur",
    "smax",
    "slim",
    "stot",
    "bin",
    "bout",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "status",
    "weight",
    "act",
    "bck",
    "chkfail",
    "chkdown",
    "lastchg",
    "downtime",
    "qlimit",
    "pid",
    "iid",
    "sid",
    "throttle",
    "lbtot",
    "tracked",
    "type",
    "rate",
    "rate_lim",
    "rate_max",
    "check_status",
    "check_code",
    "check_duration",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "hanafail",
    "req_rate",
    "req_rate_max",
    "req_tot",
    "cli_abrt",
    "srv_abrt",
    "comp_in",
    "comp_out",
    "comp_byp",
    "comp_rsp",
    "lastsess",
    "last_chk",
    "last_agt",
    "qtime",
    "ctime",
    "rtime",
    "ttime",
];

/// What HAProxy writes in `type`.
const FRONTEND: u64 = 0;
const BACKEND: u64 = 1;
const SERVER: u64 = 2;

/// The report as CSV, with the line of names first.
pub fn csv(report: &Report) -> String {
    let mut text = format!("# {},\n", COLUMNS.join(","));
    for rule in &report.rules {
        line(&mut text, &frontend(rule));
        for member in &rule.members {
            line(&mut text, &server(rule, member));
        }
        line(&mut text, &backend(rule));
    }
    text
}

type Fields = Vec<(&'static str, String)>;

fn line(text: &mut String, fields: &Fields) {
    for column in COLUMNS {
        let value = fields.iter().find(|(name, _)| *name == column);
        // writing to a String cannot fail
        let _ = write!(text, "{},", value.map_or("", |(_, value)| value));
    }
    text.push('\n');
}

fn frontend(rule: &RuleReport) -> Fields {
    let counts = &rule.counts;
    let mut fields = common(rule, "FRONTEND", FRONTEND, counts);
    fields.extend(numbers([
        ("slim", u64::from(rule.limit)),
        ("dreq", counts.denied),
        ("ereq", counts.request_errors),
        ("req_rate", counts.request_rate[0]),
        ("req_rate_max", counts.request_rate[1]),
        ("req_tot", counts.requests),
    ]));
    fields.push(("status", "OPEN".to_owned()));
    fields
}

fn backend(rule: &RuleReport) -> Fields {
    let counts = &rule.counts;
    let mut fields = common(rule, "BACKEND", BACKEND, counts);
    let up = |backup: bool| {
        let members = rule.members.iter().filter(|it| it.up && it.backup == backup);
        u64::try_from(members.count()).unwrap_or(u64::MAX)
    };
    fields.extend(member_numbers(counts));
    fields.extend(numbers([
        ("act", up(false)),
        ("bck", up(true)),
        ("req_tot", counts.requests),
        ("cli_abrt", counts.client_aborts),
        ("weight", rule.members.iter().map(|it| u64::from(it.weight)).sum()),
    ]));
    fields.push(("status", if up(false) + up(true) > 0 { "UP" } else { "DOWN" }.to_owned()));
    fields
}

fn server(rule: &RuleReport, member: &MemberReport) -> Fields {
    let (counts, health) = (&member.counts, &member.health);
    let mut fields = common(rule, member.id.as_str(), SERVER, counts);
    fields.extend(member_numbers(counts));
    fields.extend(numbers([
        ("act", u64::from(!member.backup)),
        ("bck", u64::from(member.backup)),
        ("weight", u64::from(member.weight)),
        ("chkfail", health.failures),
        ("chkdown", health.downs),
        ("lastchg", health.changed / 1000),
        ("downtime", health.down_milliseconds / 1000),
        ("check_duration", health.took_milliseconds),
        ("lbtot", counts.sessions),
    ]));
    fields.push(("status", member.state().to_owned()));
    fields.push(("last_chk", quoted(health.trouble.as_deref().unwrap_or_default())));
    fields
}

fn common(rule: &RuleReport, name: &str, kind: u64, counts: &Counts) -> Fields {
    let mut fields = vec![("pxname", rule.id.to_string()), ("svname", name.to_owned())];
    let [others, informational, good, elsewhere, client, server] = counts.answers;
    fields.extend(numbers([
        ("scur", u64::from(counts.current)),
        ("smax", u64::from(counts.current_most)),
        ("stot", counts.sessions),
        ("bin", counts.bytes_in),
        ("bout", counts.bytes_out),
        ("type", kind),
        ("rate", counts.session_rate[0]),
        ("rate_max", counts.session_rate[1]),
        ("hrsp_1xx", informational),
        ("hrsp_2xx", good),
        ("hrsp_3xx", elsewhere),
        ("hrsp_4xx", client),
        ("hrsp_5xx", server),
        ("hrsp_other", others),
        ("pid", 1),
    ]));
    fields
}

fn member_numbers(counts: &Counts) -> Fields {
    numbers([
        ("qcur", 0),
        ("qmax", 0),
        ("econ", counts.connect_errors),
        ("eresp", counts.response_errors),
        ("wretr", counts.retries),
        ("wredis", counts.redispatches),
        ("qtime", 0),
        ("ctime", counts.connect_time),
        ("rtime", counts.response_time),
        ("ttime", counts.total_time),
    ])
    .collect()
}

fn numbers<const N: usize>(
    fields: [(&'static str, u64); N],
) -> impl Iterator<Item = (&'static str, String)> {
    fields.into_iter().map(|(name, number)| (name, number.to_string()))
}

/// As RFC 4180 has it, on one line.
fn quoted(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("\"{}\"", text.replace(['\r', '\n'], " ").replace('"', "\"\""))
}
