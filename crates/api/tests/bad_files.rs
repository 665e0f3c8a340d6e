//! A bad file for each rule: each must be refused (or warned about) with exactly the findings written beside it.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sluice_api::config::{ProxyDocument, SsvmDocument};
use sluice_api::{Finding, RouterDocument, finding};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    cases.sort();
    cases
}

fn findings(path: &Path) -> Vec<Finding> {
    let bytes = fs::read(path).unwrap();
    // a file's name begins with its role, if that is not the router
    let name = path.file_name().unwrap().to_str().unwrap();
    let judged = match name.split('-').next() {
        Some("proxy" | "proxy.json") => ProxyDocument::decode(&bytes).map(|(_, warnings)| warnings),
        Some("ssvm" | "ssvm.json") => SsvmDocument::decode(&bytes).map(|(_, warnings)| warnings),
        _ => RouterDocument::decode(&bytes).map(|(_, warnings)| warnings),
    };
    judged.unwrap_or_else(|findings| findings)
}

fn text(findings: &[Finding]) -> String {
    findings.iter().fold(String::new(), |mut text, finding| {
        writeln!(text, "{finding}").unwrap();
        text
    })
}

#[test]
fn each_bad_file_gives_exactly_its_findings() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let found = text(&findings(&case));
        assert!(!found.is_empty(), "{} has nothing wrong with it", case.display());
        let golden = case.with_extension("findings");
        if bless {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\nexpected:\n{expected}found:\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nrewrite with `cargo xtask bless`", wrong.join("\n"));
}

#[test]
fn every_code_has_a_bad_file_and_is_listed() {
    let seen: BTreeSet<String> =
        cases().iter().flat_map(|case| findings(case)).map(|finding| finding.code).collect();
    let listed: BTreeSet<String> =
        finding::CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(seen, listed);
}

#[test]
fn more_guests_than_a_slash_16_are_refused() {
    let mut config: serde_json::Value =
        serde_json::from_slice(&fs::read(example()).unwrap()).unwrap();
    let guest = config["role"]["router"]["networks"][0]["guests"][0].clone();
    config["role"]["router"]["networks"][0]["guests"] = vec![guest; 65_535].into();
    let refused = RouterDocument::decode(&serde_json::to_vec(&config).unwrap()).unwrap_err();
    assert_eq!(refused[0].code, "too-many");
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/router.json")
}

#[test]
fn the_examples_have_no_findings() {
    assert_eq!(text(&findings(&example())), "");
    for other in ["proxy.json", "ssvm.json"] {
        assert_eq!(text(&findings(&example().with_file_name(other))), "", "{other}");
    }
}

#[test]
fn canonical_form_survives_a_round_trip() {
    let (config, _) = RouterDocument::decode(&fs::read(example()).unwrap()).unwrap();
    let again = RouterDocument::decode(&serde_json::to_vec(&config).unwrap()).unwrap().0;
    assert_eq!(config, again);
    assert_eq!(sluice_api::Digest::of(&config).unwrap(), sluice_api::Digest::of(&again).unwrap());
}

#[test]
fn the_page_of_findings_is_checked_in() {
    let mut page = String::from(
        "# Findings\n\nEvery reason for which a router configuration is refused or remarked upon. A finding has the path of the value, a\n\
         severity (`error` refuses, `warning` does not), one of these codes and a sentence. All findings come at once.\n\n\
         | code | meaning |\n| --- | --- |\n",
    );
    for (code, meaning) in finding::CODES {
        writeln!(page, "| `{code}` | {meaning} |").unwrap();
    }
    page.push_str(
        "\n## Of requests to an agent\n\nWhat an agent's API answers on its own account, in findings of the same form; decoding adds the codes above. A\n\
         request that is refused has had no effect.\n\n| code | meaning | what to do |\n| --- | --- | --- |\n",
    );
    for code in sluice_api::ApiCode::ALL {
        writeln!(page, "| `{}` | {} | {} |", code.as_str(), code.meaning(), code.remedy()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap() == page, "rewrite with `cargo xtask bless`");
}
