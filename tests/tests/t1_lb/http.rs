//! HTTP rules: kept connections, retries, upgrades, times.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{Bench, Client, about, free, get, rule, until};
use crate::origin::Origin;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-served-by: m\r\n\r\nok";

/// A request's head; `None` at the end.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        match stream.read(&mut byte).await {
            Ok(1) => seen.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(seen).ok()
}

/// Reads a request's head; false at the end.
async fn hear(stream: &mut TcpStream) -> bool {
    head(stream).await.is_some()
}

/// Answers one request of each connection; the next one finds it closed just when it comes.
async fn forgetful() -> Origin {
    Origin::serve("127.0.0.1:0".parse().unwrap(), |mut stream| async move {
        if hear(&mut stream).await && stream.write_all(OK).await.is_ok() {
            hear(&mut stream).await;
        }
    })
    .await
}

/// A rule whose members no check talks to.
fn unchecked(at: SocketAddr, members: &[SocketAddr]) -> serde_json::Value {
    let mut rule = rule(at, "http", members);
    rule["health"] = json!({ "check": "none" });
    rule
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_just_then_is_not_felt() {
    let origin = forgetful().await;
    let at = free();
    let bench = Bench::with(unchecked(at, &[origin.at])).await;
    let mut client = Client::to(at).await;
    for _ in 0..500 {
        assert_eq!(client.ask("GET", "/", &[]).await.status, 200);
    }
    let member = &bench.report().rules[0].members[0].counts;
    assert!(member.reuses >= 200, "connections were kept, and found closed: {member:?}");
}

#[tokio::test]
async fn a_post_is_never_told_twice() {
    let origin = forgetful().await;
    let at = free();
    let bench = Bench::with(unchecked(at, &[origin.at])).await;
    let mut client = Client::to(at).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = client.ask("POST", "/", &["Content-Length: 0"]).await;
        statuses.push(answer.status);
    }
    // kept a moment ago: it goes over the closed connection, and what became of it is unknown
    assert!(statuses.iter().all(|status| [200, 502].contains(status)), "{statuses:?}");
    let failed = statuses.iter().filter(|status| **status == 502).count();
    let accepted = origin.accepted();
    assert!(failed > 0 && accepted == statuses.len() - failed, "{accepted} {statuses:?}");
    assert_eq!(bench.report().rules[0].counts.response_errors, failed as u64);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let origin = Origin::serve("127.0.0.1:0".parse().unwrap(), |mut stream| async move {
        hear(&mut stream).await;
        // the test's own failure shows in what the client gets
        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").await;
    })
    .await;
    let silent = Origin::serve("127.0.0.1:0".parse().unwrap(), |mut stream| async move {
        hear(&mut stream).await;
    })
    .await;
    let garbled = Origin::serve("127.0.0.1:0".parse().unwrap(), |mut stream| async move {
        hear(&mut stream).await;
        let _sent = stream.write_all(b"what?\r\n\r\n").await;
    })
    .await;
    let at = free();
    let mut bench = Bench::with(unchecked(at, &[origin.at])).await;
    let mut client = Client::to(at).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let heard = String::from_utf8(client.rest().await).unwrap();
    assert!(heard.ends_with("part"), "what there is passes, and the end is no clean one: {heard}");
    for wrong in [silent.at, garbled.at] {
        bench.rule()["members"] = json!([crate::bench::member(1, wrong)]);
        bench.apply().await.unwrap();
        assert_eq!(get(at, "/").await.status, 502);
    }
}

#[tokio::test]
async fn connections_to_members_are_kept_and_shared() {
    let origin = Origin::http("m1").await;
    let at = free();
    let bench = Bench::with(unchecked(at, &[origin.at])).await;
    for _ in 0..50 {
        assert_eq!(get(at, "/").await.status, 200);
    }
    // one for each of two threads
    assert!(origin.accepted() <= 2, "{} connections", origin.accepted());
    let counts = &bench.report().rules[0].members[0].counts;
    assert!(counts.reuses >= 48 && counts.sessions == 50, "{counts:?}");
}

#[tokio::test]
async fn announced_connections_are_for_one_client_each() {
    let origin = Origin::serve("127.0.0.1:0".parse().unwrap(), |mut stream| async move {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.unwrap());
        }
        let line = String::from_utf8(line).unwrap();
        while hear(&mut stream).await {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    })
    .await;
    let at = free();
    let mut rule = unchecked(at, &[origin.at]);
    rule["proxy_protocol"] = json!("v1");
    let _bench = Bench::with(rule).await;
    for _ in 0..3 {
        let mut client = Client::to(at).await;
        let port = client.stream.local_addr().unwrap().port();
        let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n", at.port());
        for _ in 0..3 {
            assert_eq!(client.ask("GET", "/", &[]).await.body, expected);
        }
    }
    assert_eq!(origin.accepted(), 3);
}

#[tokio::test]
async fn an_upgrade_passes_and_what_follows_is_bytes() {
    let origin = Origin::serve("127.0.0.1:0".parse().unwrap(), |mut stream| async move {
        hear(&mut stream).await;
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhi ";
        stream.write_all(answer).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..length]).await.unwrap();
        }
    })
    .await;
    let at = free();
    let bench = Bench::with(unchecked(at, &[origin.at])).await;
    let mut client = Client::to(at).await;
    client
        .send("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly ")
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("echo")));
    client.send("GET / HTTP/1.1\r\n").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"hi early GET / HTTP/1.1\r\n");
    until(|| bench.report().rules[0].counts.current == 0, "the tunnel is over").await;
}

#[tokio::test]
async fn an_upgrade_that_is_declined_leaves_http() {
    let origin = Origin::http("m1").await;
    let at = free();
    let _bench = Bench::with(unchecked(at, &[origin.at])).await;
    let mut client = Client::to(at).await;
    for _ in 0..3 {
        let answer = client.ask("GET", "/", &["Connection: upgrade", "Upgrade: other"]).await;
        assert!(answer.status == 200 && answer.body.contains("upgrade: other"), "{answer:?}");
        // HTTP/2 within would hide everything that follows
        let lines =
            ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"];
        let answer = client.ask("GET", "/", &lines).await;
        assert!(answer.status == 200 && !answer.body.contains("h2c"), "{answer:?}");
        assert!(!answer.body.contains("http2-settings"), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_for_this_hop_stays_here() {
    let origin = Origin::http("m1").await;
    let at = free();
    let _bench = Bench::with(unchecked(at, &[origin.at])).await;
    let lines = [
        "Connection: X-Mine, close, X-Forwarded-For, Host",
        "X-Mine: 1",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic x",
        "TE: trailers",
    ];
    let seen = Client::to(at).await.ask("GET", "/", &lines).await.body;
    for gone in
        ["x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "te:", "connection:"]
    {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    let port = format!("x-forwarded-port: {}", at.port());
    for there in [
        "host: x",
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http\n",
        &port,
    ] {
        assert!(seen.contains(there), "{there} in {seen}");
    }
}

#[tokio::test]
async fn times_of_http_are_kept() {
    let slow = Origin::serve("127.0.0.1:0".parse().unwrap(), |mut stream| async move {
        hear(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let at = free();
    let mut rule = unchecked(at, &[slow.at]);
    rule["timeouts"] = json!({ "idle_seconds": 1, "keep_alive_seconds": 1, "request_seconds": 1 });
    let mut bench = Bench::with(rule).await;
    let began = Instant::now();
    let (late, drip, silent) = tokio::join!(
        get(at, "/"),
        async {
            let mut client = Client::to(at).await;
            client.send("GET / HTTP/1.1\r\nHo").await;
            let answer = client.answer().await.unwrap();
            (answer.status, client.rest().await)
        },
        async { Client::to(at).await.rest().await }
    );
    about(began, 1.0);
    assert_eq!((late.status, drip, silent), (504, (408, vec![]), vec![]));
    let quick = Origin::http("m2").await;
    bench.rule()["members"] = json!([crate::bench::member(2, quick.at)]);
    bench.apply().await.unwrap();
    let mut client = Client::to(at).await;
    assert_eq!(client.ask("GET", "/", &[]).await.status, 200);
    let began = Instant::now();
    assert_eq!(client.rest().await, b"");
    about(began, 1.0);
    bench.rule()["timeouts"]["keep_alive_seconds"] = json!(0);
    bench.apply().await.unwrap();
    let mut client = Client::to(at).await;
    let answer = client.ask("GET", "/", &[]).await;
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn checks_over_http_go_by_status() {
    let status = Arc::new(AtomicU16::new(204));
    let (told, asked) = (Arc::clone(&status), Arc::<Mutex<String>>::default());
    let heard = Arc::clone(&asked);
    let origin = Origin::serve("127.0.0.1:0".parse().unwrap(), move |mut stream| {
        let (status, heard) = (Arc::clone(&told), Arc::clone(&heard));
        async move {
            let head = head(&mut stream).await.unwrap_or_default();
            *heard.lock().unwrap() = head;
            let status = status.load(Ordering::Relaxed);
            let answer = format!("HTTP/1.1 {status} It\r\ncontent-length: 0\r\n\r\n");
            let _sent = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let at = free();
    // the check has a port of its own: where the member serves nobody listens
    let mut rule = rule(at, "http", &[free()]);
    rule["health"]["port"] = json!(origin.at.port());
    rule["health"]["check"] = json!({ "http": {
        "method": "OPTIONS", "path": "/healthz?deep=1", "host": "www.example.net", "status_from": 202, "status_to": 299,
    } });
    let bench = Bench::with(rule).await;
    let health = || bench.report().rules[0].members[0].health.clone();
    until(|| health().checks >= 2, "two checks").await;
    bench.healthy(1).await;
    let head = asked.lock().unwrap().to_lowercase();
    assert!(head.starts_with("options /healthz?deep=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: www.example.net\r\n"), "{head}");
    // below, above and at both ends of what is expected
    for (answer, healthy) in [(201, 0), (202, 1), (500, 0), (299, 1), (300, 0)] {
        status.store(answer, Ordering::Relaxed);
        bench.healthy(healthy).await;
        if healthy == 0 {
            assert_eq!(health().trouble, Some(format!("status {answer}")));
        }
    }
    assert_eq!(get(at, "/").await.status, 503);
}
