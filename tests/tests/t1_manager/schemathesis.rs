//! The published document in the hands of schemathesis: answers are what it says, the manager never fails, and what is
//! refused leaves every row of the store as it was.
//!
//! A sample in each run; with `SLUICE_FULL=1` every boundary of every field, and chains of calls that lead to each other.
//! Not asked: back-ups, which hold everything, and new authorities.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sluice_tests::manager::TOKEN;
use sluice_tests::schemathesis;

use super::process::{Cloud, Place};

/// Its own checks that are not ours: a machine that nobody runs cannot be reached, which is 502; and that a reference leads
/// nowhere, or two fields contradict each other, no schema can say.
const NOT_OURS: &str = "not_a_server_error,positive_data_acceptance";

/// How much is asked.
fn phases() -> [&'static str; 4] {
    if std::env::var_os("SLUICE_FULL").is_some() {
        ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "40"]
    } else {
        ["--phases", "examples,fuzzing", "--max-examples", "6"]
    }
}

fn ask(cloud: &Cloud, count: &Path) -> Output {
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/t1_manager/schemathesis");
    let seed = std::env::var("SLUICE_SEED").unwrap_or_else(|_| "1".to_owned());
    Command::new(schemathesis::program().unwrap())
        .args(["run", &format!("{}/v1/openapi.json", cloud.manager.url())])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(phases())
        .args(["--seed", &seed, "--no-shrink", "--continue-on-failure", "--request-timeout", "60"])
        .args(["--checks", "all", "--exclude-checks", NOT_OURS])
        .args(["--exclude-path-regex", "/backup|/authority/"])
        .current_dir(cloud.folder.path())
        .env("PYTHONPATH", hooks)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("SLUICE_STORE", cloud.folder.path().join("manager.db"))
        .env("SLUICE_COUNT", count)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_failure_and_no_half_change() {
    // in a file, which the check of half changes reads
    let cloud = Cloud::on(Place::in_a_file()).await;
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/t1_manager/schemathesis/everything.toml");
    let told = cloud.sluice(["apply", file.to_str().unwrap(), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    let count = cloud.folder.path().join("count.json");
    let told = tokio::task::block_in_place(|| ask(&cloud, &count));
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{said}\n{}", String::from_utf8_lossy(&told.stderr));
    assert!(!cloud.log().contains("panicked"), "{}", cloud.log());
    let calls: Value = serde_json::from_slice(&std::fs::read(count).unwrap()).unwrap();
    let many = |kind: &str| calls[kind].as_u64().is_some_and(|calls| calls > 100);
    assert!(many("accepted") && many("refused"), "hardly anything was asked: {calls}");
    cloud.stop();
}
