//! What configurations compile to, and what changes between two of them do, as files that people can read.
//!
//! `golden/CASE/config.json` gives `plan.txt` (from an empty kernel), `rules.nft` and `services.json`;
//! `golden-changes/CASE/{old,new}.json` gives `plan.txt` (services that get another slice included) and `rules.nft`;
//! `golden-explain/NAME.txt` is what becomes of a connection, written by hand from the rules of its case.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may fail loudly anywhere, its helpers included

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_agent::Appliance;
use sluice_api::RouterDocument;
use sluice_api::report::{ExplainQuestion, Explanation, Outcome};
use sluice_api::types::{AskedProtocol, LinkName, Port};
use sluice_router::explain::{explain, explain_seen};
use sluice_router::vpn::explain::down_key;
use sluice_router::{Router, desk};
use sluice_sys::model::Step;

fn cases(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut cases: Vec<_> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// What differs from the file, or nothing; with `BLESS` set the file is written instead.
fn compared(path: &Path, made: &str) -> Option<String> {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, made).unwrap();
        return None;
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    (kept != made).then(|| format!("{}:\n--- kept\n{kept}--- made\n{made}", path.display()))
}

/// What the subsystems contradict each other in, and what the kernel would refuse or nothing would ever come to.
fn sound(case: &Path, config: &RouterDocument) {
    let merged = sluice_router::compile::merged(config);
    assert_eq!(merged.conflicts, [], "{}", case.display());
    for table in merged.desired.tables.values() {
        let faults = sluice_sys::nft::faults(table);
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(faults.is_empty(), "{}: {}", case.display(), text.join("; "));
    }
}

fn agree(differences: Vec<Option<String>>) {
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    let text = differences.join("\n");
    assert!(differences.is_empty(), "{text}\nif this is meant, rewrite with `cargo xtask bless`");
}

fn services(config: &RouterDocument) -> BTreeMap<String, serde_json::Value> {
    let slices = Router.services(config, &sluice_agent::Blobs::none()).into_iter();
    slices
        .map(|(name, slice)| (name.to_string(), serde_json::from_str(slice.json().get()).unwrap()))
        .collect()
}

/// The plan as the engine reports it, with the services whose slice becomes another.
fn told(plan: &sluice_agent::plan::Plan, old: &RouterDocument, new: &RouterDocument) -> String {
    let mut text = plan.to_string();
    let (old, new) = (services(old), services(new));
    for (name, slice) in &new {
        let word = if old.get(name) == Some(slice) { "unchanged" } else { "another slice" };
        writeln!(text, "service {name}: {word}").unwrap();
    }
    text
}

#[tokio::test]
async fn configurations_compile_to_what_is_kept() {
    let mut differences = Vec::new();
    for case in cases("golden") {
        let config = desk::load_sound(&case.join("config.json")).unwrap();
        sound(&case, &config);
        let plan = desk::change(None, &config).await.unwrap();
        let slices = serde_json::to_string_pretty(&services(&config)).unwrap() + "\n";
        differences.push(compared(&case.join("plan.txt"), &plan.to_string()));
        differences.push(compared(&case.join("rules.nft"), &desk::render(&config)));
        differences.push(compared(&case.join("services.json"), &slices));
    }
    assert!(differences.len() >= 21, "cases are missing");
    agree(differences);
}

#[tokio::test]
async fn changes_do_what_is_kept() {
    let mut differences = Vec::new();
    for case in cases("golden-changes") {
        let old = desk::load_sound(&case.join("old.json")).unwrap();
        let new = desk::load_sound(&case.join("new.json")).unwrap();
        let plan = desk::change(Some(&old), &new).await.unwrap();
        let script: String = plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Rules(script) => Some(script.render()),
                _ => None,
            })
            .collect();
        differences.push(compared(&case.join("plan.txt"), &told(&plan, &old, &new)));
        differences.push(compared(&case.join("rules.nft"), &script));
    }
    assert!(differences.len() >= 10, "cases are missing");
    agree(differences);
}

/// Case, question, and the answer: what is decided by which rule, and what it leaves as.
const QUESTIONS: [(&str, &str, &str, &str, Option<u16>, &str); 23] = [
    ("reservations", "10.1.1.23", "192.0.2.80", "tcp", Some(443), "egress"),
    ("reservations", "10.1.1.23", "192.0.2.80", "icmp", None, "egress-ping"),
    ("reservations", "192.0.2.80", "10.1.1.23", "tcp", Some(22), "intruder"),
    ("reservations", "10.1.1.23", "10.1.1.1", "udp", Some(53), "dns"),
    ("reservations", "169.254.0.1", "169.254.0.10", "tcp", Some(3922), "manager"),
    ("reservations", "10.1.1.23", "169.254.0.10", "tcp", Some(3922), "no-manager"),
    ("egress-deny", "10.1.1.23", "192.0.2.80", "tcp", Some(443), "egress-denied"),
    ("balancers", "192.0.2.80", "198.51.100.10", "tcp", Some(80), "balanced"),
    ("balancers", "203.0.113.80", "198.51.100.10", "tcp", Some(80), "balanced-not-let-in"),
    ("uplinks", "192.0.2.80", "203.0.113.11", "tcp", Some(80), "uplink-in"),
    ("uplinks", "10.1.1.24", "192.0.2.80", "tcp", Some(80), "uplink-static-nat"),
    ("uplinks", "10.1.2.23", "192.0.2.80", "tcp", Some(80), "uplink-source-nat"),
    ("ipv6-uplinks", "2001:db8:80::80", "2001:db8:1::23", "tcp", Some(22), "ipv6-in"),
    ("ipv6-uplinks", "2001:db8:80::80", "2001:db8:1::24", "tcp", Some(22), "ipv6-not-let-in"),
    ("ipv6-uplinks", "2001:db8:1::24", "2001:db8:80::80", "tcp", Some(443), "ipv6-out"),
    ("ipv6-uplinks", "2001:db8:2::24", "2001:db8:80::80", "tcp", Some(443), "ipv6-out-by-rule"),
    ("balancers", "10.1.1.200", "10.1.1.5", "tcp", Some(3306), "balanced-own-list"),
    ("vpn", "10.1.1.23", "172.16.1.5", "tcp", Some(443), "tunnel-out"),
    ("vpn", "172.16.2.5", "10.1.1.23", "tcp", Some(22), "tunnel-in"),
    ("vpn", "10.1.9.2", "10.1.1.23", "tcp", Some(80), "client-in"),
    ("vpn", "10.1.9.2", "10.1.2.23", "tcp", Some(80), "client-elsewhere"),
    ("vpn", "10.1.9.2", "192.0.2.80", "tcp", Some(443), "client-internet"),
    ("vpn", "10.1.1.23", "10.1.9.2", "tcp", Some(22), "client-asked"),
];

#[test]
fn connections_are_explained_as_is_kept() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut differences = Vec::new();
    for (case, from, to, proto, port, name) in QUESTIONS {
        let config = desk::load_sound(&root.join("golden").join(case).join("config.json")).unwrap();
        let question = ExplainQuestion {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            protocol: proto.parse().unwrap(),
            port: port.map(Port::fixed),
            from_port: ExplainQuestion::FROM_PORT,
            link: None,
        };
        let answer = explain(&config, &question).unwrap();
        let path = root.join("golden-explain").join(name);
        differences.push(compared(&path.with_extension("txt"), &answer.to_string()));
    }
    agree(differences);
}

#[test]
fn what_is_for_a_tunnel_that_does_not_stand_is_refused_and_nothing_comes_in_clear() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vpn/config.json");
    let config = desk::load_sound(&config).unwrap();
    let asked = |from: &str, to: &str, down: &str| {
        let question = ExplainQuestion {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            protocol: AskedProtocol::TCP,
            port: Some(Port::fixed(443)),
            from_port: ExplainQuestion::FROM_PORT,
            link: None,
        };
        let seen = [down_key(&down.parse().unwrap())].into();
        explain_seen(&config, &question, &seen).unwrap()
    };
    let ends = |answer: &Explanation| answer.decided_by.as_ref().unwrap().rule.clone().unwrap();
    let out = asked("10.1.1.23", "172.16.1.5", "c-1");
    assert_eq!((out.verdict, ends(&out).as_str()), (Outcome::Refused, "vpn/no-tunnel"));
    let told = out.to_string();
    assert!(told.contains("no tunnel to that stands") && told.contains("tunnel/c-1"), "{told}");
    let other = asked("10.1.1.23", "172.16.2.5", "c-1");
    assert_eq!(other.verdict, Outcome::Passes, "the tunnel of another connection stands");
    let back = asked("172.16.1.5", "10.1.1.23", "c-1");
    assert_eq!((back.verdict, ends(&back).as_str()), (Outcome::Dropped, "vpn/not-by-tunnel"));
}

#[test]
fn clients_of_remote_access_are_reached_whatever_uplink_the_guest_leaves_by() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vpn/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(case).unwrap()).unwrap();
    config["role"]["router"]["uplinks"] =
        serde_json::json!([{ "link": "pub0", "gateway": "198.51.100.1" }]);
    let config = RouterDocument::decode(config.to_string().as_bytes()).unwrap().0;
    let question = ExplainQuestion {
        from: "10.1.1.23".parse().unwrap(),
        to: "10.1.9.2".parse().unwrap(),
        protocol: AskedProtocol::TCP,
        port: Some(Port::fixed(22)),
        from_port: ExplainQuestion::FROM_PORT,
        link: None,
    };
    let answer = explain(&config, &question).unwrap();
    assert_eq!(answer.leaves_by.as_ref().map(LinkName::as_str), Some("ppp0"), "{answer}");
    assert_eq!(answer.egress_address, Some(question.from));
}

#[test]
fn questions_without_sense_are_refused_with_the_reason() {
    let config =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reservations/config.json");
    let config = desk::load_sound(&config).unwrap();
    let asked = |from: &str, to: &str, port: Option<u16>, link: Option<&str>| {
        let question = ExplainQuestion {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            protocol: AskedProtocol::TCP,
            port: port.map(Port::fixed),
            from_port: ExplainQuestion::FROM_PORT,
            link: link.map(|link| link.parse().unwrap()),
        };
        explain(&config, &question).unwrap_err().to_string()
    };
    let two = asked("10.1.1.23", "2001:db8::1", Some(80), None);
    assert!(two.contains("two versions of IP"), "{two}");
    assert!(asked("10.1.1.23", "192.0.2.1", None, None).contains("the destination port"));
    let unknown = asked("10.1.1.23", "192.0.2.1", Some(80), Some("guest7"));
    assert!(unknown.contains("no link guest7"), "{unknown}");
    let lost = asked("2001:db8::1", "2001:db8::2", Some(80), None);
    assert!(lost.contains("no route leads to 2001:db8::1"), "{lost}");
}
