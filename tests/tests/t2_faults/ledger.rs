//! A damaged ledger: one page, both pages, the content that they name.

use std::path::Path;
use std::time::Duration;

use sluice_api::RouterDocument;
use sluice_api::report::{Answer, Phase};
use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, World, changed};

use crate::{before, copy, expect, powered_off, push};

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
