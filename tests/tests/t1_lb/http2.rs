//! HTTP/2, byte by byte where usual clients do not do what is asked here.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::bench::{BOUND, until};
use crate::tls::{EC, Secure, certificate};

/// Kinds of frame (RFC 9113 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// What a client lets a server send unasked.
const WINDOW: usize = 65_535;

/// A connection under TLS that HTTP/2 was agreed on for.
struct Raw {
    _openssl: Child,
    writer: ChildStdin,
    reader: ChildStdout,
}

impl Raw {
    fn to(secure: &Secure) -> Self {
        let mut child = tokio::process::Command::from(sluice_programs::command("openssl").unwrap())
            .args(["s_client", "-quiet", "-alpn", "h2", "-connect", &secure.at.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (writer, reader) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { _openssl: child, writer, reader }
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The first words of a client that asks for `path`.
fn opening(path: &str) -> Vec<u8> {
    let literal = |index: u8, value: &str| {
        [&[index, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat()
    };
    // RFC 7541 A: GET, https, and two names with values of our own
    let headers = [vec![0x82, 0x87], literal(4, path), literal(1, "a.example")].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // the end of the headers and of the request
    [preface, frame(SETTINGS, 0, 0, &[]), frame(HEADERS, 5, 1, &headers)].concat()
}

/// Kind and length of each whole frame.
fn frames(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut all = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let Some(rest) = bytes.get(9 + length..) else { break };
        all.push((bytes[3], length));
        bytes = rest;
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_pings_has_no_more_time_to_take_its_answer() {
    let mut secure = Secure::with("http", &[&certificate(&["a.example"], EC)]).await;
    secure.bench.rule()["timeouts"] = json!({ "idle_seconds": 2 });
    secure.bench.apply().await.unwrap();
    let Raw { _openssl, mut writer, mut reader } = Raw::to(&secure);
    writer.write_all(&opening("/size/5000000")).await.unwrap();
    let pings = async {
        // until nobody is there who would hear it
        while writer.write_all(&frame(PING, 0, 0, &[7; 8])).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut heard = Vec::new();
    let read = reader.read_to_end(&mut heard);
    let ((), read) = timeout(BOUND, async { tokio::join!(pings, read) })
        .await
        .expect("the reader that stands still is cut");
    read.unwrap();
    let frames = frames(&heard);
    let of = |kind| frames.iter().filter(move |frame| frame.0 == kind);
    assert_eq!(of(DATA).map(|frame| frame.1).sum::<usize>(), WINDOW, "no more was let out");
    assert!(of(PING).count() >= 2, "they were answered meanwhile: {frames:?}");
    until(|| secure.bench.report().rules[0].counts.current == 0, "it is over").await;
    assert_eq!(secure.bench.report().rules[0].counts.timeouts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_both_ways_are_counted() {
    const LENGTH: u64 = 100_000;
    let secure = Secure::with("http", &[&certificate(&["a.example"], EC)]).await;
    let body = "x".repeat(usize::try_from(LENGTH).unwrap());
    let posted = secure.curl("a.example", &["--http2", "--data-binary", &body]).await;
    assert!(String::from_utf8_lossy(&posted.stdout).contains("status 200 http 2"));
    let counts = secure.bench.report().rules[0].counts.clone();
    for bytes in [counts.bytes_in, counts.bytes_out] {
        // the server repeats what it hears; frames and headers come on top
        assert!((LENGTH..LENGTH * 11 / 10).contains(&bytes), "{counts:?}");
    }
}
