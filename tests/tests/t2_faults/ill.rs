//! What is ill, missing or in trouble: it takes back a change that is about it, and vetoes no other.

use std::time::Duration;

use sluice_api::RouterDocument;
use sluice_api::config::Attachment;
use sluice_api::report::{Answer, Phase};
use sluice_sys::kernel::Fault;
use sluice_tests::faults::{FileFault, Running, Trouble, World, changed, example};

use crate::{before, copy, expect, push, rested};

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
    let log = sluice_agent::logs::install().unwrap();
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
    // tried again, but less and less, and said once
    let said = log.page(0, 1000).entries.last().unwrap().sequence;
    let operations = running.kernel.operations();
    tokio::time::sleep(Duration::from_mins(10)).await;
    let tried = running.kernel.operations() - operations;
    assert!((20..600).contains(&tried), "{tried} operations in ten minutes");
    let more = log.page(said, 1000).entries;
    assert!(more.len() <= 3, "{more:#?}");
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
