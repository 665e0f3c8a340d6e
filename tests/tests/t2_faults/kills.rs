//! The process dies at each operation in turn.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, World};

use crate::{before, copy, expect, powered_off, rested};

/// Kills a child at each operation in turn, starts again on what it left, and looks.
async fn killed(kind: &str, which: &str, from: &Path, allowed: &[&str]) -> u64 {
    for number in 1..200 {
        let dir = copy(from);
        let status = Command::new(sluice_tests::bin("sluice-fault-child"))
            .args([dir.path().to_str().unwrap(), which, kind, &number.to_string()])
            .status()
            .unwrap();
        if kind == "file-torn" && status.signal().is_some() {
            // only a power cut tears a file, and it takes the kernel along
            powered_off(dir.path());
        }
        let running = World::in_dir(dir.path()).start(Fault::None, FileFault::None).await;
        rested(&running).await;
        expect(&running.state(), allowed, &format!("{which}: {kind} {number}"));
        if status.signal().is_none() {
            assert!(status.success(), "{kind} {number}: {status}");
            return number - 1;
        }
    }
    panic!("{kind}: still killed after 200 operations");
}

#[tokio::test]
async fn a_kill_at_any_operation_of_a_change_leaves_old_or_new() {
    let before = before().await;
    let allowed = [before.old.as_str(), before.new.as_str()];
    for kind in ["before", "after"] {
        let kills = killed(kind, "new", before.dir.path(), &allowed).await;
        assert!(kills > 15, "{kind}: only {kills} kills");
    }
    for kind in ["file-before", "file-after", "file-torn"] {
        let kills = killed(kind, "new", before.dir.path(), &allowed).await;
        assert!(kills >= 2, "{kind}: only {kills} kills");
    }
}

#[tokio::test]
async fn a_kill_at_any_operation_of_the_first_apply_leaves_nothing_or_all() {
    let before = before().await;
    let empty = tempfile::tempdir().unwrap();
    let allowed = [before.empty.as_str(), before.old.as_str()];
    for kind in ["before", "after", "file-before", "file-after", "file-torn"] {
        killed(kind, "old", empty.path(), &allowed).await;
    }
}
