//! Each operation of the kernel and each write of the ledger fails in turn.

use sluice_api::RouterDocument;
use sluice_api::report::Answer;
use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, World, changed, example};

use crate::{before, copy, counted, expect, failing, push};

#[tokio::test(start_paused = true)]
async fn each_kernel_operation_of_a_change_fails_in_turn() {
    let before = before().await;
    let (operations, _) = counted(copy(before.dir.path()).path(), &changed()).await;
    let mut failed = 0;
    for number in 1..=operations {
        let dir = copy(before.dir.path());
        let faults = (Fault::Fail(number), FileFault::None);
        let allowed = (before.new.as_str(), before.old.as_str());
        failed += u32::from(failing(dir.path(), faults, &changed(), allowed).await);
    }
    assert!(failed > 10, "{failed} of {operations} faults made the change fail");
}

#[tokio::test(start_paused = true)]
async fn each_kernel_operation_of_the_first_apply_fails_in_turn() {
    let before = before().await;
    let (operations, _) = counted(tempfile::tempdir().unwrap().path(), &example()).await;
    let mut failed = 0;
    for number in 1..=operations {
        let dir = tempfile::tempdir().unwrap();
        let faults = (Fault::Fail(number), FileFault::None);
        let allowed = (before.old.as_str(), before.empty.as_str());
        failed += u32::from(failing(dir.path(), faults, &example(), allowed).await);
    }
    assert!(failed > 10, "{failed} of {operations} faults made the change fail");
}

#[tokio::test(start_paused = true)]
async fn each_kernel_operation_of_a_change_takes_effect_and_is_reported_failed_in_turn() {
    let before = before().await;
    let (operations, _) = counted(copy(before.dir.path()).path(), &changed()).await;
    for number in 1..=operations {
        let dir = copy(before.dir.path());
        let faults = (Fault::FailAfter(number), FileFault::None);
        let allowed = (before.new.as_str(), before.old.as_str());
        failing(dir.path(), faults, &changed(), allowed).await;
    }
}

/// The example with ten thousand rules more, of each kind some.
fn with_ten_thousand_rules() -> RouterDocument {
    let mut document = serde_json::json!(example());
    document["generation"] = serde_json::json!(example().generation.get() + 1);
    let router = &mut document["role"]["router"];
    let public = "198.51.100.10";
    router["public_addresses"] =
        serde_json::json!([{ "id": "ip-1", "address": public, "link": "pub0" }]);
    let tcp = |port: u32| serde_json::json!({ "tcp": { "ports": port.to_string() } });
    let rules = |id: &str, count: u32, one: &dyn Fn(String, u32) -> serde_json::Value| {
        (1..=count).map(|number| one(format!("{id}-{number}"), number)).collect::<Vec<_>>()
    };
    router["firewall"] = rules(
        "fw",
        4_000,
        &|id, number| serde_json::json!({ "id": id, "public": public, "traffic": tcp(number) }),
    )
    .into();
    router["egress_rules"] = rules(
        "e",
        2_000,
        &|id, number| serde_json::json!({ "id": id, "network": "net-1", "traffic": tcp(number) }),
    )
    .into();
    router["port_forwards"] = rules("pf", 4_000, &|id, number| {
        serde_json::json!({ "id": id, "public": public, "protocol": "tcp", "network": "net-1",
            "ports": (10_000 + number).to_string(), "guest": "10.1.1.23" })
    })
    .into();
    RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
}

#[tokio::test(start_paused = true)]
async fn each_operation_of_an_apply_of_ten_thousand_rules_fails_in_turn() {
    let before = before().await;
    let large = with_ten_thousand_rules();
    let scratch = copy(before.dir.path());
    let (operations, _) = counted(scratch.path(), &large).await;
    let new = World::in_dir(scratch.path()).start(Fault::None, FileFault::None).await.state();
    let mut failed = 0_u32;
    for number in 1..=operations {
        let dir = copy(before.dir.path());
        let faults = (Fault::Fail(number), FileFault::None);
        let hit = failing(dir.path(), faults, &large, (&new, &before.old)).await;
        failed += u32::from(hit);
    }
    assert!(failed > 0, "none of {operations} faults made the change fail");
}

#[tokio::test(start_paused = true)]
async fn each_write_of_the_ledger_fails_in_turn() {
    let before = before().await;
    let (_, writes) = counted(copy(before.dir.path()).path(), &changed()).await;
    let mut failed = 0;
    for number in 1..=writes {
        let dir = copy(before.dir.path());
        let faults = (Fault::None, FileFault::Fail(number));
        let allowed = (before.new.as_str(), before.old.as_str());
        failed += u32::from(failing(dir.path(), faults, &changed(), allowed).await);
    }
    assert!(failed >= 2, "{failed} of {writes} faults made the change fail");
}

#[tokio::test(start_paused = true)]
async fn going_back_does_not_depend_on_a_listing() {
    let before = before().await;
    let (operations, _) = counted(copy(before.dir.path()).path(), &changed()).await;
    let mut failed = 0;
    for number in 2..=operations {
        let dir = copy(before.dir.path());
        let running =
            World::in_dir(dir.path()).start(Fault::Unlisted(number), FileFault::None).await;
        let answer = push(&running, &changed(), None).await;
        let went_back = matches!(answer, Answer::Failed { .. });
        let stands = if went_back { &before.old } else { &before.new };
        assert!(
            went_back || matches!(answer, Answer::Applied { .. }),
            "tables unlisted from operation {number} on: {answer:?}"
        );
        let what = format!("tables unlisted from operation {number} on: {answer:?}");
        expect(&running.state(), &[stands], &what);
        failed += u32::from(went_back);
    }
    assert!(failed > 0, "the change never failed");
}
