//! Foreign hands, and questions and refusals, which change nothing.

use std::time::Duration;

use sluice_api::report::Answer;
use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, World, changed, example};

use crate::{before, expect, push};

#[tokio::test(start_paused = true)]
async fn foreign_changes_are_repaired_and_reported_and_foreign_objects_stay() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    running
        .kernel
        .inner()
        .edit(|seen| {
            seen.routes.clear();
            seen.tables.clear();
            seen.addresses.retain(|(link, _)| link != "guest0");
        })
        .unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    expect(&running.state(), &[&before.old], "repaired");
    let repairs = running.handle.status().repairs;
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    assert!(repairs[0].steps.iter().any(|step| step.contains("route")), "{repairs:?}");
    assert_eq!(repairs[0].failed, None);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_and_every_refusal_change_nothing() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let body = serde_json::to_vec(&changed()).unwrap();
    let dry = running.handle.dry_run(body.into()).await;
    assert!(dry.plan.steps.len() > 5, "{dry:?}");
    let mut older = example();
    older.generation = 1.try_into().unwrap();
    assert!(matches!(push(&running, &older, None).await, Answer::Stale { .. }));
    let mut same_number = changed();
    same_number.generation = example().generation;
    assert!(matches!(push(&running, &same_number, None).await, Answer::Changed { .. }));
    assert!(matches!(push(&running, &example(), None).await, Answer::Already { .. }));
    let mut foreign = changed();
    foreign.appliance = "r-9".parse().unwrap();
    assert!(matches!(push(&running, &foreign, None).await, Answer::Rejected { .. }));
    let garbage = running.handle.push("{garbage".into(), None).await;
    assert!(matches!(garbage, Answer::Rejected { .. }));
    expect(&running.state(), &[&before.old], "untouched");
    assert!(running.handle.status().repairs.is_empty());
}
