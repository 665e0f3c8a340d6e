//! Clients that mean harm, or do it: smuggled requests, dripping heads, answers nobody reads, storms.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::bench::{BOUND, Bench, Client, about, free, get, rule, until};
use crate::origin::Origin;

async fn web() -> (Origin, SocketAddr, Bench) {
    let origin = Origin::http("m1").await;
    let at = free();
    let bench = Bench::with(rule(at, "http", &[origin.at])).await;
    (origin, at, bench)
}

/// Sends `bytes`; the statuses of all answers until the end.
async fn statuses(at: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut client = Client::to(at).await;
    // the answer may come before all is sent
    let _sent = client.stream.write_all(bytes).await;
    let mut statuses = Vec::new();
    while let Some(answer) = client.answer().await {
        statuses.push(answer.status);
    }
    statuses
}

#[tokio::test]
async fn nothing_is_smuggled_behind_a_request() {
    let (_origin, at, bench) = web().await;
    let smuggled = "GET /admin HTTP/1.1\r\nHost: x\r\n\r\n";
    let wrong = [
        // CL.TE and TE.CL
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n{smuggled}0\r\n\r\n"
        ),
        // TE.TE
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        // folded, and lone LF
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n{smuggled}"
        ),
        format!("POST / HTTP/1.1\r\nHost: x\nContent-Length: 50\r\n\r\n{smuggled}"),
        // doubled
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n{smuggled}"
        ),
        format!("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n{smuggled}"),
        // in a chunk's extension
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n{smuggled}"
        ),
    ];
    for bytes in &wrong {
        assert_eq!(statuses(at, bytes.as_bytes()).await, [400], "{bytes}");
    }
    // a good request before it is answered
    let good = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(statuses(at, format!("{good}{}", wrong[0]).as_bytes()).await, [200, 400]);
    let counts = &bench.report().rules[0].counts;
    assert_eq!(counts.request_errors, 10, "{counts:?}");
}

#[tokio::test]
async fn what_is_too_long_is_told_so() {
    let (_origin, at, _bench) = web().await;
    // the whole head may come at once, or not
    for length in [20_000, 100_000] {
        let long = "a".repeat(length);
        let line = format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(statuses(at, line.as_bytes()).await, [414], "{length}");
        let header = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n");
        assert_eq!(statuses(at, header.as_bytes()).await, [431], "{length}");
    }
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: a\r\n".repeat(500));
    assert_eq!(statuses(at, many.as_bytes()).await, [431]);
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = format!("{chunked}1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(100_000));
    assert_eq!(statuses(at, extension.as_bytes()).await, [400]);
    let trailers = format!("{chunked}0\r\n{}\r\n", "X: a\r\n".repeat(20_000));
    assert_eq!(statuses(at, trailers.as_bytes()).await, [400]);
}

#[tokio::test]
async fn dripping_heads_end_in_time_however_they_drip() {
    let (_origin, at, mut bench) = web().await;
    bench.rule()["timeouts"] = json!({ "request_seconds": 1 });
    bench.apply().await.unwrap();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..100 {
        crowd.spawn(async move {
            let began = Instant::now();
            let mut client = Client::to(at).await;
            client.send("GET / HTTP/1.1\r\nHost: x\r\n").await;
            // a byte at a time keeps nothing alive
            while began.elapsed() < BOUND && client.stream.write_all(b"X").await.is_ok() {
                if tokio::time::timeout(Duration::from_millis(50), client.stream.readable())
                    .await
                    .is_ok()
                {
                    break;
                }
            }
            assert_eq!(client.answer().await.unwrap().status, 408);
            about(began, 1.0);
        });
    }
    assert_eq!(get(at, "/").await.status, 200, "others are served meanwhile");
    crowd.join_all().await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_not_kept_in_memory() {
    let (_origin, at, mut bench) = web().await;
    bench.rule()["timeouts"] = json!({ "idle_seconds": 1 });
    bench.apply().await.unwrap();
    let mut client = Client::to(at).await;
    client.send("GET /size/50000000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    until(|| bench.report().rules[0].counts.bytes_out > 0, "the answer has begun").await;
    until(|| bench.report().rules[0].counts.current == 0, "the reader that stands still is cut")
        .await;
    let out = bench.report().rules[0].counts.bytes_out;
    assert!(out < 20_000_000, "no more than sockets hold: {out}");
}

#[tokio::test]
async fn half_a_close_still_gets_its_answer() {
    let (_origin, at, _bench) = web().await;
    let mut client = Client::to(at).await;
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_storm_of_resets_leaves_nothing_behind() {
    let (_origin, at, bench) = web().await;
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..500 {
        crowd.spawn(async move {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let part = [
                "",
                "GET / HT",
                "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
            ];
            stream.write_all(part[number % 4].as_bytes()).await.unwrap();
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        });
    }
    crowd.join_all().await;
    until(|| bench.report().rules[0].counts.current == 0, "all of them are gone").await;
    assert_eq!(bench.report().rules[0].members[0].counts.current, 0);
    assert_eq!(get(at, "/").await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_cut_or_malformed_is_not_answered_as_if_whole() {
    let (_origin, at, bench) = web().await;
    let mut cut = Client::to(at).await;
    cut.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart").await;
    cut.stream.shutdown().await.unwrap();
    let answer = cut.answer().await;
    assert!(answer.is_none_or(|answer| answer.status == 400), "no server saw a whole request");
    let chunks = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n";
    assert_eq!(statuses(at, chunks).await, [400]);
    until(|| bench.report().rules[0].counts.current == 0, "both are over").await;
}

#[tokio::test]
async fn bytes_without_sense_harm_nobody() {
    let (_origin, at, bench) = web().await;
    let mut state = 0x1234_5678_u32;
    let mut random = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    for length in 1..60 {
        let mut client = Client::to(at).await;
        let _sent = client.stream.write_all(&random(length)).await;
        let _sent = client.stream.shutdown().await;
        tokio::time::timeout(BOUND, client.rest()).await.unwrap();
    }
    until(|| bench.report().rules[0].counts.current == 0, "all of them are gone").await;
    assert_eq!(get(at, "/").await.status, 200);
}
