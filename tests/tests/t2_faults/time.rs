//! What happens by the clock: confirmations, reverts, and nothing at all.

use std::time::Duration;

use sluice_api::report::{Answer, ConfirmAnswer, Phase};
use sluice_sys::kernel::{Fault, Held};
use sluice_tests::faults::{FileFault, World, changed, example};

use crate::{before, expect, push, rested};

#[tokio::test(start_paused = true)]
async fn an_idle_router_looks_at_nothing_that_grows_with_its_tables() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let operations = running.kernel.operations();
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!((running.kernel.operations(), running.kernel.audits()), (operations, 0));
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
async fn every_ten_minutes_what_is_remembered_is_compared_with_what_is_there() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    for audits in 0..3 {
        assert_eq!(running.kernel.audits(), audits);
        tokio::time::sleep(Duration::from_mins(10) + Duration::from_secs(20)).await;
    }
    expect(&running.state(), &[&before.old], "looked at");
}

/// With 100,000 rules an audit takes seconds, which no change waits for.
#[tokio::test(start_paused = true)]
async fn an_audit_gives_way_to_a_push_and_goes_on_later() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    running.kernel.hold(Some(Held::Audits));
    tokio::time::sleep(Duration::from_mins(10) + Duration::from_secs(20)).await;
    assert_eq!(running.kernel.audits(), 1, "one is under way");
    let next = changed();
    let answer = tokio::time::timeout(Duration::from_secs(5), push(&running, &next, None));
    assert!(matches!(answer.await, Ok(Answer::Applied { .. })), "the push waits for the audit");
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(running.kernel.audits(), 2, "it is begun again");
    running.kernel.hold(None);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(running.kernel.audits(), 2, "it came to its end");
    expect(&running.state(), &[&before.new], "pushed");
}

/// Reading what 100,000 rules counted takes seconds too.
#[tokio::test(start_paused = true)]
async fn a_push_does_not_wait_until_counters_are_read() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    running.kernel.hold(Some(Held::Counters));
    let handle = running.handle.clone();
    let mut report = tokio::spawn(async move { handle.usage().await });
    let soon = tokio::time::timeout(Duration::from_secs(1), &mut report).await;
    assert!(soon.is_err(), "counters are being read");
    let next = changed();
    let answer = tokio::time::timeout(Duration::from_secs(5), push(&running, &next, None));
    assert!(matches!(answer.await, Ok(Answer::Applied { .. })), "the push waits for counters");
    running.kernel.hold(None);
    report.await.unwrap();
    expect(&running.state(), &[&before.new], "pushed");
}

#[tokio::test(start_paused = true)]
async fn a_push_passes_the_dry_runs_that_wait() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let (answered, mut order) = tokio::sync::mpsc::unbounded_channel();
    let moment = || tokio::time::sleep(Duration::from_millis(20));
    let body = || serde_json::to_vec(&changed()).unwrap();
    running.kernel.hold(Some(Held::Checks));
    for name in ["first dry run", "second dry run", "third dry run"] {
        let (handle, answered) = (running.handle.clone(), answered.clone());
        tokio::spawn(async move {
            handle.dry_run(body().into()).await;
            answered.send(name).unwrap();
        });
        moment().await;
    }
    let handle = running.handle.clone();
    tokio::spawn(async move {
        let answer = handle.push(body().into(), None).await;
        assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
        answered.send("push").unwrap();
    });
    moment().await;
    assert!(order.try_recv().is_err(), "nothing is held up");
    running.kernel.hold(None);
    for expected in ["first dry run", "push", "second dry run", "third dry run"] {
        assert_eq!(order.recv().await, Some(expected));
    }
    expect(&running.state(), &[&before.new], "pushed");
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
async fn what_is_not_in_force_any_more_does_not_become_the_last_good_one() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let generation = changed().generation;
    let within = Some(Duration::from_secs(60));
    assert!(matches!(push(&running, &changed(), within).await, Answer::Applied { .. }));
    // a NIC is pulled while the confirmation is waited for
    running.kernel.inner().edit(|seen| drop(seen.links.remove("pub0"))).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(running.handle.status().phase, Phase::Degraded);
    let answer = running.handle.confirm(generation).await;
    assert!(
        matches!(&answer, ConfirmAnswer::Failed { reason } if reason.contains("not in force")),
        "{answer:?}"
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    let current = running.handle.status().current.unwrap();
    assert_eq!(current.generation, example().generation, "it was committed all the same");
}
