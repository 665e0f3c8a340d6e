//! Whatever fails, and whenever the process dies: afterwards the old configuration or the new one, whole.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluice_api::RouterDocument;
use sluice_api::config::Attachment;
use sluice_api::report::{Answer, ConfirmAnswer, Phase};
use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, Running, Trouble, World, changed, example};

async fn push(running: &Running, config: &RouterDocument, confirm: Option<Duration>) -> Answer {
    running.handle.push(serde_json::to_vec(config).unwrap().into(), confirm).await
}

/// Waits until the engine rests; the clock is paused, so the bound costs nothing.
async fn rested(running: &Running) -> Phase {
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
struct Before {
    dir: tempfile::TempDir,
    empty: String,
    old: String,
    new: String,
}

async fn before() -> Before {
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

fn copy(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn expect(state: &str, allowed: &[&str], what: &str) {
    assert!(allowed.contains(&state), "{what}: neither state, but\n{state}");
}

/// Operations of the kernel and writes of files that a start in `dir` and one push take.
async fn counted(dir: &Path, config: &RouterDocument) -> (u64, u64) {
    let running = World::in_dir(dir).start(Fault::None, FileFault::None).await;
    assert!(matches!(push(&running, config, None).await, Answer::Applied { .. }));
    (running.kernel.operations(), running.files.writes())
}

/// Pushes into a world with one fault: `allowed` is what may stand afterwards when it was applied and when not. True
/// when the push failed.
async fn failing(
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

/// One page of the ledger after each of some damages: cut short, a bit turned, gone.
fn damages(page: &[u8]) -> Vec<Option<Vec<u8>>> {
    let points: Vec<usize> = (0..page.len()).step_by(page.len() / 12).collect();
    let turned = points.iter().map(|at| {
        let mut bytes = page.to_owned();
        bytes[*at] ^= 1;
        Some(bytes)
    });
    let cut = points.iter().map(|length| Some(page[..*length].to_owned()));
    turned.chain(cut).chain([None]).collect()
}

fn damage(dir: &Path, name: &str, page: Option<&[u8]>) {
    match page {
        Some(bytes) => std::fs::write(dir.join(name), bytes).unwrap(),
        None => std::fs::remove_file(dir.join(name)).unwrap(),
    }
}

const PAGES: [&str; 2] = ["ledger-a.json", "ledger-b.json"];

#[tokio::test(start_paused = true)]
async fn a_damaged_page_of_the_ledger_is_an_alarm_and_the_other_one_is_in_force() {
    let before = before().await;
    for name in PAGES {
        let page = std::fs::read(before.dir.path().join(name)).unwrap();
        for damaged in damages(&page) {
            let dir = copy(before.dir.path());
            damage(dir.path(), name, damaged.as_deref());
            let running = World::in_dir(dir.path()).start(Fault::None, FileFault::None).await;
            let length = damaged.map(|bytes| bytes.len());
            expect(&running.state(), &[&before.old], &format!("{name}, {length:?} bytes left"));
            let status = running.handle.status();
            assert_eq!(status.phase, Phase::InForce);
            assert!(status.alarms.iter().any(|alarm| alarm.contains(name)), "{status:#?}");
            assert!(!running.handle.health().healthy);
        }
    }
}

/// The example with another name for the default route's way only: nothing that a service or another link is about.
fn unrelated() -> RouterDocument {
    let mut config = example();
    config.generation = config.generation.next().unwrap();
    config.routes[0].via = Some("198.51.100.3".parse().unwrap());
    config
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_ill_before_vetoes_nothing_that_is_not_about_it() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    running.services.fall_ill(sluice_router::DHCP, false);
    let start = tokio::time::Instant::now();
    let answer = push(&running, &unrelated(), None).await;
    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let report = running.handle.status().subsystems;
    assert!(
        report.iter().any(|one| one.failed.iter().any(|it| it.contains("dhcp"))),
        "{report:#?}"
    );
    // what is about it gates
    let mut about = changed();
    about.generation = about.generation.next().unwrap();
    let answer = push(&running, &about, None).await;
    assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
    running.services.fall_ill(sluice_router::DHCP, true);
    let mut again = about.clone();
    again.generation = again.generation.next().unwrap();
    assert!(matches!(push(&running, &again, None).await, Answer::Applied { .. }));
}

/// A NIC is pulled, or put back as it was.
fn plug(
    running: &Running,
    name: &str,
    nic: Option<sluice_sys::model::ObservedLink>,
) -> Option<sluice_sys::model::ObservedLink> {
    let mut pulled = None;
    running
        .kernel
        .inner()
        .edit(|seen| match nic {
            Some(nic) => drop(seen.links.insert("eth9".to_owned(), nic)),
            None => {
                pulled = seen.links.remove(name);
                seen.addresses.retain(|(link, _)| link != name);
                seen.routes.retain(|route| route.link.as_str() != name);
            }
        })
        .unwrap();
    pulled
}

#[tokio::test(start_paused = true)]
async fn a_nic_that_was_missing_before_vetoes_nothing_and_is_repaired_when_it_is_back() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let nic = plug(&running, "pub0", None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.handle.status().phase, Phase::Degraded);
    let mut guests = example();
    guests.generation = guests.generation.next().unwrap();
    guests.role.networks[1].egress = sluice_api::config::EgressPolicy::Allow;
    let answer = push(&running, &guests, None).await;
    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
    let status = running.handle.status();
    assert_eq!((status.phase, status.alarms.len()), (Phase::Degraded, 1), "{status:#?}");
    assert_eq!(status.current.unwrap().generation, guests.generation);
    // tried again, but less and less
    let operations = running.kernel.operations();
    tokio::time::sleep(Duration::from_mins(10)).await;
    let tried = running.kernel.operations() - operations;
    assert!((20..600).contains(&tried), "{tried} operations in ten minutes");
    plug(&running, "pub0", nic);
    assert_eq!(rested(&running).await, Phase::InForce);
    assert_eq!(running.handle.status().alarms, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_nic_that_is_not_there_is_said_before_anything_is_touched() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let mut config = unrelated();
    for link in &mut config.links {
        if link.name.as_str() == "pub0" {
            link.attach = Attachment::Nic { mac: "02:00:00:00:00:77".parse().unwrap() };
        }
    }
    let dry = running.handle.dry_run(serde_json::to_vec(&config).unwrap().into()).await;
    assert!(dry.findings.iter().any(|finding| finding.code == "no-nic"), "{dry:#?}");
    let answer = push(&running, &config, None).await;
    assert!(matches!(answer, Answer::Rejected { .. }), "{answer:?}");
    expect(&running.state(), &[&before.old], "untouched");
}

#[tokio::test(start_paused = true)]
async fn an_idle_router_looks_at_nothing_that_grows_with_its_tables() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let operations = running.kernel.operations();
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(running.kernel.operations(), operations);
    // and a setting, which nobody announces, is put right all the same
    running
        .kernel
        .inner()
        .edit(|seen| seen.sysctls.values_mut().for_each(|it| *it = "7".to_owned()))
        .unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    expect(&running.state(), &[&before.old], "repaired");
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_proves_something_only_over_a_new_connection_and_in_time() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let connected = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let generation = changed().generation;
    let within = Some(Duration::from_secs(30));
    assert!(matches!(push(&running, &changed(), within).await, Answer::Applied { .. }));
    let old = running.handle.confirm_over(generation, connected).await;
    assert!(
        matches!(&old, ConfirmAnswer::Failed { reason } if reason.contains("older")),
        "{old:?}"
    );
    // the last moment is in time, whatever else is due then
    tokio::time::sleep(Duration::from_secs(30)).await;
    let last = running.handle.confirm(generation).await;
    assert_eq!(last, ConfirmAnswer::Committed { generation });
    expect(&running.state(), &[&before.new], "committed");
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

/// The machine was off and on again: its kernel holds nothing.
fn powered_off(dir: &Path) {
    std::fs::remove_file(dir.join("kernel.json")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_an_unreadable_ledger_leaves_a_healthy_kernel_alone() {
    let before = before().await;
    for name in PAGES {
        damage(before.dir.path(), name, Some(b"{"));
    }
    for _ in 0..3 {
        let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        // the kernel's part: nobody knows what the services are to serve
        let kernel = |state: &str| state.split("\n{").next().unwrap().to_owned();
        assert_eq!(kernel(&running.state()), kernel(&before.old));
        let status = running.handle.status();
        assert_eq!(status.phase, Phase::Degraded);
        assert!(status.alarms.iter().any(|alarm| alarm.contains("left as it is")), "{status:#?}");
    }
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    assert!(matches!(push(&running, &changed(), None).await, Answer::Applied { .. }));
    expect(&running.state(), &[&before.new], "pushed");
    assert_eq!(running.handle.status().alarms, Vec::<String>::new());
}

/// The file of the configuration with this content.
fn content(dir: &Path, config: &RouterDocument) -> String {
    let digest = sluice_api::Digest::of_bytes(&serde_json::to_vec(config).unwrap());
    let name = format!("config-{}.json", digest.as_str());
    assert!(dir.join(&name).exists());
    name
}

#[tokio::test(start_paused = true)]
async fn content_that_cannot_be_read_is_an_alarm_and_the_former_comes_into_force_after_a_power_cut()
{
    let before = before().await;
    let dir = before.dir.path();
    let running = World::in_dir(dir).start(Fault::None, FileFault::None).await;
    assert!(matches!(push(&running, &changed(), None).await, Answer::Applied { .. }));
    drop(running);
    let name = content(dir, &changed());
    damage(dir, &name, Some(b"{"));
    let running = World::in_dir(dir).start(Fault::None, FileFault::None).await;
    assert_eq!(running.handle.status().phase, Phase::Degraded);
    drop(running);
    powered_off(dir);
    let running = World::in_dir(dir).start(Fault::None, FileFault::None).await;
    expect(&running.state(), &[&before.old], "the former one");
    assert!(!running.handle.status().alarms.is_empty());
    // and the same again heals it
    assert!(matches!(push(&running, &changed(), None).await, Answer::Applied { .. }));
    expect(&running.state(), &[&before.new], "healed");
    assert_eq!(running.handle.status().alarms, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn two_damaged_pages_are_an_alarm_and_drop_all_until_the_next_commit() {
    let before = before().await;
    for name in PAGES {
        damage(before.dir.path(), name, Some(b"{"));
    }
    powered_off(before.dir.path());
    for _ in 0..3 {
        let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
        expect(&running.state(), &[&before.empty], "both pages damaged");
        let status = running.handle.status();
        assert_eq!(status.phase, Phase::Unconfigured);
        assert!(!status.alarms.is_empty());
    }
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    assert!(matches!(push(&running, &changed(), None).await, Answer::Applied { .. }));
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    expect(&running.state(), &[&before.new], "committed again");
    assert_eq!(running.handle.status().alarms, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_service_in_trouble_takes_everything_back() {
    let before = before().await;
    for service in [sluice_router::DHCP, sluice_router::DNS] {
        for trouble in [Trouble::Refuses, Trouble::TakesAndStaysSilent] {
            let dir = copy(before.dir.path());
            let running = World::in_dir(dir.path()).start(Fault::None, FileFault::None).await;
            running.services.make(trouble, service);
            let answer = push(&running, &changed(), None).await;
            assert!(matches!(answer, Answer::Failed { rolled_back: true, .. }), "{answer:?}");
            expect(&running.state(), &[&before.old], &format!("{service} {trouble:?}"));

            let empty = tempfile::tempdir().unwrap();
            let running = World::in_dir(empty.path()).start(Fault::None, FileFault::None).await;
            running.services.make(trouble, service);
            let answer = push(&running, &example(), None).await;
            assert!(matches!(answer, Answer::Failed { rolled_back: true, .. }), "{answer:?}");
            expect(&running.state(), &[&before.empty], &format!("first: {service} {trouble:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_configuration_that_is_not_confirmed_leaves_nothing() {
    let before = before().await;
    let dir = tempfile::tempdir().unwrap();
    let running = World::in_dir(dir.path()).start(Fault::None, FileFault::None).await;
    let answer = push(&running, &example(), Some(Duration::from_secs(30))).await;
    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(rested(&running).await, Phase::Unconfigured);
    expect(&running.state(), &[&before.empty], "reverted");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_in_time_reverts_and_may_be_sent_again() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let within = Some(Duration::from_secs(30));
    assert!(matches!(
        push(&running, &changed(), within).await,
        Answer::Applied { confirm_within: Some(30), .. }
    ));
    expect(&running.state(), &[&before.new], "pending");
    assert_eq!(running.handle.status().phase, Phase::AwaitingConfirm);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(running.handle.status().phase, Phase::AwaitingConfirm);
    tokio::time::sleep(Duration::from_secs(2)).await;
    rested(&running).await;
    expect(&running.state(), &[&before.old], "reverted");
    let generation = changed().generation;
    let late = running.handle.confirm(generation).await;
    assert_eq!(late, ConfirmAnswer::NotPending { current: Some(example().generation) });
    assert!(matches!(push(&running, &changed(), within).await, Answer::Applied { .. }));
    assert_eq!(running.handle.confirm(generation).await, ConfirmAnswer::Committed { generation });
    tokio::time::sleep(Duration::from_mins(1)).await;
    expect(&running.state(), &[&before.new], "confirmed");
}

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
