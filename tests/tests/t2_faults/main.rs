//! Whatever fails, and whenever the process dies: afterwards the old configuration or the new one, whole.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

mod carriers;
mod flows;
mod foreign;
mod ill;
mod kills;
mod ledger;
mod neighbours;
mod operations;
mod takeover;
mod time;

use std::path::Path;
use std::time::Duration;

use sluice_api::RouterDocument;
use sluice_api::report::{Answer, Phase};
use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, Running, World, changed, example};

pub(crate) async fn push(
    running: &Running,
    config: &RouterDocument,
    confirm: Option<Duration>,
) -> Answer {
    running.handle.push(serde_json::to_vec(config).unwrap().into(), confirm).await
}

/// Waits until the engine rests; the clock is paused, so the bound costs nothing.
pub(crate) async fn rested(running: &Running) -> Phase {
    for _ in 0..100 {
        let phase = running.handle.status().phase;
        if matches!(phase, Phase::InForce | Phase::Unconfigured) {
            return phase;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("the engine does not come to rest: {:#?}", running.handle.status());
}

/// A world with the old configuration in force, and the states before any, with the old and with the new one.
pub(crate) struct Before {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) empty: String,
    pub(crate) old: String,
    pub(crate) new: String,
}

pub(crate) async fn before() -> Before {
    let dir = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let other = World::in_dir(scratch.path()).start(Fault::None, FileFault::None).await;
    let empty = other.state();
    assert!(matches!(push(&other, &example(), None).await, Answer::Applied { .. }));
    assert!(matches!(push(&other, &changed(), None).await, Answer::Applied { .. }));
    let new = other.state();
    let running = World::in_dir(dir.path()).start(Fault::None, FileFault::None).await;
    assert!(matches!(push(&running, &example(), None).await, Answer::Applied { .. }));
    let old = running.state();
    assert!(empty != old && old != new);
    Before { dir, empty, old, new }
}

pub(crate) fn copy(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

pub(crate) fn expect(state: &str, allowed: &[&str], what: &str) {
    assert!(allowed.contains(&state), "{what}: neither state, but\n{state}");
}

/// Operations of the kernel and writes of files that a start in `dir` and one push take.
pub(crate) async fn counted(dir: &Path, config: &RouterDocument) -> (u64, u64) {
    let running = World::in_dir(dir).start(Fault::None, FileFault::None).await;
    assert!(matches!(push(&running, config, None).await, Answer::Applied { .. }));
    (running.kernel.operations(), running.files.writes())
}

/// Pushes into a world with one fault: `allowed` is what may stand afterwards when it was applied and when not. True
/// when the push failed.
pub(crate) async fn failing(
    dir: &Path,
    faults: (Fault, FileFault),
    config: &RouterDocument,
    allowed: (&str, &str),
) -> bool {
    let running = World::in_dir(dir).start(faults.0, faults.1).await;
    let answer = push(&running, config, None).await;
    rested(&running).await;
    let (stands, failed) = match answer {
        Answer::Applied { .. } => (allowed.0, false),
        Answer::Failed { .. } => (allowed.1, true),
        ref other => panic!("{faults:?}: {other:?}"),
    };
    expect(&running.state(), &[stands], &format!("{faults:?}: {answer:?}"));
    failed
}

/// The machine was off and on again: its kernel holds nothing.
pub(crate) fn powered_off(dir: &Path) {
    std::fs::remove_file(dir.join("kernel.json")).unwrap();
}
