//! What configurations compile to, and what changes between two of them do, as files that people can read.
//!
//! `golden/CASE/config.json` gives `plan.txt` (from an empty kernel), `rules.nft` and `services.json`;
//! `golden-changes/CASE/{old,new}.json` gives `plan.txt` (services that get another slice included) and `rules.nft`.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may fail loudly anywhere, its helpers included

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_agent::Appliance;
use sluice_api::RouterConfig;
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

fn agree(differences: Vec<Option<String>>) {
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    let text = differences.join("\n");
    assert!(differences.is_empty(), "{text}\nif this is meant, rewrite with `cargo xtask bless`");
}

fn services(config: &RouterConfig) -> BTreeMap<String, serde_json::Value> {
    let slices = Router.services(config).into_iter();
    slices
        .map(|(name, slice)| (name.to_string(), serde_json::from_str(slice.json().get()).unwrap()))
        .collect()
}

/// The plan as the engine reports it, with the services whose slice becomes another.
fn told(plan: &sluice_agent::plan::Plan, old: &RouterConfig, new: &RouterConfig) -> String {
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
