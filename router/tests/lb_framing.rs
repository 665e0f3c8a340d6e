//! How strictly requests are cut out of a client's stream: the known ways to smuggle one past a proxy, and their like.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::{Buf, BytesMut};
use proptest::prelude::*;
use sluice_router::lb::http::framing::{Framing, MAX_HEAD, Refusal, Verdict};

/// What becomes of a stream: the lengths that passed, and the refusal that ended it.
fn read(stream: &[u8], pieces: usize) -> (Vec<usize>, Option<Refusal>) {
    let mut framing = Framing::default();
    let mut buffer = BytesMut::new();
    let mut passed = Vec::new();
    for piece in stream.chunks(pieces.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            let begins = framing.between();
            match framing.judge(&mut buffer) {
                Verdict::Pass(length) => {
                    buffer.advance(length);
                    match passed.last_mut() {
                        Some(last) if !begins => *last += length,
                        _ => passed.push(length),
                    }
                }
                Verdict::More => break,
                Verdict::Refuse(refusal) => return (passed, Some(refusal)),
            }
        }
    }
    (passed, None)
}

/// Whole and byte by byte must come to the same.
fn outcome(stream: &[u8]) -> (Vec<usize>, Option<Refusal>) {
    let whole = read(stream, usize::MAX);
    let bytewise = read(stream, 1);
    assert_eq!(whole.1, bytewise.1, "{}", String::from_utf8_lossy(stream));
    if whole.1.is_none() {
        assert_eq!(whole.0, bytewise.0, "{}", String::from_utf8_lossy(stream));
    }
    whole
}

fn refused(stream: impl AsRef<[u8]>, expected: Refusal) {
    let shown = String::from_utf8_lossy(stream.as_ref()).into_owned();
    assert_eq!(outcome(stream.as_ref()).1, Some(expected), "{shown}");
}

/// A head with `lines` between the request line and its end.
fn head(lines: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n")
}

#[test]
fn good_requests_pass_whole_and_one_after_the_other() {
    let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let sized = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /";
    let chunked = "PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n\
                   5;name=value\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX-Trailer: yes\r\n\r\n";
    let old = "GET /old HTTP/1.0\r\n\r\n";
    let absolute = "GET http://x:80/?a=b HTTP/1.1\r\nHost: X:80\r\n\r\n";
    let star = "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n";
    let all = [get, sized, chunked, "\r\n", old, absolute, star].concat();
    let lengths = [get, sized, chunked, old, absolute, star].map(str::len).to_vec();
    assert_eq!(outcome(all.as_bytes()), (lengths, None));
}

#[test]
fn a_length_said_twice_or_in_two_ways_is_refused() {
    let wrong = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 9999999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
    ];
    for lines in wrong {
        refused(head(lines), Refusal::Malformed);
    }
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Malformed);
}

#[test]
fn codings_that_are_not_chunked_are_not_implemented() {
    for coding in
        ["xchunked", "gzip, chunked", "chunked, identity", "identity", "chunked,chunked", ""]
    {
        refused(head(&format!("Transfer-Encoding: {coding}\r\n")), Refusal::Coding);
    }
}

#[test]
fn names_that_others_might_read_otherwise_are_refused() {
    let wrong = [
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: a\r\n Transfer-Encoding: chunked\r\n",
        "X: a\r\n\tfolded\r\n",
        "Transfer-Encoding\x0b: chunked\r\n",
        "X: a\x0bb\r\n",
        "X: a\0b\r\n",
        "X\0: a\r\n",
        "X(: a\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "X: a\nTransfer-Encoding: chunked\r\n",
        "\rTransfer-Encoding: chunked\r\n",
        ": nameless\r\n",
        "no colon\r\n",
        "Host: second\r\n",
    ];
    for lines in wrong {
        refused(head(lines), Refusal::Malformed);
    }
}

#[test]
fn lines_must_end_in_cr_lf() {
    refused("GET / HTTP/1.1\nHost: x\n\n", Refusal::Malformed);
    refused("GET / HTTP/1.1\r\nHost: x\n\r\n", Refusal::Malformed);
    refused("GET / HTTP/1.1\r\nHost: x\r\n\n", Refusal::Malformed);
    refused("\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", Refusal::Malformed);
    // a lone LF is refused when it comes, not when an end comes
    refused("GET / HTTP/1.1\n", Refusal::Malformed);
}

#[test]
fn request_lines_are_three_words() {
    let wrong = [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET /",
        "GET\t/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET /a b HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET ftp://x/a HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\u{e4} HTTP/1.1",
        "GET http://y/ HTTP/1.1",
        "GET http://u@x/ HTTP/1.1",
    ];
    for line in wrong {
        refused(format!("{line}\r\nHost: x\r\n\r\n"), Refusal::Malformed);
    }
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.10", "HTTP/"] {
        refused(format!("GET / {version}\r\nHost: x\r\n\r\n"), Refusal::Version);
    }
    refused("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", Refusal::Method);
    refused("GET / HTTP/1.1\r\n\r\n", Refusal::Malformed);
    refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refusal::Malformed);
    refused("GET / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n\r\n", Refusal::Expectation);
}

#[test]
fn chunked_bodies_are_read_to_the_letter() {
    let wrong = [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "\r\nhello\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "1000000000000000\r\n",
        "0\r\n folded: x\r\n\r\n",
        "0\r\nX: a\nY: b\r\n\r\n",
        "0\r\nX: a\r\r\n\r\n",
        "0\r\n\n",
    ];
    for body in wrong {
        let stream = head("Transfer-Encoding: chunked\r\n") + body;
        refused(stream, Refusal::Malformed);
    }
    let long = format!("5;{}\r\n", "a".repeat(300));
    refused(head("Transfer-Encoding: chunked\r\n") + &long, Refusal::Malformed);
    let trailers = format!("0\r\n{}", "X: a\r\n".repeat(2000));
    refused(head("Transfer-Encoding: chunked\r\n") + &trailers, Refusal::Malformed);
}

#[test]
fn heads_are_bounded() {
    refused(format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD)), Refusal::TargetTooLong);
    refused(head(&format!("X: {}\r\n", "a".repeat(MAX_HEAD))), Refusal::HeadTooLong);
    refused(head(&"X: a\r\n".repeat(200)), Refusal::HeadTooLong);
    let (passed, refusal) = outcome(head(&"X: a\r\n".repeat(99)).as_bytes());
    assert_eq!((passed.len(), refusal), (1, None));
}

#[test]
fn after_an_upgrade_is_asked_for_nothing_is_read_as_http() {
    let stream = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\
                   GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut framing = Framing::default();
    let mut buffer = BytesMut::from(&stream[..]);
    let Verdict::Pass(length) = framing.judge(&mut buffer) else { panic!("a good head") };
    buffer.advance(length);
    assert!(framing.held());
    assert_eq!(framing.judge(&mut buffer), Verdict::More);
    framing.release();
    assert_eq!(framing.judge(&mut buffer), Verdict::Pass(buffer.len()));
}

proptest! {
    /// However a stream is cut into pieces, the same requests come out of it, and no bytes are a panic.
    #[test]
    fn cutting_makes_no_difference(
        parts in prop::collection::vec(prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "Host: x\r\n", "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n", "\r\n", "\n", "\r", "abc", "0\r\n", "3\r\n", "a", " ", ":", "\0",
        ]), 0..20),
        pieces in 1_usize..9,
    ) {
        let stream = parts.concat();
        let (whole, cut) = (read(stream.as_bytes(), usize::MAX), read(stream.as_bytes(), pieces));
        prop_assert_eq!(whole.1, cut.1);
        if whole.1.is_none() {
            prop_assert_eq!(whole.0, cut.0);
        }
    }
}
