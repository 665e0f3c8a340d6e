//! The power goes in the middle of an apply: the router returns on the old configuration or the new one, whole.

use std::time::{Duration, Instant};

use sluice_api::RouterDocument;
use sluice_api::report::{Answer, ConfirmAnswer, Phase};
use sluice_tests::cloud::single::Single;
use sluice_tests::faults;

use super::world::BOOT;

/// Parts of the time that a whole apply takes, in percent; the last one is after its end.
const CUTS: [u32; 5] = [5, 35, 60, 85, 130];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_in_an_apply_it_returns_on_the_old_or_the_new_configuration() {
    let single = Single::start("power", Single::direct(), |lab| lab).await.unwrap();
    single.status(BOOT).await.unwrap();
    let mut current = faults::example();
    single.push_and_confirm(&current).await.unwrap();
    let mut other = faults::changed();
    let start = Instant::now();
    single.push_and_confirm(&other).await.unwrap();
    let whole = start.elapsed();
    std::mem::swap(&mut current, &mut other);

    for percent in CUTS {
        other.generation = current.generation.next().unwrap();
        let confirmed = cut_while_pushing(&single, &other, whole * percent / 100).await;
        let back = returned(&single).await;
        let is_new = back == other;
        eprintln!("cut at {percent} %: confirmed {confirmed}, returned on the new one {is_new}");
        assert!(is_new || back == current, "neither old nor new: {back:#?}");
        assert!(is_new || !confirmed, "a confirmed configuration was lost: {back:#?}");
        // whole: the same again is answered at once, and the next change works
        let answer = single.client.push(&back).await;
        assert!(matches!(answer, Ok(Answer::Already { .. })), "{answer:?}");
        if is_new {
            std::mem::swap(&mut current, &mut other);
        }
    }
    other.generation = current.generation.next().unwrap();
    single.push_and_confirm(&other).await.unwrap();
    single.lab.down().await.unwrap();
}

/// Pushes and confirms as the manager does, and cuts the power `after` it began. Whether the router had confirmed.
async fn cut_while_pushing(single: &Single, config: &RouterDocument, after: Duration) -> bool {
    let (client, pushed) = (single.client.clone(), config.clone());
    let push = tokio::spawn(async move {
        client.push_confirming(&pushed, 60).await.ok()?;
        client.confirm(pushed.generation).await.ok()
    });
    tokio::time::sleep(after).await; // the one place where time is what the test is about
    let router = single.lab.machine("r-1").unwrap();
    router.power_cut().await.unwrap();
    push.abort();
    let confirmed: Option<ConfirmAnswer> = push.await.ok().flatten();
    router.power_on().await.unwrap();
    matches!(confirmed, Some(ConfirmAnswer::Committed { .. }))
}

/// What it runs after it has come back, as the agent itself verified it.
async fn returned(single: &Single) -> RouterDocument {
    let status = single.status(BOOT).await.unwrap();
    assert_eq!(status.phase, Phase::InForce, "{status:#?}\n{}", single.lab.state().await);
    assert!(status.alarms.is_empty(), "{status:#?}");
    let config = single.client.config().await.unwrap();
    assert_eq!(status.current.map(|current| current.generation), Some(config.generation));
    config
}
