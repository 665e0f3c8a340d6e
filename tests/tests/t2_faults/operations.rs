//! Each operation of the kernel and each write of the ledger fails in turn.

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
