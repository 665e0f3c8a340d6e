//! What a console proxy asks its manager before each connection, whoever fails meanwhile; and a proxy that cannot ask.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use sluice_agent::questions::AT_ONCE;
use sluice_api::config::CONSOLE_QUESTIONS;
use sluice_api::report::Verdict;
use sluice_tests::manager::Manager;

use super::agent::Agent;
use super::answers::status_says;
use super::kinds::{applied, done};
use super::process::Cloud;
use super::wait::until;

/// No round of a manager's watch follows by itself: what goes on after a failure goes on without one.
const UNWATCHED: [&str; 2] = ["--poll-ms", "3600000"];

/// The example's zone and a machine for its proxy, which can ask.
async fn started() -> (Cloud, Agent) {
    let cloud = Cloud::start().await;
    applied(&cloud, "consoles.toml", "p-1").await;
    let agent = boot(&cloud).await;
    let waited = cloud.sluice(["status", "--wait", "30"]);
    assert_eq!(waited.code, 0, "{waited:?}\n{}", cloud.log());
    (cloud, agent)
}

async fn boot(cloud: &Cloud) -> Agent {
    cloud.boot_with("p-1", |agent| agent.set_capabilities(&[CONSOLE_QUESTIONS])).await
}

fn at(vm: &str, address: &str) -> Value {
    json!({ "vm": vm, "address": address, "port": 5907 })
}

/// What a manager says; whoever asks tries again a few times, as the page does.
async fn asked(agent: &Agent, vm: &str, address: &str) -> Verdict {
    for _ in 0..5 {
        if let Some(said) = agent.asks("console", at(vm, address)).await {
            return said;
        }
    }
    panic!("nobody answers, after {:?} turns", agent.turns())
}

/// The VM of the example is where it is said to be.
async fn is_told_yes(agent: &Agent) {
    assert_eq!(asked(agent, "vm-7", "10.8.0.17").await, Verdict::yes());
}

/// A manager does nothing twice within half a second that comes to nothing.
fn unhurried(begun: Instant, turns: usize) {
    let most = begun.elapsed().as_millis() / 500 + 2;
    assert!(turns as u128 <= most, "{turns} turns in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_asks_is_told_whether_a_screen_is_still_its_vms() {
    let (cloud, agent) = started().await;
    is_told_yes(&agent).await;
    let no = |words: &str| Verdict::no(words);
    let elsewhere = "the screen of vm-7 is elsewhere now";
    assert_eq!(asked(&agent, "vm-7", "10.8.0.18").await, no(elsewhere), "and not where");
    assert_eq!(asked(&agent, "vm-8", "10.8.0.17").await, no("vm-8 has no screen any more"));
    // what the store says counts from the next question on, whatever the proxy has got
    done(&cloud, "screen update vm-7 --address 10.8.0.18");
    assert_eq!(asked(&agent, "vm-7", "10.8.0.18").await, Verdict::yes());
    done(&cloud, "screen update vm-7 --state migrating");
    assert_eq!(asked(&agent, "vm-7", "10.8.0.18").await, no("vm-7 has no screen now"));
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_questions_at_once_are_a_few_turns_and_what_comes_to_nothing_is_no_busy_one() {
    let (cloud, agent) = started().await;
    is_told_yes(&agent).await;
    let (_, before) = agent.turns();
    agent.gather(200);
    let said = join_all((0..200).map(|_| agent.asks("console", at("vm-7", "10.8.0.17")))).await;
    assert!(said.iter().all(|said| *said == Some(Verdict::yes())), "{said:?}");
    assert_eq!(agent.turns().1 - before, 200_usize.div_ceil(AT_ONCE), "so many in each turn");

    let (begun, before) = (Instant::now(), agent.turns());
    let other = agent.asks("dns", at("vm-7", "10.8.0.17"));
    let said = join(agent.asks("console", json!("what?")), other).await;
    assert_eq!(said, (None, None), "not understood, or another service's: not answered");
    unhurried(begun, agent.turns().0 - before.0);
    assert_eq!(agent.turns().1, before.1, "there was nothing to be said");
    agent.set_hasty(true);
    let (begun, before) = (Instant::now(), agent.turns());
    tokio::time::sleep(Duration::from_secs(2)).await;
    unhurried(begun, agent.turns().0 - before.0);
    agent.set_hasty(false);
    is_told_yes(&agent).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_was_answered_with_nonsense_comes_again_by_itself() {
    let (mut cloud, agent) = started().await;
    cloud.restart(&UNWATCHED).await;
    is_told_yes(&agent).await;
    let looks = agent.looks();
    agent.set_breaking(3);
    is_told_yes(&agent).await;
    until("the nonsense is over", || agent.breaks() == 0).await;
    is_told_yes(&agent).await;
    assert_eq!(agent.looks(), looks, "the watch had no part in it");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_holds_up_no_other_answer() {
    let (cloud, agent) = started().await;
    let broken = "screen create broken --zone zone1 --address 10.8.0.19 --port 5907";
    done(&cloud, &format!("{broken} --unencrypted anything"));
    is_told_yes(&agent).await;
    let mut turn = cloud.store().await.begin().await.unwrap();
    let spoilt = sqlx::query("UPDATE screens SET body = '{' WHERE name = 'broken'");
    assert_eq!(spoilt.execute(&mut *turn).await.unwrap().rows_affected(), 1);
    turn.commit().await.unwrap();
    // both come in one turn
    agent.gather(2);
    let asker = agent.clone();
    let unread =
        tokio::spawn(async move { asker.asks("console", at("broken", "10.8.0.19")).await });
    assert_eq!(agent.asks("console", at("vm-7", "10.8.0.17")).await, Some(Verdict::yes()));
    until("it is told of", || cloud.log().contains("questions without an answer")).await;
    unread.abort();
    cloud.stop();
}

/// Whoever waits for a question of this machine waits in vain from now on; who comes after that does not.
async fn dies(agent: &Agent) {
    until("the manager waits", || agent.listeners() == 1).await;
    agent.set_silent(true);
    is_told_yes(agent).await;
    until("the manager waits in vain", || agent.hanging() == 1).await;
    agent.set_silent(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_died_without_a_word_and_one_at_another_address_are_heard() {
    let (mut cloud, agent) = started().await;
    cloud.restart(&UNWATCHED).await;
    is_told_yes(&agent).await;
    dies(&agent).await;
    // given up by itself, for whoever comes next hangs no longer
    is_told_yes(&agent).await;

    let begun = Instant::now();
    dies(&agent).await;
    agent.set_machine(agent.incarnation(), 0);
    done(&cloud, "screen update vm-7 --desktop-name another");
    until("a look", || agent.committed() == Some(2)).await;
    let seen = begun.elapsed();
    until("the former is given up", || agent.hanging() == 0).await;
    // by itself it would be after 8 s
    let (early, late) = (Duration::from_secs(4), Duration::from_secs(7));
    assert!(seen > early || begun.elapsed() < late, "{seen:?}, {:?}", begun.elapsed());
    is_told_yes(&agent).await;

    let other = boot(&cloud).await;
    is_told_yes(&other).await;
    unheard(&agent).await;
    cloud.stop();
}

/// No manager comes for the questions of this machine, now that every one knows that there are none.
async fn unheard(agent: &Agent) {
    until("nobody waits for a question", || agent.listeners() == 0).await;
    let before = agent.turns();
    let asked = agent.asks("console", at("vm-7", "10.8.0.17"));
    let said = tokio::time::timeout(Duration::from_millis(1500), asked).await;
    assert_eq!((said.ok(), agent.turns()), (None, before), "nobody is to come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_ask_any_more_and_one_that_is_gone_are_left_alone() {
    let (cloud, agent) = started().await;
    is_told_yes(&agent).await;
    agent.set_capabilities(&[]);
    until("what it has does not want it to ask", || !wants_asking(&agent)).await;
    unheard(&agent).await;
    agent.set_capabilities(&[CONSOLE_QUESTIONS]);
    is_told_yes(&agent).await;
    done(&cloud, "console-grant delete alice");
    done(&cloud, "appliance delete consoles1");
    until("the watch is over", || cloud.log().contains("no longer watched: it is gone")).await;
    unheard(&agent).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_managers_either_answers() {
    let (mut cloud, agent) = started().await;
    let free = "127.0.0.1:0".parse().unwrap();
    let second = Manager::start(cloud.folder.path(), free, &[]).await.unwrap();
    until("both wait for questions", || agent.listeners() == 2).await;
    for _ in 0..10 {
        is_told_yes(&agent).await;
    }
    cloud.manager.end();
    is_told_yes(&agent).await;
    cloud.restart(&[]).await;
    until("both wait again", || agent.listeners() == 2).await;
    second.kill();
    is_told_yes(&agent).await;
    cloud.stop();
}

fn proxy(agent: &Agent) -> Value {
    agent.document()["role"]["proxy"].clone()
}

/// Whether what is in force has it ask.
fn wants_asking(agent: &Agent) -> bool {
    proxy(agent)["settings"]["ask_manager"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_an_earlier_build_gets_links_and_revocations_and_is_named() {
    let cloud = Cloud::start().await;
    let config = applied(&cloud, "consoles.toml", "p-1").await;
    assert_eq!(config["role"]["proxy"]["settings"]["ask_manager"], true, "of one never seen");
    let agent = cloud.boot("p-1").await;
    until("a configuration", || agent.committed().is_some()).await;
    assert!(!wants_asking(&agent));
    let words = "opened without asking whether a screen is still its VM's: firmware simulated";
    status_says(&cloud, "alarm: ", words).await;
    let token = cloud.folder.path().join("daves-token");
    std::fs::write(&token, "a token that is dave's alone, of 43 letters").unwrap();
    let grant = format!("console-grant create dave --screen vm-7 --token-file {}", token.display());
    let grants = || proxy(&agent)["grants"].as_array().map_or(0, Vec::len);
    done(&cloud, &grant);
    until("the new link", || grants() == 2).await;
    assert_eq!(cloud.sluice(["console", "vm-7", "--revoke"]).out, "revoked 2 links\n");
    until("no link any more", || grants() == 0).await;
    done(&cloud, "screen update vm-7 --address 10.8.0.18");
    until("the new place", || proxy(&agent)["screens"][0]["address"] == "10.8.0.18").await;

    agent.set_capabilities(&[CONSOLE_QUESTIONS]);
    until("what is in force has the upgraded one ask", || wants_asking(&agent)).await;
    until("no alarm", || !cloud.sluice(["status"]).out.contains("without asking")).await;
    assert_eq!(asked(&agent, "vm-7", "10.8.0.18").await, Verdict::yes());
    agent.set_capabilities(&[]);
    until("not that of the former build", || !wants_asking(&agent)).await;

    let (looks, pushed) = (agent.looks(), agent.pushed());
    until("some more looks", || agent.looks() >= looks + 5).await;
    assert_eq!(agent.pushed(), pushed, "it stays at that");
    assert!(pushed.is_sorted_by(|one, next| one < next), "each number once: {pushed:?}");
    assert_eq!(pushed[0], 2, "the first wanted it to ask");
    cloud.stop();
}
