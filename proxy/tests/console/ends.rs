//! How sessions end, and that the other side learns of it at once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_agent::service::{Asking, Service as _};
use sluice_api::report::Verdict;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::screen::{Screen, expect, expect_end, init};
use crate::world::{BOUND, World, grant, now, token};

/// A side's end must be the other's within a second; a machine that builds and tests much else at the time has more.
const AT_ONCE: Duration = Duration::from_secs(8);

const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, 65];

#[tokio::test]
async fn bytes_go_both_ways_and_are_counted() {
    let mut screen = Screen::polite().await;
    let world = World::new(&[grant("g-1", screen.address)]);
    let mut browser = world.browser();
    let (status, leave) = browser.ask(&token("g-1")).await;
    assert_eq!(status, 200);
    assert_eq!(
        (leave["vm"].as_str(), leave["screen"].as_str()),
        (Some("web server"), Some("screen/g-1"))
    );
    let mut socket = browser.open("g-1").await.unwrap();
    let note = socket.note("session").await;
    assert_eq!((note["encrypted"].as_bool(), note["viewers"].as_u64()), (Some(false), Some(1)));
    socket.greet().await;
    let mut server = screen.next().await;
    socket.send(KEY).await;
    expect(&mut server, KEY).await;
    tokio::io::AsyncWriteExt::write_all(&mut server, b"pixels").await.unwrap();
    socket.expect(b"pixels").await;
    let pulse = socket.note("pulse").await;
    assert!(pulse["round_trip_ms"].as_u64() >= Some(1), "{pulse}");
    let report = world.report();
    let session = &report["sessions"][0];
    assert_eq!(
        (session["user"].as_str(), session["from"].as_str()),
        (Some("alice"), Some("127.0.0.1"))
    );
    assert_eq!(session["from_browser"], KEY.len());
    assert_eq!(session["to_browser"], 6);
    assert_eq!(session["security"], "none");
    let text = report.to_string();
    assert!(!text.contains(&token("g-1")), "{text}");
}

#[tokio::test]
async fn either_side_that_leaves_takes_the_other_with_it() {
    let mut screen = Screen::polite().await;
    let world = World::new(&[grant("g-1", screen.address)]);
    let mut socket = world.viewer().await;
    let server = screen.next().await;
    let begun = Instant::now();
    drop(server);
    let (code, reason) = socket.closed().await;
    assert_eq!((code, reason.as_str()), (4101, "screen-closed: The VM's screen went away."));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    for politely in [true, false] {
        let mut socket = world.viewer().await;
        let mut server = screen.next().await;
        let begun = Instant::now();
        if politely {
            socket.0.close(None).await.unwrap();
        }
        drop(socket);
        expect_end(&mut server).await;
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    assert_eq!(world.report()["load"]["sessions"], 0);
    assert_eq!(world.report()["closed"][1]["reason"], "browser-left");
}

#[tokio::test]
async fn a_revoked_grant_ends_its_session_and_no_other() {
    let (mut one, mut two) = (Screen::polite().await, Screen::polite().await);
    let mut world = World::new(&[grant("g-1", one.address), grant("g-2", two.address)]);
    let mut revoked = world.viewer().await;
    let mut server = one.next().await;
    let mut other = world.browser();
    assert_eq!(other.ask(&token("g-2")).await.0, 200);
    let mut stays = other.open("g-2").await.unwrap();
    stays.greet().await;
    let mut stays_server = two.next().await;
    let begun = Instant::now();
    world.slice["grants"].as_array_mut().unwrap().remove(0);
    world.apply().unwrap();
    assert_eq!(revoked.closed().await.0, 4210);
    expect_end(&mut server).await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    stays.send(KEY).await;
    expect(&mut stays_server, KEY).await;
}

#[tokio::test]
async fn a_grant_ends_with_its_time() {
    let screen = Screen::polite().await;
    let mut world = World::new(&[grant("g-1", screen.address)]);
    let mut socket = world.viewer().await;
    world.change("expires", json!(now() + 2));
    assert_eq!(socket.closed().await.0, 4211);
}

#[tokio::test]
async fn nobody_at_the_keyboard_ends_a_session_though_the_screen_moves() {
    let mut screen = Screen::polite().await;
    let mut idle = grant("g-1", screen.address);
    idle["idle_seconds"] = json!(2);
    let world = World::new(&[idle]);
    let mut socket = world.viewer().await;
    let mut server = screen.next().await;
    let moving = tokio::spawn(async move {
        while tokio::io::AsyncWriteExt::write_all(&mut server, b"moves").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    // asking for the picture is the page's doing, not a person's
    tokio::time::sleep(Duration::from_secs(1)).await;
    let typed = Instant::now();
    socket.send(KEY).await;
    socket.send(&[3, 1, 0, 0, 0, 0, 2, 128, 1, 224]).await;
    let (code, reason) = socket.closed().await;
    assert_eq!((code, reason.as_str()), (4213, "idle: Nobody typed or clicked for 2 seconds."));
    let idle = typed.elapsed();
    assert!(idle > Duration::from_millis(1900), "{idle:?}");
    moving.abort();
}

#[tokio::test]
async fn what_a_page_asks_of_the_clipboard_by_itself_is_nobody_at_the_keyboard() {
    let mut screen = Screen::polite().await;
    let mut idle = grant("g-1", screen.address);
    idle["idle_seconds"] = json!(2);
    let world = World::new(&[idle]);
    let mut socket = world.viewer().await;
    let _server = screen.next().await;
    // the extended clipboard's "request", for text
    let request = [6, 0, 0, 0, 0xff, 0xff, 0xff, 0xfc, 2, 0, 0, 1];
    let asking = async {
        for _ in 0..100 {
            socket.send(&request).await;
            if let Ok(closed) = timeout(Duration::from_millis(200), socket.closed()).await {
                return closed.0;
            }
        }
        0
    };
    assert_eq!(asking.await, 4213);
}

#[tokio::test]
async fn a_browser_that_sleeps_is_gone_after_two_pings() {
    let mut screen = Screen::polite().await;
    let mut world = World::new(&[grant("g-1", screen.address)]);
    world.slice["settings"] = json!({ "ping_seconds": 1 });
    world.apply().unwrap();
    // nothing reads it from here on, so no ping is answered, and no end is said
    let mut asleep = world.viewer().await;
    let mut server = screen.next().await;
    let begun = Instant::now();
    expect_end(&mut server).await;
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(1), "{took:?}");
    assert_eq!(world.report()["load"]["sessions"], 0, "its place is free");
    assert_eq!(world.report()["closed"][0]["reason"], "browser-silent");
    // what it finds when it wakes up: a close frame whose code the page takes for "try again"
    let mut said = Vec::new();
    let all = tokio::io::AsyncReadExt::read_to_end(asleep.0.get_mut(), &mut said);
    timeout(BOUND, all).await.unwrap().unwrap();
    let reason = [&4107_u16.to_be_bytes()[..], b"browser-silent: "].concat();
    assert!(said.windows(reason.len()).any(|part| part == reason), "{said:?}");
}

#[tokio::test]
async fn a_session_in_which_nothing_moves_goes_on_while_its_browser_answers() {
    let mut screen = Screen::polite().await;
    let mut world = World::new(&[grant("g-1", screen.address)]);
    world.slice["settings"] = json!({ "ping_seconds": 1 });
    world.apply().unwrap();
    let mut socket = world.viewer().await;
    let mut server = screen.next().await;
    // each is a ping that was answered; two that were not would be the end
    for _ in 0..4 {
        socket.note("pulse").await;
    }
    socket.send(KEY).await;
    expect(&mut server, KEY).await;
}

#[tokio::test]
async fn a_vm_that_moves_takes_its_viewers_along() {
    let (mut old, mut new) = (Screen::polite().await, Screen::polite().await);
    let mut world = World::new(&[grant("g-1", old.address)]);
    let mut browser = world.browser();
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
    let mut socket = browser.open("g-1").await.unwrap();
    socket.greet().await;
    let mut server = old.next().await;
    world.slice["grants"][0]["backend"]["port"] = json!(new.address.port());
    world.apply().unwrap();
    assert_eq!(socket.closed().await.0, 4104, "the page tries again by itself");
    expect_end(&mut server).await;
    assert_eq!(browser.ask_again("g-1").await.0, 200);
    browser.open("g-1").await.unwrap().greet().await;
    new.next().await;
}

#[tokio::test]
async fn a_screen_that_is_away_is_said_so_and_found_again() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let world = World::new(&[grant("g-1", address)]);
    let mut browser = world.browser();
    browser.ask(&token("g-1")).await;
    let (code, reason) = browser.open("g-1").await.unwrap().closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (4102, "screen-unreachable: The VM's screen cannot be reached.")
    );
    let back = tokio::net::TcpListener::bind(address).await.unwrap();
    let serve = async {
        let (mut stream, _) = back.accept().await.unwrap();
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut buffer = [0; 12];
        stream.write_all(b"RFB 003.003\n").await.unwrap();
        stream.read_exact(&mut buffer).await.unwrap();
        stream.write_all(&[0, 0, 0, 1]).await.unwrap();
        stream.read_exact(&mut buffer[..1]).await.unwrap();
        stream.write_all(&init()).await.unwrap();
        stream
    };
    let view = async {
        let mut socket = browser.open("g-1").await.unwrap();
        socket.greet().await;
        socket
    };
    let both = async { tokio::join!(serve, view) };
    timeout(BOUND, both).await.unwrap();
}

#[tokio::test]
async fn a_vm_without_a_screen_is_not_asked_for_one() {
    let mut screen = Screen::polite().await;
    let mut away = grant("g-1", screen.address);
    away["state"] = json!("migrating");
    let mut world = World::new(&[away]);
    let mut browser = world.browser();
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
    let (code, reason) = browser.open("g-1").await.unwrap().closed().await;
    let sentence = "screen-away: There is no console now: the VM moves to another host.";
    assert_eq!((code, reason.as_str()), (4105, sentence));
    assert_eq!(screen.count(), 0);
    world.change("state", json!("there"));
    let mut socket = browser.open("g-1").await.unwrap();
    socket.greet().await;
    let mut server = screen.next().await;
    // whoever looks on while it moves sees it to the end
    world.change("state", json!("migrating"));
    socket.send(KEY).await;
    expect(&mut server, KEY).await;
}

#[tokio::test]
async fn a_page_that_waits_for_its_screen_is_told_of_once() {
    let mut screen = Screen::raw().await;
    let mut world = World::new(&[grant("g-1", screen.address)]);
    world.change("state", json!("stopped"));
    let mut browser = world.browser();
    browser.ask(&token("g-1")).await;
    for _ in 0..3 {
        assert_eq!(browser.open("g-1").await.unwrap().closed().await.0, 4105);
    }
    let report = world.report();
    let all = report["closed"].as_array().unwrap();
    assert_eq!((all.len(), &all[0]["reason"]), (1, &json!("screen-away")), "{report}");
    assert_eq!((&all[0]["id"], &report["load"]["begun"]), (&json!(1), &json!(3)), "{report}");
    world.slice["grants"][0]["backend"]["unencrypted"] = json!("refuse");
    world.change("state", json!("there"));
    let refused = async {
        let mut stream = screen.next().await;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(b"RFB 003.008\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        stream.write_all(&[1, 1]).await.unwrap();
        stream
    };
    let view = async { browser.open("g-1").await.unwrap().closed().await.0 };
    let (_stream, code) = tokio::join!(refused, view);
    assert_eq!(code, 4204);
    assert_eq!(world.report()["closed"][1]["reason"], "screen-security", "another reason is news");
}

#[tokio::test]
async fn a_port_that_is_another_vms_now_shows_nothing() {
    let screen = Screen::polite().await;
    let mut named = grant("g-1", screen.address);
    named["backend"]["desktop_name"] = json!("QEMU (i-2-7-VM)");
    let mut world = World::new(&[named]);
    let mut browser = world.browser();
    browser.ask(&token("g-1")).await;
    let (code, reason) = browser.open("g-1").await.unwrap().closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (4106, "screen-wrong: Another VM's screen is at this VM's place."),
        "the page tries again: the VM may be on its way"
    );
    world.slice["grants"][0]["backend"]["desktop_name"] = json!("vm");
    world.apply().unwrap();
    world.viewer().await;
}

/// The manager, which says this to the next question; what it was asked.
async fn says(questions: &mut Receiver<Asking>, verdict: Option<Verdict>) -> Value {
    let Asking { question, reply } = timeout(BOUND, questions.recv()).await.unwrap().unwrap();
    match verdict {
        Some(verdict) => reply.send(verdict).unwrap(),
        None => drop(reply),
    }
    question
}

#[tokio::test]
async fn the_manager_is_asked_before_each_connection_whether_the_screen_is_still_the_vms() {
    let mut screen = Screen::polite().await;
    let mut world = World::new(&[grant("g-1", screen.address)]);
    world.slice["settings"] = json!({ "ask_manager": true });
    world.apply().unwrap();
    let mut questions = world.console.questions().unwrap();
    let mut browser = world.browser();
    browser.ask(&token("g-1")).await;
    let asked = json!({ "vm": "vm-g-1", "address": "127.0.0.1", "port": screen.address.port() });
    for (verdict, code, words) in [
        (Some(Verdict::no("gone")), 4106, "screen-wrong: The VM's screen is not there any more."),
        (None, 4102, "screen-unasked: Nobody said whether this is still the VM's screen."),
    ] {
        let mut socket = browser.open("g-1").await.unwrap();
        let (question, end) = tokio::join!(says(&mut questions, verdict), socket.closed());
        assert_eq!((question, end), (asked.clone(), (code, words.to_owned())));
    }
    assert_eq!(screen.count(), 0, "it was connected to before, or without, the answer");
    let answered = async {
        let Asking { question, reply } = timeout(BOUND, questions.recv()).await.unwrap().unwrap();
        // who does not wait for the answer is there by now
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(screen.count(), 0, "it was connected to before the answer");
        reply.send(Verdict::yes()).unwrap();
        question
    };
    let viewed = async {
        let mut socket = browser.open("g-1").await.unwrap();
        socket.greet().await;
        socket
    };
    let (question, _socket) = tokio::join!(answered, viewed);
    assert_eq!(question, asked);
    screen.next().await;
}
