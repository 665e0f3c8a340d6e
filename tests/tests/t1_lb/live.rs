//! Changes while clients are there: nothing is reset or refused that the change is not about.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{BOUND, Bench, Client, about, free, get, member, rule, until};
use crate::origin::Origin;

/// Full length with `SLUICE_FULL=1`; a sample of it otherwise.
fn changes() -> usize {
    if std::env::var_os("SLUICE_FULL").is_some() { 10_000 } else { 1_000 }
}

/// What a crowd of clients went through.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) served: AtomicU64,
    pub(crate) stop: AtomicBool,
}

impl Tally {
    fn go_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Connections of one exchange each.
pub(crate) async fn short(at: SocketAddr, tally: Arc<Tally>) {
    while tally.go_on() {
        let mut stream = TcpStream::connect(at).await.expect("nobody is refused");
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.expect("nobody is reset");
        assert!(heard.ends_with(b"hello"), "{heard:?}");
        tally.served.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One connection that speaks now and then.
pub(crate) async fn long(at: SocketAddr, tally: Arc<Tally>) {
    let mut stream = TcpStream::connect(at).await.expect("nobody is refused");
    let mut name = [0; 1];
    stream.read_exact(&mut name).await.expect("nobody is reset");
    while tally.go_on() {
        stream.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.expect("nobody is reset");
        assert_eq!(&heard, b"ping");
        tally.served.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One kept connection with request after request.
pub(crate) async fn requests(at: SocketAddr, tally: Arc<Tally>) {
    let mut client = Client::to(at).await;
    while tally.go_on() {
        let answer = client.ask("GET", "/", &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        tally.served.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The members of change `number`: one is missing, one weighs more, one drains, in turn.
fn changed(members: &[SocketAddr], number: usize) -> Value {
    let all = members.iter().enumerate();
    let left = all.filter(|(at, _)| *at != number % members.len());
    let mut list: Vec<Value> = left.map(|(at, address)| member(at + 1, *address)).collect();
    list[number % 2]["weight"] = json!(1 + number % 7);
    list[0]["drain"] = json!(number % 3 == 0);
    json!(list)
}

/// Waits without a pause for what comes many times a second.
async fn until_quick(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.expect("clients are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_changes_reset_and_refuse_nobody() {
    let mut echoes = Vec::new();
    for name in ["1", "2", "3", "4"] {
        echoes.push(Origin::echo(name).await);
    }
    let webs = [Origin::http("m1").await, Origin::http("m2").await, Origin::http("m3").await];
    let (tcp, http) = (free(), free());
    let echoes_at: Vec<SocketAddr> = echoes.iter().map(|it| it.at).collect();
    let webs_at: Vec<SocketAddr> = webs.iter().map(|it| it.at).collect();
    let mut second = rule(http, "http", &webs_at);
    second["id"] = json!("web");
    let mut bench = Bench::of(json!([rule(tcp, "tcp", &echoes_at), second])).await;
    let tally = Arc::<Tally>::default();
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..200 {
        match number % 4 {
            0 | 1 => crowd.spawn(short(tcp, Arc::clone(&tally))),
            2 => crowd.spawn(long(tcp, Arc::clone(&tally))),
            _ => crowd.spawn(requests(http, Arc::clone(&tally))),
        };
    }
    let algorithms = ["round-robin", "least-connections", "source"];
    let mut sessions = 0;
    for number in 0..changes() {
        let rules = bench.slice["balancers"].as_array_mut().unwrap();
        rules[0]["members"] = changed(&echoes_at, number);
        rules[1]["members"] = changed(&webs_at, number);
        rules[0]["algorithm"] = json!(algorithms[number % 3]);
        rules[1]["timeouts"] = json!({ "idle_seconds": 30 + number % 2 });
        bench.apply().await.unwrap();
        let now = bench.report().rules.iter().map(|rule| rule.counts.sessions).sum();
        assert!(now >= sessions, "counters never go back");
        sessions = now;
        // each change meets clients
        let before = tally.served.load(Ordering::Relaxed);
        until_quick(|| tally.served.load(Ordering::Relaxed) >= before + 2).await;
        while let Some(ended) = crowd.try_join_next() {
            ended.expect("a client was harmed");
        }
    }
    tally.stop.store(true, Ordering::Relaxed);
    tokio::time::timeout(BOUND, crowd.join_all()).await.expect("all clients end");
    let served = tally.served.load(Ordering::Relaxed);
    let expected = 2 * u64::try_from(changes()).unwrap();
    assert!(served >= expected, "the clients did something meanwhile: {served}");
    for rule in bench.report().rules {
        let harm = [rule.counts.no_member, rule.counts.response_errors, rule.counts.client_aborts];
        assert_eq!(harm, [0, 0, 0], "{}", rule.id);
    }
    for algorithm in algorithms {
        shares_follow_weights(&mut bench, tcp, &echoes_at, algorithm).await;
    }
}

/// Clients from addresses of their own, one after the other, are shared out by weight: exactly in turns, else within
/// four standard deviations.
async fn shares_follow_weights(
    bench: &mut Bench,
    at: SocketAddr,
    members: &[SocketAddr],
    algorithm: &str,
) {
    const CLIENTS: u8 = 200;
    const ROUNDS: u8 = 4;
    let weights = [1, 1, 2, 4];
    let list = members.iter().zip(weights).enumerate().map(|(number, (address, weight))| {
        let mut member = member(number + 1, *address);
        member["weight"] = json!(weight);
        member
    });
    bench.rule()["members"] = list.collect();
    bench.rule()["algorithm"] = json!(algorithm);
    bench.apply().await.unwrap();
    let mut shares = [0_u32; 4];
    for client in (0..ROUNDS).flat_map(|round| (1..=CLIENTS).map(move |host| (round, host))) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 2, client.0, client.1], 0))).unwrap();
        let mut stream = socket.connect(at).await.unwrap();
        let mut name = [0; 1];
        stream.read_exact(&mut name).await.unwrap();
        shares[usize::from(name[0] - b'1')] += 1;
        drop(stream);
        // one that is still being closed counts as load of its member
        let idle = || bench.report().rules[0].counts.current == 0;
        until(idle, "the connection has ended").await;
    }
    let all = f64::from(CLIENTS) * f64::from(ROUNDS);
    for (share, weight) in shares.into_iter().zip(weights) {
        let part = f64::from(weight) / 8.0;
        let deviation = (all * part * (1.0 - part)).sqrt();
        let bound = match algorithm {
            // turns begin where the changes before left them
            "round-robin" => 3.0,
            // what is open at a moment depends on how soon the ends of others are seen
            "least-connections" => 0.15 * all,
            _ => 4.0 * deviation,
        };
        let off = (f64::from(share) - all * part).abs();
        assert!(off <= bound, "{algorithm}: {shares:?} for {weights:?}");
    }
}

#[tokio::test]
async fn mode_header_and_port_change_in_place() {
    let (echo, web) = (Origin::echo("e").await, Origin::http("web").await);
    let at = free();
    let mut bench = Bench::with(rule(at, "tcp", &[echo.at])).await;
    let mut before = Client::to(at).await;
    before.send("1").await;
    // until then it may still wait to be accepted, and would be the new rule's
    until(|| bench.report().rules[0].counts.bytes_out > 0, "it is served").await;
    bench.rule()["proxy_protocol"] = json!("v1");
    bench.rule()["health"]["check"] = json!("none");
    bench.apply().await.unwrap();
    let mut with_header = Client::to(at).await;
    with_header.send("2").await;
    with_header.stream.shutdown().await.unwrap();
    let heard = String::from_utf8(with_header.rest().await).unwrap();
    assert!(
        heard.starts_with("ePROXY TCP4 127.0.0.1 127.0.0.1 ") && heard.ends_with("\r\n2"),
        "{heard}"
    );
    bench.rule()["mode"] = json!("http");
    bench.rule()["proxy_protocol"] = Value::Null;
    bench.rule()["members"] = json!([member(1, web.at)]);
    bench.apply().await.unwrap();
    assert_eq!(get(at, "/").await.by(), "web");
    // the first connection is still what it was
    before.send("3").await;
    before.stream.shutdown().await.unwrap();
    assert_eq!(before.rest().await, b"e13");
}

#[tokio::test]
async fn stickiness_changes_for_the_next_connection() {
    let origins = Origin::three().await;
    let members: Vec<SocketAddr> = origins.iter().map(|it| it.at).collect();
    let at = free();
    let mut bench = Bench::with(rule(at, "http", &members)).await;
    bench.rule()["stickiness"] = json!({ "source-based": {} });
    bench.apply().await.unwrap();
    let first = get(at, "/").await;
    assert_eq!(get(at, "/").await.by(), first.by());
    assert_eq!(bench.report().rules[0].bindings, 1);
    // a change of something else keeps the binding
    bench.rule()["timeouts"] = json!({ "idle_seconds": 9 });
    bench.apply().await.unwrap();
    assert_eq!(get(at, "/").await.by(), first.by());
    // none: the old table is gone, and the next clients are shared out
    bench.rule()["stickiness"] = Value::Null;
    bench.apply().await.unwrap();
    assert_eq!(bench.report().rules[0].bindings, 0);
    let (one, two) = (get(at, "/").await, get(at, "/").await);
    assert_ne!(one.by(), two.by());
    bench.rule()["stickiness"] = json!({ "lb-cookie": { "name": "SRV" } });
    bench.apply().await.unwrap();
    let cookies: Vec<bool> = [get(at, "/").await, get(at, "/").await, get(at, "/").await]
        .map(|answer| answer.header("set-cookie").is_some())
        .into();
    assert_eq!(cookies, [true; 3]);
    // a cookie on plain TCP is refused, and what was stays
    bench.rule()["mode"] = json!("tcp");
    let refused = bench.apply().await.unwrap_err();
    assert!(refused.contains("balancers[0].stickiness"), "{refused}");
    assert!(get(at, "/").await.header("set-cookie").is_some());
}

#[tokio::test]
async fn a_removed_rule_ends_its_own_connections_and_no_others() {
    let origin = Origin::echo("!").await;
    let (at, elsewhere) = (free(), free());
    let mut rules = [rule(at, "tcp", &[origin.at]), rule(elsewhere, "tcp", &[origin.at])];
    rules[0]["timeouts"] = json!({ "drain_seconds": 1 });
    rules[1]["id"] = json!("other");
    let mut bench = Bench::of(json!(rules)).await;
    let (mut ended, mut kept) = (Client::to(at).await, Client::to(elsewhere).await);
    ended.send("a").await;
    kept.send("a").await;
    // one that nobody has taken up yet would be refused with the rule
    let taken = || bench.report().rules.iter().all(|rule| rule.counts.sessions == 1);
    until(taken, "both connections to be taken up").await;
    let began = Instant::now();
    bench.slice["balancers"].as_array_mut().unwrap().remove(0);
    bench.apply().await.unwrap();
    assert!(TcpStream::connect(at).await.is_err(), "nothing listens there any more");
    assert_eq!(ended.rest().await, b"!a");
    about(began, 1.0);
    kept.send("b").await;
    kept.stream.shutdown().await.unwrap();
    assert_eq!(kept.rest().await, b"!ab");
}

#[tokio::test]
async fn a_slice_that_cannot_come_into_force_changes_nothing() {
    let origin = Origin::http("m1").await;
    let at = free();
    let mut bench = Bench::with(rule(at, "http", &[origin.at])).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut second = rule(taken.local_addr().unwrap(), "http", &[origin.at]);
    second["id"] = json!("second");
    let fresh = free();
    let mut third = rule(fresh, "http", &[origin.at]);
    third["id"] = json!("third");
    bench.slice["balancers"].as_array_mut().unwrap().extend([third, second]);
    bench.rule()["members"] = json!([]);
    let refused = bench.apply().await.unwrap_err();
    assert!(refused.contains("rule second: cannot listen on"), "{refused}");
    assert_eq!(get(at, "/").await.by(), "m1");
    assert!(TcpStream::connect(fresh).await.is_err(), "not a part of it is in force");
}

#[tokio::test]
async fn an_address_goes_from_rule_to_rule_without_a_gap() {
    let (one, two) = (Origin::http("one").await, Origin::http("two").await);
    let at = free();
    let mut bench = Bench::with(rule(at, "http", &[one.at])).await;
    let tally = Arc::<Tally>::default();
    let crowd = tokio::spawn({
        let tally = Arc::clone(&tally);
        async move {
            let mut seen = BTreeMap::new();
            while tally.go_on() {
                *seen.entry(get(at, "/").await.by().to_owned()).or_insert(0) += 1;
            }
            seen
        }
    });
    for number in 0..50 {
        bench.rule()["id"] = json!(format!("rule-{number}"));
        let origin = if number % 2 == 0 { &two } else { &one };
        bench.rule()["members"] = json!([member(1, origin.at)]);
        bench.apply().await.unwrap();
        assert_eq!(get(at, "/").await.by(), if number % 2 == 0 { "two" } else { "one" });
    }
    tally.stop.store(true, Ordering::Relaxed);
    let seen = crowd.await.unwrap();
    assert!(!seen.contains_key("nobody"), "{seen:?}");
}

#[tokio::test]
async fn what_cannot_be_a_member_is_told_by_name() {
    let at = free();
    let mut rule = rule(at, "http", &[at, free()]);
    rule["members"][1]["id"] = json!("m1");
    rule["tls"] = json!({ "certificates": [] });
    let slice = json!({ "balancers": [rule] });
    let mut bench = Bench { server: sluice_router::lb::Server::start(1).unwrap(), slice };
    let refused = bench.apply().await.unwrap_err();
    for part in [
        "balancers[0].members[0].address",
        "balancers[0].members[1].id",
        "balancers[0].tls.certificates",
    ] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    until(|| bench.report().rules.is_empty(), "nothing is in force").await;
}
