//! Documents of each released version against the code of today, both ways: manager and appliances are upgraded in either
//! order.
//!
//! `released/VERSION/` holds what that version wrote. It is written once, by `cargo xtask bless` of that version, and never
//! again: whoever has to change a file there has broken an upgrade. A number behind the version is that of a state of the
//! contract between two versions, which has all that was in it by then.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice_api::boot::BootDocument;
use sluice_api::report::{
    Answer, Confirm, ConfirmAnswer, DiagnosticOutput, DryRun, Health, LogPage, Phase, StatusReport,
};
use sluice_api::{ApplianceConfig, RouterDocument, Severity};

/// What is recorded now. When the contract has grown by much the number behind the version grows; the folders before stay.
const RECORDED: &str = concat!(env!("CARGO_PKG_VERSION"), "-2");

fn released() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released")
}

fn versions() -> Vec<PathBuf> {
    let folders = fs::read_dir(released()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// What an appliance of today says, with every field filled.
fn reports() -> Vec<(&'static str, Value)> {
    let digest = "0".repeat(64);
    let reported = json!({ "generation": 7, "digest": digest });
    let finding =
        json!({ "path": "links[0]", "severity": "warning", "code": "no-nic", "reason": "r" });
    let plan = json!({ "steps": ["+ link guest0"], "unchanged": 3 });
    let timing =
        json!({ "observe_us": 1, "plan_us": 2, "apply_us": 3, "verify_us": 4, "total_us": 10 });
    let blob = format!("sha256:{digest}");
    let mut reports = vec![
        (
            "status",
            json!({
                "appliance": "r-1", "role": "router", "firmware": "0.1.0", "build": "b",
                "contract_versions": [2], "capabilities": ["blobs"], "uptime_seconds": 5,
                "phase": "awaiting-confirm", "current": reported, "pending": reported,
                "subsystems": [
                    { "subsystem": "rules", "unchanged": 1, "changed": 2, "failed": ["why"] },
                ],
                "services": [
                    { "name": "dhcp", "state": "running", "pid": 7, "generation": 7, "restarts": 1,
                      "last_exit": "exit status: 1", "counters": { "sent_offer": 1 },
                      "report": { "members": [] } },
                ],
                "repairs": [{ "at": "2026-01-01T00:00:00Z", "steps": ["s"], "failed": "why" }],
                "alarms": ["a"], "missing_blobs": [blob], "incarnation": 3,
            }),
        ),
        (
            "applied",
            json!({ "answer": "applied", "generation": 7, "plan": plan, "timing": timing,
                    "confirm_within": 30, "findings": [finding] }),
        ),
        ("already", json!({ "answer": "already", "generation": 7 })),
        ("stale", json!({ "answer": "stale", "current": 7 })),
        (
            "changed",
            json!({ "answer": "changed", "generation": 7, "seen": digest, "sent": digest }),
        ),
        ("busy", json!({ "answer": "busy", "generation": 7, "reason": "r" })),
        ("missing-blobs", json!({ "answer": "missing-blobs", "blobs": [blob] })),
        ("rejected", json!({ "answer": "rejected", "findings": [finding] })),
        ("failed", json!({ "answer": "failed", "reason": "r", "rolled_back": true, "current": 7 })),
        ("dry-run", json!({ "plan": plan, "findings": [finding] })),
        ("committed", json!({ "answer": "committed", "generation": 7 })),
        ("not-pending", json!({ "answer": "not-pending", "current": 7 })),
        ("confirm-failed", json!({ "answer": "failed", "reason": "r" })),
    ];
    reports.extend(told());
    reports
}

/// The same, of what it tells who asks.
fn told() -> Vec<(&'static str, Value)> {
    vec![
        (
            "health",
            json!({ "healthy": true,
                    "checks": [{ "name": "engine", "passed": true, "detail": "d" }] }),
        ),
        (
            "logs",
            json!({ "entries": [{ "sequence": 7, "at": "2026-01-01T00:00:00Z", "level": "info",
                                  "target": "t", "message": "m" }],
                    "next_after": 7, "lost": 1 }),
        ),
        (
            "diagnostic",
            json!({ "reached": true,
                    "probes": [{ "number": 1, "outcome": "reply", "from": "192.0.2.1",
                                 "mac": "02:00:00:00:00:01", "rtt_us": 5, "detail": "d" }] }),
        ),
    ]
}

/// What a manager of today sends: configurations of every role and of everything that a router does, the boot document, a
/// confirmation.
fn requests() -> Vec<(String, Value)> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let config = |path: &Path| {
        let text = fs::read(path).unwrap();
        let (config, _) = ApplianceConfig::<sluice_api::config::AnyPart>::decode(&text).unwrap();
        serde_json::to_value(config).unwrap()
    };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/boot/example.json");
    let boot = BootDocument::decode(&fs::read(corpus).unwrap()).unwrap();
    let mut requests = vec![
        ("boot".to_owned(), serde_json::to_value(boot).unwrap()),
        ("confirm".to_owned(), json!({ "generation": 7 })),
    ];
    for role in ["router", "proxy", "ssvm"] {
        let path = examples.join(format!("{role}.json"));
        requests.push((format!("config-{role}"), config(&path)));
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../router/tests/golden");
    for folder in fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        requests.push((format!("config-router-{name}"), config(&folder.join("config.json"))));
    }
    requests
}

/// The configurations of a folder.
fn configs(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_config = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("config-"))
    };
    files.filter(is_config).collect()
}

/// Records what this version writes, unless it was recorded.
fn record() {
    if std::env::var_os("BLESS").is_none() {
        return;
    }
    let folder = released().join(RECORDED);
    fs::create_dir_all(&folder).unwrap();
    let reports = reports().into_iter().map(|(name, report)| (name.to_owned(), report));
    for (name, document) in reports.chain(requests()) {
        let path = folder.join(format!("{name}.json"));
        if !path.exists() {
            fs::write(path, serde_json::to_string_pretty(&document).unwrap() + "\n").unwrap();
        }
    }
}

fn again<T: DeserializeOwned + Serialize>(name: &str, text: &str) -> Value {
    let read: T = serde_json::from_str(text).map_err(|error| format!("{name}: {error}")).unwrap();
    serde_json::to_value(read).unwrap()
}

/// A report of today as what the one that was recorded says: what it had is still there, in the same form.
fn reread(name: &str, text: &str) -> Value {
    match name {
        "status" => again::<StatusReport>(name, text),
        "dry-run" => again::<DryRun>(name, text),
        "health" => again::<Health>(name, text),
        "logs" => again::<LogPage>(name, text),
        "diagnostic" => again::<DiagnosticOutput>(name, text),
        "committed" | "not-pending" | "confirm-failed" => again::<ConfirmAnswer>(name, text),
        _ => again::<Answer>(name, text),
    }
}

/// Where `new` lacks or changes something that `old` has.
fn lost(old: &Value, new: &Value, path: &str) -> Vec<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let fields = old.iter().flat_map(|(name, value)| {
                let path = format!("{path}.{name}");
                new.get(name)
                    .map_or_else(|| vec![format!("{path} is gone")], |new| lost(value, new, &path))
            });
            fields.collect()
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let pairs = old.iter().zip(new).enumerate();
            pairs.flat_map(|(at, (old, new))| lost(old, new, &format!("{path}[{at}]"))).collect()
        }
        _ if old == new => Vec::new(),
        _ => vec![format!("{path}: {old} became {new}")],
    }
}

#[test]
fn an_older_appliance_is_understood_and_a_newer_one_says_all_that_an_older_manager_reads() {
    record();
    let versions = versions();
    assert!(!versions.is_empty(), "nothing is recorded; `cargo xtask bless`");
    for folder in versions {
        for (name, _) in reports() {
            let path = folder.join(format!("{name}.json"));
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let old: Value = serde_json::from_str(&text).unwrap();
            let new = reread(name, &text);
            // a report that is read and written again is one of today
            let lost = lost(&old, &new, name);
            assert_eq!(lost, Vec::<String>::new(), "{}", path.display());
            assert_ne!(new["answer"], "unknown", "{}", path.display());
        }
        let status = fs::read_to_string(folder.join("status.json")).unwrap();
        let status: StatusReport = serde_json::from_str(&status).unwrap();
        assert_eq!(status.phase, Phase::AwaitingConfirm, "{}", folder.display());
    }
}

#[test]
fn a_newer_appliance_takes_what_an_older_manager_sends() {
    record();
    for folder in versions() {
        let configs = configs(&folder);
        assert!(configs.len() >= 3, "{}: one for each role", folder.display());
        for path in configs {
            let bytes = fs::read(&path).unwrap();
            let read = ApplianceConfig::<sluice_api::config::AnyPart>::decode(&bytes);
            let (config, findings) =
                read.unwrap_or_else(|bad| panic!("{}: {bad:#?}", path.display()));
            let errors = findings.iter().filter(|finding| finding.severity != Severity::Warning);
            assert_eq!(errors.count(), 0, "{}: {findings:#?}", path.display());
            // a manager of today that has nothing new to say says it as that version did, which refuses what it does not know
            let old: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(serde_json::to_value(config).unwrap(), old, "{}", path.display());
        }
        RouterDocument::decode(&fs::read(folder.join("config-router.json")).unwrap()).unwrap();
        let boot = fs::read(folder.join("boot.json")).unwrap();
        let old: Value = serde_json::from_slice(&boot).unwrap();
        assert_eq!(serde_json::to_value(BootDocument::decode(&boot).unwrap()).unwrap(), old);
        let confirm = fs::read_to_string(folder.join("confirm.json")).unwrap();
        assert_eq!(again::<Confirm>("confirm", &confirm), json!({ "generation": 7 }));
    }
}

#[test]
fn what_a_newer_appliance_says_besides_is_passed_over_and_its_words_are_unknown() {
    for (name, document) in reports() {
        let mut newer = document;
        newer["colour"] = json!({ "of": ["tomorrow"] });
        reread(name, &newer.to_string());
    }
    let (_, mut status) = reports().swap_remove(0);
    status["phase"] = json!("dreaming");
    status["services"][0]["state"] = json!("asleep");
    status["subsystems"][0]["subsystem"] = json!("dreams");
    let read: StatusReport = serde_json::from_value(status).unwrap();
    assert_eq!(read.phase, Phase::Unknown);
    let answer: Answer = serde_json::from_value(json!({ "answer": "perhaps", "why": 7 })).unwrap();
    assert_eq!(answer, Answer::Unknown);
}
