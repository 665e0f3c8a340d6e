//! Clients that mean harm, or do it: smuggled requests, dripping heads, answers nobody reads, storms.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::bench::{BOUND, Bench, Client, free, get, rule, until};
use crate::handover::{Desk, listened};
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
    let line = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    assert_eq!(statuses(at, line.as_bytes()).await, [414]);
    let header = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    assert_eq!(statuses(at, header.as_bytes()).await, [431]);
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
            while client.stream.write_all(b"X").await.is_ok() {
                if tokio::time::timeout(Duration::from_millis(50), client.stream.readable())
                    .await
                    .is_ok()
                {
                    break;
                }
            }
            assert_eq!(client.answer().await.unwrap().status, 408);
            assert!(began.elapsed() < Duration::from_secs(3));
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

/// A rule's limit, and connections offered to it: 10,000 and 100,000 with `SLUICE_FULL=1`, or as many as a process may have
/// open; ten for each that is let in.
fn offered() -> (usize, usize) {
    let files = sluice_sys::process::raise_open_files().unwrap();
    let wanted = if std::env::var_os("SLUICE_FULL").is_some() { 100_000 } else { 2_000 };
    let all = wanted.min(usize::try_from(files).unwrap() - 500);
    assert!(all >= 2_000, "{files} open files are too few");
    eprintln!("{all} connections are offered to a limit of {}", all / 10);
    (all / 10, all)
}

/// A connection from an address of its own for some thousands, since there are no more ports than that.
async fn connected(at: SocketAddr, number: usize) -> std::io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    let group = u8::try_from(number / 10_000).unwrap_or(u8::MAX);
    socket.bind(SocketAddr::from(([127, 0, 1, group.saturating_add(1)], 0)))?;
    socket.connect(at).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_a_rule_takes_wait_and_harm_no_other() {
    let (limit, all) = offered();
    let (echo, origin) = (Origin::echo("e").await, Origin::http("m1").await);
    let (at, elsewhere) = (free(), free());
    let mut rules = [rule(at, "tcp", &[echo.at]), rule(elsewhere, "http", &[origin.at])];
    rules[0]["max_connections"] = json!(limit);
    rules[1]["id"] = json!("other");
    let mut desk = Desk::with(&json!({ "balancers": rules }), &[]);
    for at in [at, elsewhere] {
        listened(at).await;
    }
    // by then it listens for signals, too
    assert_eq!(get(elsewhere, "/").await.status, 200);
    until_counts(&mut desk, "current", 0).await;
    let before = desk.peak();
    let mut held = Vec::new();
    for number in 0..limit {
        let mut stream = connected(at, number).await.unwrap();
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut [0; 1]).await.unwrap();
        held.push(stream);
    }
    // more than the kernel queues are not answered at all: they are not waited for
    let mut crowd = tokio::task::JoinSet::new();
    for number in limit..all {
        crowd.spawn(async move {
            let patience = Duration::from_secs(2);
            let Ok(Ok(mut stream)) = tokio::time::timeout(patience, connected(at, number)).await
            else {
                return false;
            };
            let mut name = [0; 1];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut name).await.is_ok()
        });
    }
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(get(elsewhere, "/").await.status, 200);
        assert!(began.elapsed() < BOUND, "the other rule serves meanwhile");
    }
    let counts = counts(&mut desk).await;
    let told = ["current_most", "request_errors", "no_member"].map(|name| number(&counts, name));
    assert_eq!(told, [limit, 0, 0]);
    drop(held);
    let served = async {
        let mut served = 0;
        while let Some(ended) = crowd.join_next().await {
            served += usize::from(ended.unwrap());
        }
        served
    };
    let served = tokio::time::timeout(BOUND * 6, served).await.expect("all of them end");
    assert!(served > 0, "who waited is served");
    let counts = until_counts(&mut desk, "current", 0).await;
    assert!(number(&counts, "current_most") <= limit, "{counts}");
    // what waits is the kernel's: memory goes with what is let in, in an unoptimised build as well
    let (grown, bound) = (desk.peak() - before, limit * 32_768 + (16 << 20));
    assert!(grown < bound, "{grown} bytes more, {bound} allowed");
}

/// What the rule called `rule` counted.
async fn counts(desk: &mut Desk) -> Value {
    let report = desk.report().await.expect("it runs");
    let rules = report["rules"].as_array().unwrap();
    rules.iter().find(|it| it["id"] == "rule").unwrap()["counts"].clone()
}

fn number(counts: &Value, name: &str) -> usize {
    // what is nought is left out
    usize::try_from(counts[name].as_u64().unwrap_or(0)).unwrap()
}

async fn until_counts(desk: &mut Desk, name: &str, wanted: usize) -> Value {
    let wait = async {
        loop {
            let counts = counts(desk).await;
            if number(&counts, name) == wanted {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.expect("all of them are gone")
}
