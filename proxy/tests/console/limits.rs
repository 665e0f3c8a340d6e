//! What a grant does not allow does not reach the VM, and nothing grows without bound.

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::screen::{Screen, expect};
use crate::world::{World, grant, token};

const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, 65];
const CLICK: &[u8] = &[5, 1, 0, 9, 0, 9];
const PASTE: &[u8] = b"\x06\0\0\0\0\0\0\x05hello";
const REQUEST: &[u8] = &[3, 1, 0, 0, 0, 0, 2, 128, 1, 224];

#[tokio::test]
async fn view_only_cannot_type_whatever_the_page_sends_and_may_be_changed_meanwhile() {
    let mut screen = Screen::polite().await;
    let mut view = grant("g-1", screen.address);
    view["view_only"] = json!(true);
    let mut world = World::new(&[view]);
    let mut socket = world.viewer().await;
    let mut server = screen.next().await;
    socket.send(&[KEY, CLICK, PASTE, REQUEST].concat()).await;
    expect(&mut server, REQUEST).await;
    world.change("view_only", json!(false));
    assert_eq!(socket.note("grant").await["view_only"], false);
    socket.send(&[KEY, REQUEST].concat()).await;
    expect(&mut server, &[KEY, REQUEST].concat()).await;
    world.change("view_only", json!(true));
    assert_eq!(socket.note("grant").await["view_only"], true);
    socket.send(&[KEY, REQUEST].concat()).await;
    expect(&mut server, REQUEST).await;
    assert_eq!(world.report()["sessions"][0]["left_out"], 4);
}

#[tokio::test]
async fn whoever_breaks_the_rules_is_told_which() {
    let screen = Screen::polite().await;
    let world = World::new(&[grant("g-1", screen.address)]);
    let long = vec![0; 200 * 1024];
    for (message, rule) in [
        (Message::binary(vec![250, 0, 1, 2]), "message type 250 is not known"),
        (Message::binary(vec![6, 0, 0, 0, 0x7f, 0, 0, 0]), "clipboard has 2130706432"),
        (Message::text("hello"), "text instead of RFB"),
        (Message::binary(long), "Message too long"),
    ] {
        let mut socket = world.viewer().await;
        futures_util::SinkExt::send(&mut socket.0, message).await.unwrap();
        let (code, reason) = socket.closed().await;
        assert_eq!(code, 4220, "{reason}");
        assert!(reason.contains(rule), "{reason}");
    }
}

#[tokio::test]
async fn fragments_are_put_together_and_control_frames_are_no_data() {
    let mut screen = Screen::polite().await;
    let world = World::new(&[grant("g-1", screen.address)]);
    let mut socket = world.viewer().await;
    let mut server = screen.next().await;
    let part = |bytes: &[u8], kind, last| {
        Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(kind), last))
    };
    for frame in [
        part(&KEY[..3], Data::Binary, false),
        Message::Ping(b"are you there".to_vec().into()),
        part(&KEY[3..6], Data::Continue, false),
        part(&KEY[6..], Data::Continue, true),
        Message::binary(CLICK),
    ] {
        socket.0.send(frame).await.unwrap();
    }
    expect(&mut server, &[KEY, CLICK].concat()).await;
    // the rest of nothing
    socket.0.send(part(KEY, Data::Continue, true)).await.unwrap();
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 4220, "{reason}");
}

#[tokio::test]
async fn too_many_messages_wait_and_none_is_lost() {
    let mut screen = Screen::polite().await;
    let mut slow = grant("g-1", screen.address);
    slow["limits"] = json!({ "messages_per_second": 100 });
    let world = World::new(&[slow]);
    let mut socket = world.viewer().await;
    let mut server = screen.next().await;
    let begun = Instant::now();
    for _ in 0..250 {
        socket.send(KEY).await;
    }
    expect(&mut server, &KEY.repeat(250)).await;
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1200), "{took:?}");
}

#[tokio::test]
async fn a_bound_on_the_picture_holds_and_may_be_lifted() {
    let mut screen = Screen::polite().await;
    let mut slow = grant("g-1", screen.address);
    slow["limits"] = json!({ "screen_bytes_per_second": 100_000 });
    let mut world = World::new(&[slow]);
    let mut socket = world.viewer().await;
    let mut server = screen.next().await;
    let (picture, begun) = (vec![7; 250_000], Instant::now());
    let (_, ()) = tokio::join!(server.write_all(&picture), socket.expect(&picture));
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(800), "{took:?}");
    world.change("limits", json!({}));
    // under the bound it would take 39 s; what was taken under it still waits by it
    let (picture, begun) = (vec![7; 4_000_000], Instant::now());
    let (_, ()) = tokio::join!(server.write_all(&picture), socket.expect(&picture));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_narrow_bound_slows_the_picture_and_hides_neither_it_nor_its_end() {
    let mut screen = Screen::polite().await;
    let mut slow = grant("g-1", screen.address);
    slow["limits"] = json!({ "screen_bytes_per_second": 20_000 });
    let mut world = World::new(&[slow]);
    // notes come more often than a wait for 64 KiB would end
    world.slice["settings"] = json!({ "ping_seconds": 1 });
    world.apply().unwrap();
    let mut socket = world.viewer().await;
    let mut server = screen.next().await;
    let (picture, begun) = (vec![7; 100_000], Instant::now());
    let (_, ()) = tokio::join!(server.write_all(&picture), socket.expect(&picture));
    assert!(begun.elapsed() > Duration::from_millis(2500), "{:?}", begun.elapsed());
    drop(server);
    assert_eq!(socket.closed().await.0, 4101);
}

#[tokio::test]
async fn a_browser_that_does_not_read_stops_the_server_and_not_our_memory() {
    let mut screen = Screen::polite().await;
    let world = World::new(&[grant("g-1", screen.address)]);
    let _not_reading = world.viewer().await;
    let mut server = screen.next().await;
    let picture = vec![7; 64 * 1024];
    let mut taken = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), server.write(&picture)).await {
        taken += written.unwrap();
        assert!(taken < 64 << 20, "{taken} bytes went somewhere");
    }
    let sent = world.report()["sessions"][0]["to_browser"].as_u64().unwrap();
    assert!(sent < 16 << 20, "{sent}");
}

#[tokio::test]
async fn two_may_look_at_one_vm_and_are_told_of_each_other() {
    let mut screen = Screen::polite().await;
    let mut grant = grant("g-1", screen.address);
    grant["limits"] = json!({ "sessions": 2 });
    let world = World::new(&[grant]);
    let mut first = world.viewer().await;
    let _one = screen.next().await;
    let mut browser = world.browser();
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
    let mut second = browser.open("g-1").await.unwrap();
    assert_eq!(second.note("session").await["viewers"], 2);
    second.greet().await;
    let mut server = screen.next().await;
    assert_eq!(browser.ask(&token("g-1")).await.1["code"], "grant-full");
    assert_eq!(browser.open("g-1").await.err().unwrap(), 409);
    first.send(REQUEST).await;
    drop(first);
    second.send(KEY).await;
    expect(&mut server, KEY).await;
    let mut rest = [0; 1];
    assert!(
        timeout(Duration::from_millis(50), server.read(&mut rest)).await.is_err(),
        "undisturbed"
    );
}

#[tokio::test]
async fn a_draining_proxy_keeps_whom_it_has() {
    let mut screen = Screen::polite().await;
    let mut world = World::new(&[grant("g-1", screen.address)]);
    let mut socket = world.viewer().await;
    let mut server = screen.next().await;
    world.slice["settings"] = json!({ "draining": true });
    world.apply().unwrap();
    let (status, answer) = world.browser().ask(&token("g-1")).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("draining")));
    assert_eq!(answer["may_pass"], true);
    socket.send(KEY).await;
    expect(&mut server, KEY).await;
}
