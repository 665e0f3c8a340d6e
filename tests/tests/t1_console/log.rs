//! What stands in the log of the proxy, and what sessions leave behind: nothing.

use serde_json::json;
use sluice_lab::Wait;

use crate::bench::{BOUND, Proxy, free, grant};
use sluice_tests::console::client::{Outcome, begin, look, post};
use sluice_tests::console::rfb::Rfb;

fn lines(proxy: &Proxy, text: &str) -> usize {
    proxy.log().lines().filter(|line| line.contains(text)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_waits_is_a_line_for_each_reason_and_a_session_is_two() {
    let screen = Rfb::start((640, 480), true);
    let mut proxy = Proxy::start(&[grant("g-1", free().port())], json!({}));
    for _ in 0..5 {
        let outcome = look(proxy.address, "g-1").await;
        assert!(matches!(outcome, Outcome::Closed(4102, _)), "{outcome:?}");
    }
    // the last line of an attempt is written before the browser is told, so these are all
    assert_eq!(lines(&proxy, "g-1"), 1, "{}", proxy.log());
    assert_eq!(lines(&proxy, "console not shown"), 1, "{}", proxy.log());
    proxy.slice["grants"][0]["state"] = json!("stopped");
    proxy.reload();
    for _ in 0..5 {
        let outcome = look(proxy.address, "g-1").await;
        assert!(matches!(outcome, Outcome::Closed(4105, _)), "{outcome:?}");
    }
    assert_eq!(lines(&proxy, "console not shown"), 2, "{}", proxy.log());
    proxy.slice["grants"][0]["state"] = json!("there");
    proxy.slice["grants"][0]["backend"]["port"] = json!(screen.address.port());
    proxy.reload();
    let outcome = look(proxy.address, "g-1").await;
    assert!(matches!(outcome, Outcome::Shown(..)), "{outcome:?}");
    Wait::until(BOUND, "its end", || lines(&proxy, "console closed") == 1).unwrap();
    assert_eq!((lines(&proxy, "console opened"), lines(&proxy, "g-1")), (1, 4), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_short_sessions_leave_no_file_and_no_thread_behind() {
    let screen = Rfb::start((64, 48), true);
    let mut grants = [grant("g-1", screen.address.port()), grant("gone", free().port())];
    grants[0]["limits"] = json!({ "sessions": 200 });
    let proxy = Proxy::start(&grants, json!({}));
    for id in ["g-1", "gone"] {
        let _outcome = look(proxy.address, id).await;
    }
    let none = || proxy.report()["load"]["sessions"] == 0;
    Wait::until(BOUND, "no session", none).unwrap();
    let before = proxy.holds();
    for round in 0..100 {
        let shown = matches!(look(proxy.address, "g-1").await, Outcome::Shown(..));
        assert!(shown, "round {round}");
        let closed = matches!(look(proxy.address, "gone").await, Outcome::Closed(4102, _));
        assert!(closed, "round {round}");
    }
    // and fifty at the same time, which end without a word
    let connect = async || tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let (_, _, cookie) = post(connect().await, proxy.address, "http", "g-1").await;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let host = proxy.address.to_string();
        sockets.push(begin(connect().await, &host, "http", "g-1", &cookie).await.1);
    }
    let (files, threads) = proxy.holds();
    assert!(files >= before.0 + 90, "two for each: {files}, {} before", before.0);
    assert_eq!(threads, before.1, "no session has a thread");
    drop(sockets);
    let back = Wait::until(BOUND, "all given back", || proxy.holds().0 <= before.0);
    back.unwrap_or_else(|late| panic!("{late}: {:?}, {before:?} before", proxy.holds()));
    assert_eq!(proxy.report()["load"]["sessions"], 0);
}
