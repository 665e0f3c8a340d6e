//! Connections between two requests: a crowd of them is put aside, served again, and ended in time; nothing is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use serde_json::json;
use sluice_api::types::{BlobDigest, SecretBytes};
use sluice_router::lb::Server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::bench::{BOUND, Bench, Client, free, rule, until};
use crate::origin::Origin;
use crate::tls::{EC, certificate};

/// More than a thread keeps warm.
const CROWD: usize = 300;

/// A rule in the clear and one under TLS, on one thread.
async fn two_rules(origin: &Origin) -> ([SocketAddr; 2], Bench) {
    let (plain, secure) = (free(), free());
    let pem = certificate(&["a.example"], EC);
    let digest = BlobDigest::of(pem.as_bytes()).to_string();
    let mut rules = [plain, secure].map(|at| rule(at, "http", &[origin.at]));
    for rule in &mut rules {
        rule["timeouts"] = json!({ "keep_alive_seconds": 600 });
    }
    rules[1]["id"] = json!("secure");
    rules[1]["tls"] = json!({ "certificates": [digest], "http2": false });
    let certificates = json!({ digest: SecretBytes::new(pem.as_str()) });
    let slice = json!({ "balancers": rules, "certificates": certificates });
    let mut bench = Bench { server: Server::start(1).unwrap(), slice };
    bench.apply().await.unwrap();
    ([plain, secure], bench)
}

async fn encrypted(at: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let config = sluice_router::lb::tls::unjudging_client().unwrap();
    let stream = TcpStream::connect(at).await.unwrap();
    let name = ServerName::try_from("a.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// One request over a kept connection.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let answer = async {
        while !heard.ends_with(b"host: x\n\n") {
            let mut part = [0; 4096];
            let length = stream.read(&mut part).await.unwrap();
            assert!(length > 0, "it ended after {}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&part[..length]);
        }
    };
    timeout(BOUND, answer).await.expect("an answer");
    let said = String::from_utf8(heard).unwrap();
    assert!(said.starts_with("HTTP/1.1 200") && said.contains(path), "{said}");
}

#[tokio::test]
async fn a_crowd_of_idle_connections_is_served_again() {
    sluice_sys::process::raise_open_files().unwrap();
    let origin = Origin::http("m1").await;
    let ([plain, secure], mut bench) = two_rules(&origin).await;
    // without forwarded headers the answer ends as `ask` knows it
    for rule in bench.slice["balancers"].as_array_mut().unwrap() {
        rule["forwarded_headers"] = json!(false);
    }
    bench.apply().await.unwrap();
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let mut stream = TcpStream::connect(plain).await.unwrap();
        ask(&mut stream, &format!("/first/{number}")).await;
        crowd.push(stream);
    }
    let mut last = encrypted(secure).await;
    ask(&mut last, "/first/secure").await;
    // those that came late are put aside at once, the others after a second: each is served twice more
    for round in ["second", "third"] {
        for (number, stream) in crowd.iter_mut().enumerate() {
            ask(stream, &format!("/{round}/{number}")).await;
        }
        ask(&mut last, &format!("/{round}/secure")).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    let counts: Vec<_> = bench.report().rules.iter().map(|rule| rule.counts.clone()).collect();
    let wanted = u64::try_from(CROWD).unwrap();
    assert_eq!([counts[0].sessions, counts[1].sessions], [wanted, 1]);
    assert_eq!([counts[0].requests, counts[1].requests], [3 * wanted, 3]);
    // a client that goes is noticed
    crowd.truncate(CROWD / 2);
    let left = || bench.report().rules[0].counts.current;
    until(|| usize::try_from(left()).unwrap() == CROWD / 2, "half of them are gone").await;
    // one whose rule goes is ended
    bench.slice["balancers"] = json!([]);
    bench.apply().await.unwrap();
    for stream in &mut crowd {
        let end = timeout(BOUND, stream.read(&mut [0; 1])).await.expect("an end");
        assert_eq!(end.unwrap(), 0);
    }
    let end = timeout(BOUND, last.read(&mut [0; 1])).await.expect("an end");
    assert_eq!(end.unwrap(), 0, "TLS says that it ends");
}

#[tokio::test]
async fn a_connection_that_is_put_aside_ends_when_its_time_is_over() {
    let origin = Origin::http("m1").await;
    let ([plain, _], mut bench) = two_rules(&origin).await;
    let mut client = Client::to(plain).await;
    assert_eq!(client.ask("GET", "/", &[]).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(bench.report().rules[0].counts.current, 1);
    // a change reaches it
    bench.rule()["timeouts"]["keep_alive_seconds"] = json!(1);
    bench.apply().await.unwrap();
    assert_eq!(client.rest().await, b"");
    until(|| bench.report().rules[0].counts.current == 0, "it is over").await;
    assert_eq!(bench.report().rules[0].counts.timeouts, 1);
}

#[tokio::test]
async fn an_answer_that_is_read_late_is_whole() {
    const LENGTH: usize = 30_000;
    let origin = Origin::http("m1").await;
    let at = free();
    let bench = Bench::with(rule(at, "http", &[origin.at])).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    let mut client = Client::over(socket.connect(at).await.unwrap());
    let request = format!("GET /size/{LENGTH} HTTP/1.1\r\nHost: x\r\n\r\n");
    let out = || bench.report().rules[0].counts.bytes_out;
    // asks without reading until the rest of an answer finds no room anywhere but in the balancer
    let (mut asked, mut each) = (0, u64::MAX);
    loop {
        client.send(&request).await;
        asked += 1;
        let wanted = if asked == 1 { LENGTH as u64 } else { asked * each };
        let sent = async {
            while out() < wanted {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(Duration::from_secs(1), sent).await.is_err() {
            break;
        }
        if asked == 1 {
            each = settled(&bench).await;
        }
        assert!(asked < 10_000, "the balancer buffers without a bound");
    }
    // for as long as it takes to be taken for an idle one
    tokio::time::sleep(Duration::from_secs(2)).await;
    for number in 0..asked {
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (200, LENGTH), "{number} of {asked}");
    }
}

/// The bytes of the one answer so far, head and all.
async fn settled(bench: &Bench) -> u64 {
    let out = || bench.report().rules[0].counts.bytes_out;
    let mut last = out();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = out();
        if now == last {
            return now;
        }
        last = now;
    }
}
