//! TCP rules: bulk, ends, times, limits, dead members.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::bench::{BOUND, Bench, Client, about, ask, free, get, rule, until};
use crate::origin::Origin;

/// Bytes that tell where they stand.
fn pattern(length: usize) -> Vec<u8> {
    // no power of two, so that no buffer's length hides a mistake
    let piece: Vec<u8> = (0..1021_u32).map(|at| ((at * 31) >> 3) as u8).collect();
    let mut bytes = piece.repeat(length / piece.len() + 1);
    bytes.truncate(length);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_streams_pass_whole_both_ways_at_once() {
    let origin = Origin::echo("").await;
    let at = free();
    let bench = Bench::with(rule(at, "tcp", &[origin.at])).await;
    let sent = Arc::new(pattern(20 << 20));
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let to_send = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        writer.write_all(&to_send).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut heard = Vec::new();
    tokio::time::timeout(BOUND, reader.read_to_end(&mut heard)).await.unwrap().unwrap();
    sending.await.unwrap();
    assert!(heard == *sent, "{} of {} bytes, or others", heard.len(), sent.len());
    until(|| bench.report().rules[0].counts.current == 0, "the connection is over").await;
    let counts = bench.report().rules[0].counts.clone();
    assert_eq!((counts.bytes_in, counts.bytes_out), (20 << 20, 20 << 20));
}

#[tokio::test]
async fn a_receiver_that_stops_stops_the_sender_and_loses_nothing() {
    let origin = Origin::echo("").await;
    let at = free();
    let _bench = Bench::with(rule(at, "tcp", &[origin.at])).await;
    let mut client = Client::to(at).await;
    let data = pattern(64 << 20);
    // nobody reads the echo: at some point no more is taken
    let mut taken = 0;
    while let Ok(Ok(length)) =
        tokio::time::timeout(Duration::from_millis(300), client.stream.write(&data[taken..])).await
    {
        taken += length;
        assert!(taken < data.len(), "the balancer buffers without a bound");
    }
    client.stream.shutdown().await.unwrap();
    assert!(client.rest().await == data[..taken], "what was taken comes back");
}

#[tokio::test]
async fn each_rule_has_its_own_idle_time_and_a_change_reaches_open_connections() {
    let origin = Origin::echo("").await;
    let (first, second) = (free(), free());
    let mut rules = [rule(first, "tcp", &[origin.at]), rule(second, "tcp", &[origin.at])];
    rules[1]["id"] = json!("other");
    rules[0]["timeouts"] = json!({ "idle_seconds": 600 });
    rules[1]["timeouts"] = json!({ "idle_seconds": 6 });
    let mut bench = Bench::of(json!(rules)).await;
    let (mut one, mut other) = (Client::to(first).await, Client::to(second).await);
    one.send("x").await;
    other.send("x").await;
    let began = Instant::now();
    bench.rule()["timeouts"]["idle_seconds"] = json!(1);
    bench.apply().await.unwrap();
    let (_, _) = tokio::join!(
        async {
            one.rest().await;
            about(began, 1.0);
            assert_eq!(bench.report().rules[0].counts.timeouts, 0, "the other has more time");
        },
        async {
            other.rest().await;
            about(began, 6.0);
        }
    );
    assert_eq!(bench.report().rules.iter().map(|rule| rule.counts.timeouts).sum::<u64>(), 2);
}

#[tokio::test]
async fn members_that_refuse_are_passed_over_before_any_check() {
    let origin = Origin::echo("alive").await;
    let at = free();
    let mut rule = rule(at, "tcp", &[free(), free(), origin.at]);
    rule["health"] = json!({ "check": "none" });
    let bench = Bench::with(rule).await;
    for _ in 0..6 {
        let mut client = Client::to(at).await;
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.rest().await, b"alive");
    }
    let counts = &bench.report().rules[0].counts;
    assert!(counts.retries >= 6 && counts.connect_errors == counts.retries, "{counts:?}");
}

/// A place where connections are neither accepted nor refused: the queue of those that wait is full.
async fn deaf() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(at)).await
    {
        queued.push(stream.unwrap());
    }
    (listener, queued, at)
}

#[tokio::test]
async fn a_member_that_does_not_answer_costs_its_rules_connect_time() {
    let (_listener, _queued, deaf) = deaf().await;
    let origin = Origin::echo("alive").await;
    let at = free();
    let mut rule = rule(at, "tcp", &[deaf, origin.at]);
    rule["health"] = json!({ "check": "none" });
    rule["timeouts"] = json!({ "connect_seconds": 1 });
    let bench = Bench::with(rule).await;
    for _ in 0..2 {
        let mut client = Client::to(at).await;
        client.stream.shutdown().await.unwrap();
        // the system itself would try for longer than this waits
        assert_eq!(client.rest().await, b"alive");
    }
    let counts = &bench.report().rules[0].counts;
    assert!(counts.connect_errors == 1 && counts.retries == 1, "{counts:?}");
}

#[tokio::test]
async fn a_member_that_drains_keeps_whom_it_has_and_gets_nobody_new() {
    let (one, two) = (Origin::http("m1").await, Origin::http("m2").await);
    let (at, echoing) = (free(), Origin::echo("!").await);
    let mut sticky = rule(at, "http", &[one.at, two.at]);
    sticky["stickiness"] = json!({ "lb-cookie": { "name": "SRV" } });
    let open_at = free();
    let mut open = rule(open_at, "tcp", &[echoing.at, two.at]);
    open["id"] = json!("open");
    open["members"][1]["backup"] = json!(true);
    let mut bench = Bench::of(json!([sticky, open])).await;
    let mut kept = Client::to(open_at).await;
    kept.send("a").await;
    until(|| bench.report().rules.iter().any(|it| it.counts.bytes_out == 2), "it is served").await;
    for rule in bench.slice["balancers"].as_array_mut().unwrap() {
        rule["members"][0]["drain"] = json!(true);
    }
    bench.apply().await.unwrap();
    for _ in 0..4 {
        assert_eq!(get(at, "/").await.by(), "m2", "who is new");
        assert_eq!(get(open_at, "/").await.by(), "m2");
        let bound = ask(at, "GET", "/", &["Cookie: SRV=m1"]).await;
        assert_eq!(bound.by(), "m1", "who is bound");
    }
    kept.send("b").await;
    kept.stream.shutdown().await.unwrap();
    assert_eq!(kept.rest().await, b"!ab", "who is connected");
}

#[tokio::test]
async fn a_rule_without_a_healthy_member_refuses_at_once() {
    let at = free();
    let mut rule = rule(at, "tcp", &[free()]);
    rule["timeouts"] = json!({ "connect_seconds": 300 });
    let bench = Bench::with(rule).await;
    bench.healthy(0).await;
    let mut heard = Vec::new();
    // the reset may come before the client knows that it is connected
    if let Ok(mut stream) = TcpStream::connect(at).await {
        let end = AsyncReadExt::read_to_end(&mut stream, &mut heard);
        // a reset or not, but at once
        let _end = tokio::time::timeout(BOUND, end).await.expect("it does not hang");
    }
    assert_eq!(heard, b"");
    assert_eq!(bench.report().rules[0].counts.no_member, 1);
}

#[tokio::test]
async fn a_member_that_comes_back_serves_again() {
    let at = free();
    let place = free();
    let others = Origin::three().await;
    let members = [place, others[0].at, others[1].at, others[2].at];
    let bench = Bench::with(rule(at, "tcp", &members)).await;
    bench.healthy(3).await;
    let configured = || bench.report().rules[0].members_configured;
    assert_eq!(configured(), 4, "it is down, and a member still");
    let _origin = Origin::http_at("back", place).await;
    bench.healthy(4).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(get(at, "/").await.by().to_owned());
    }
    assert!(seen.contains(&"back".to_owned()) && configured() == 4, "{seen:?}");
    let member = &bench.report().rules[0].members[0];
    assert!(member.health.downs == 1 && member.health.down_milliseconds > 0, "{member:?}");
}

#[tokio::test]
async fn a_rule_at_its_limit_makes_others_wait_and_harms_no_other_rule() {
    let origin = Origin::echo("!").await;
    let (at, elsewhere) = (free(), free());
    let mut rules = [rule(at, "tcp", &[origin.at]), rule(elsewhere, "tcp", &[origin.at])];
    rules[0]["max_connections"] = json!(10);
    rules[1]["id"] = json!("other");
    let mut bench = Bench::of(json!(rules)).await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(Client::to(at).await);
    }
    let current = |bench: &Bench| bench.report().rules[1].counts.current;
    until(|| current(&bench) == 10, "ten are served").await;
    let mut other = Client::to(elsewhere).await;
    let mut word = [0; 1];
    tokio::time::timeout(BOUND, other.stream.read_exact(&mut word)).await.unwrap().unwrap();
    assert_eq!(bench.report().rules[1].counts.current_most, 10, "never more than the limit");
    // those that end make room
    clients.drain(..5);
    until(|| bench.report().rules[1].counts.sessions == 15, "five more are served").await;
    // and so does a higher limit
    bench.rule()["max_connections"] = json!(100);
    bench.apply().await.unwrap();
    until(|| bench.report().rules[1].counts.sessions == 30, "all are served").await;
}
