//! The same rule and the same traffic through ours and through HAProxy: who served, which cookies were set, what the
//! servers saw, what a dead server does.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::bench::{Answer, Bench, Client, ask, free, get, rule};
use crate::haproxy::{Haproxy, servers};
use crate::origin::Origin;

/// Both balancers before the same servers.
struct Pair {
    origins: Vec<Origin>,
    ours: SocketAddr,
    theirs: SocketAddr,
    bench: Bench,
    haproxy: Haproxy,
}

impl Pair {
    /// Three HTTP servers; `change` is made to our rule, `lines` and `options` say the same to HAProxy.
    async fn http(change: Value, lines: &str, options: &str) -> Self {
        let origins = Origin::three().await.into();
        Self::of(origins, "http", change, &format!(" mode http\n{lines}"), options).await
    }

    async fn of(
        origins: Vec<Origin>,
        mode: &str,
        change: Value,
        lines: &str,
        options: &str,
    ) -> Self {
        let members: Vec<SocketAddr> = origins.iter().map(|origin| origin.at).collect();
        let (ours, theirs) = (free(), free());
        let mut rule = rule(ours, mode, &members);
        rule.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let bench = Bench::with(rule).await;
        let haproxy =
            Haproxy::start(theirs, &format!("{lines}\n{}", servers(&members, options))).await;
        Self { origins, ours, theirs, bench, haproxy }
    }

    /// What each of them answers to a request, without what differs by nature.
    async fn both(&self, method: &str, path: &str, lines: &[&str]) -> [Seen; 2] {
        [
            Seen::of(&ask(self.ours, method, path, lines).await),
            Seen::of(&ask(self.theirs, method, path, lines).await),
        ]
    }

    /// Both answer alike; that answer.
    async fn alike(&self, method: &str, path: &str, lines: &[&str]) -> Seen {
        let [ours, theirs] = self.both(method, path, lines).await;
        assert_eq!(ours, theirs, "ours, then HAProxy's: {method} {path} {lines:?}");
        ours
    }
}

/// What counts of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    by: String,
    cookies: Vec<String>,
    cache: Vec<String>,
    /// The request as the server saw it, sorted.
    request: Vec<String>,
}

impl Seen {
    fn of(answer: &Answer) -> Self {
        let owned = |name| answer.all(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let served = answer.by() != "nobody";
        let mut request: Vec<String> = answer.body.lines().map(str::to_owned).collect();
        request.retain(|line| {
            // HAProxy leaves this hop's header to members, and says nothing of protocol and port
            let differs = ["connection: ", "x-forwarded-proto: ", "x-forwarded-port: "];
            served && !differs.iter().any(|name| line.starts_with(name))
        });
        request.sort();
        Self {
            status: answer.status,
            by: answer.by().to_owned(),
            cookies: owned("set-cookie"),
            cache: if served { owned("cache-control") } else { Vec::new() },
            request,
        }
    }
}

const PLAIN: &str = "check inter 100ms rise 1 fall 1";
const COOKIE: &str = "cookie NAME check inter 100ms rise 1 fall 1";

fn lb_cookie(parameters: Value) -> Value {
    let mut cookie = json!({ "name": "SRV" });
    cookie.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    json!({ "stickiness": { "lb-cookie": cookie }, "forwarded_headers": false })
}

#[tokio::test]
async fn round_robin_and_the_clients_address() {
    let pair = Pair::http(json!({}), " balance roundrobin\n option forwardfor", PLAIN).await;
    let mut order = Vec::new();
    for number in 0..9 {
        let lines = ["X-Forwarded-For: 192.0.2.1", "Accept: */*"];
        let seen = pair.alike("GET", &format!("/page/{number}?q=1"), &lines).await;
        assert!(seen.request.contains(&"x-forwarded-for: 127.0.0.1".to_owned()), "{seen:?}");
        order.push(seen.by);
    }
    assert_eq!(order, ["m1", "m2", "m3", "m1", "m2", "m3", "m1", "m2", "m3"]);
}

#[tokio::test]
async fn methods_bodies_and_statuses_pass() {
    let pair =
        Pair::http(json!({ "forwarded_headers": false }), " balance roundrobin", PLAIN).await;
    pair.alike("POST", "/form", &["Content-Length: 0"]).await;
    pair.alike("DELETE", "/thing", &[]).await;
    pair.alike("PROPFIND", "/dav", &["Depth: 1"]).await;
    for status in [204, 301, 304, 404, 500, 503] {
        assert_eq!(pair.alike("GET", &format!("/status/{status}"), &[]).await.status, status);
    }
    for at in [pair.ours, pair.theirs] {
        let mut client = Client::to(at).await;
        client.send("POST /sized HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").await;
        let sized = client.answer().await.unwrap();
        assert!(sized.body.ends_with("\n\nhello"), "{sized:?}");
        client.send("POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n").await;
        client.send("2\r\nlo\r\n0\r\n\r\n").await;
        let chunked = client.answer().await.unwrap();
        assert!(chunked.body.ends_with("\n\nhello"), "{chunked:?}");
        assert_ne!(sized.by(), chunked.by(), "each request is balanced by itself");
    }
}

#[tokio::test]
async fn weights_count_alike() {
    let pair = Pair::http(json!({}), " balance roundrobin", PLAIN).await;
    drop(pair);
    let origins: Vec<Origin> = Origin::three().await.into();
    let members: Vec<SocketAddr> = origins.iter().map(|origin| origin.at).collect();
    let (ours, theirs) = (free(), free());
    let mut rule = rule(ours, "http", &members);
    for (number, weight) in [4, 1, 3].into_iter().enumerate() {
        rule["members"][number]["weight"] = json!(weight);
    }
    let _bench = Bench::with(rule).await;
    let weighted = |number: usize, weight: u32| {
        format!(" server m{} {} weight {weight}\n", number + 1, members[number])
    };
    let lines = weighted(0, 4) + &weighted(1, 1) + &weighted(2, 3);
    let _haproxy =
        Haproxy::start(theirs, &format!(" mode http\n balance roundrobin\n{lines}")).await;
    for at in [ours, theirs] {
        let mut shares = [0; 3];
        for _ in 0..40 {
            let by = get(at, "/").await.by()[1..].parse::<usize>().unwrap();
            shares[by - 1] += 1;
        }
        assert_eq!(shares, [20, 5, 15], "{at}");
    }
}

#[tokio::test]
async fn a_cookie_is_inserted_once_and_obeyed() {
    let pair = Pair::http(lb_cookie(json!({})), " cookie SRV insert", COOKIE).await;
    let first = pair.alike("GET", "/", &["Cookie: a=1"]).await;
    assert_eq!(first.cookies, ["SRV=m1; path=/"]);
    for _ in 0..3 {
        let again = pair.alike("GET", "/", &["Cookie: a=1; SRV=m1; b=2"]).await;
        assert_eq!((again.by.as_str(), again.cookies.len()), ("m1", 0));
        assert!(again.request.contains(&"cookie: a=1; SRV=m1; b=2".to_owned()), "{again:?}");
    }
    let unknown = pair.alike("GET", "/", &["Cookie: SRV=elsewhere"]).await;
    assert_eq!(unknown.cookies, ["SRV=m2; path=/"]);
    // one that the server sets is not the balancer's
    let set = pair.alike("GET", "/set/SRV=fake", &["Cookie: SRV=m2"]).await;
    assert_eq!(set.cookies, Vec::<String>::new());
    let other = pair.alike("GET", "/set/APP=1", &[]).await;
    assert_eq!(other.cookies, ["APP=1; path=/app", "SRV=m3; path=/"]);
}

#[tokio::test]
async fn an_indirect_cookie_is_hidden_from_members() {
    let pair =
        Pair::http(lb_cookie(json!({ "indirect": true })), " cookie SRV insert indirect", COOKIE)
            .await;
    let seen = pair.alike("GET", "/", &["Cookie: a=1; SRV=m2; b=2"]).await;
    assert_eq!(seen.by, "m2");
    assert!(seen.request.contains(&"cookie: a=1; b=2".to_owned()), "{seen:?}");
    let alone = pair.alike("GET", "/", &["Cookie: SRV=m3"]).await;
    assert!(!alone.request.iter().any(|line| line.starts_with("cookie")), "{alone:?}");
}

#[tokio::test]
async fn nocache_postonly_and_domains() {
    let nocache = Pair::http(
        lb_cookie(json!({ "nocache": true, "domains": [".a.example", "b.example"] })),
        " cookie SRV insert nocache domain a.example domain b.example",
        COOKIE,
    )
    .await;
    let seen = nocache.alike("GET", "/dated", &[]).await;
    assert_eq!(seen.cookies, ["SRV=m1; path=/; domain=a.example; domain=b.example"]);
    assert_eq!(seen.cache, ["private"]);
    let known = nocache.alike("GET", "/dated", &["Cookie: SRV=m1"]).await;
    assert_eq!(known.cache, Vec::<String>::new());
    // HAProxy says it of answers that look cacheable alone; ours of each that sets the cookie
    let [ours, theirs] = nocache.both("GET", "/", &[]).await;
    assert_eq!((ours.cache, theirs.cache), (vec!["private".to_owned()], vec![]));
    let postonly =
        Pair::http(lb_cookie(json!({ "postonly": true })), " cookie SRV insert postonly", COOKIE)
            .await;
    assert_eq!(postonly.alike("GET", "/", &[]).await.cookies, Vec::<String>::new());
    let posted = postonly.alike("POST", "/", &["Content-Length: 0"]).await;
    assert_eq!(posted.cookies, ["SRV=m2; path=/"]);
}

#[tokio::test]
async fn a_members_cookie_is_rewritten() {
    let pair =
        Pair::http(lb_cookie(json!({ "mode": "rewrite" })), " cookie SRV rewrite", COOKIE).await;
    assert_eq!(pair.alike("GET", "/", &[]).await.cookies, Vec::<String>::new());
    let set = pair.alike("GET", "/set/SRV=anything", &[]).await;
    assert_eq!(set.cookies, ["SRV=m2; path=/app"]);
    for _ in 0..3 {
        assert_eq!(pair.alike("GET", "/", &["Cookie: SRV=m2"]).await.by, "m2");
    }
}

#[tokio::test]
async fn a_members_cookie_is_prefixed() {
    let pair =
        Pair::http(lb_cookie(json!({ "mode": "prefix" })), " cookie SRV prefix", COOKIE).await;
    let set = pair.alike("GET", "/set/SRV=session~1", &[]).await;
    assert_eq!(set.cookies, ["SRV=m1~session~1; path=/app"]);
    for _ in 0..2 {
        let back = pair.alike("GET", "/", &["Cookie: a=1; SRV=m1~session~1"]).await;
        assert_eq!(back.by, "m1");
        assert!(back.request.contains(&"cookie: a=1; SRV=session~1".to_owned()), "{back:?}");
    }
}

#[tokio::test]
async fn an_applications_cookie_is_remembered() {
    let ours = json!({
        "forwarded_headers": false,
        "stickiness": { "app-cookie": { "name": "JSESSIONID", "request_learn": false } },
    });
    let lines = " balance roundrobin\n stick-table type string len 52 size 200k expire 3h\n \
                 stick store-response res.cook(JSESSIONID)\n stick match req.cook(JSESSIONID)";
    let pair = Pair::http(ours, lines, PLAIN).await;
    for number in 1..4 {
        let set = pair.alike("GET", &format!("/set/JSESSIONID=s{number}"), &[]).await;
        assert_eq!(set.by, format!("m{number}"));
    }
    for number in [3, 1, 2, 1, 3] {
        let cookie = format!("Cookie: a=1; JSESSIONID=s{number}");
        assert_eq!(pair.alike("GET", "/", &[&cookie]).await.by, format!("m{number}"));
    }
}

#[tokio::test]
async fn a_clients_address_is_remembered() {
    let ours = json!({ "stickiness": { "source-based": {} }, "forwarded_headers": false });
    let lines = " balance roundrobin\n stick-table type ip size 200k expire 30m\n stick on src";
    let pair = Pair::http(ours, lines, PLAIN).await;
    for _ in 0..5 {
        assert_eq!(pair.alike("GET", "/", &[]).await.by, "m1");
    }
}

#[tokio::test]
async fn source_keeps_a_client_with_one_member() {
    let pair = Pair::http(json!({ "algorithm": "source" }), " balance source", PLAIN).await;
    for at in [pair.ours, pair.theirs] {
        let first = get(at, "/").await;
        for _ in 0..5 {
            assert_eq!(get(at, "/").await.by(), first.by());
        }
    }
}

#[tokio::test]
async fn least_connections_prefers_the_idle() {
    let pair =
        Pair::http(json!({ "algorithm": "least-connections" }), " balance leastconn", PLAIN).await;
    for at in [pair.ours, pair.theirs] {
        // two requests that are not finished hold two members
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut client = Client::to(at).await;
            client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe").await;
            held.push(client);
        }
        let mut free = Vec::new();
        let mut tries = 0;
        while free.len() < 4 {
            tries += 1;
            assert!(tries < 200, "{free:?}");
            let by = get(at, "/").await.by().to_owned();
            // until both held requests have reached their members
            match free.last() {
                Some(last) if *last != by => free = vec![by],
                _ => free.push(by),
            }
        }
        let mut others = Vec::new();
        for mut client in held {
            client.send("llo").await;
            others.push(client.answer().await.unwrap().by().to_owned());
        }
        assert!(!others.contains(&free[0]) && others[0] != others[1], "{free:?} {others:?}");
    }
}

#[tokio::test]
async fn a_dead_member_costs_its_clients_only_their_binding() {
    let mut pair = Pair::http(lb_cookie(json!({})), " cookie SRV insert", COOKIE).await;
    drop(pair.origins.remove(1));
    pair.bench.healthy(2).await;
    let mut theirs = ask(pair.theirs, "GET", "/", &["Cookie: SRV=m2"]).await;
    while theirs.status != 200 {
        theirs = ask(pair.theirs, "GET", "/", &["Cookie: SRV=m2"]).await;
    }
    let ours = ask(pair.ours, "GET", "/", &["Cookie: SRV=m2"]).await;
    for answer in [&ours, &theirs] {
        assert_eq!((answer.status, answer.all("set-cookie").len()), (200, 1), "{answer:?}");
        assert_ne!(answer.by(), "m2");
    }
    pair.origins.clear();
    pair.bench.healthy(0).await;
    let refused = || async { ask(pair.theirs, "GET", "/", &[]).await.status == 503 };
    while !refused().await {}
    assert_eq!(pair.alike("GET", "/", &[]).await.status, 503);
}

#[tokio::test]
async fn clients_outside_the_list_get_not_a_byte() {
    let lines = " tcp-request connection reject if !{ src 192.0.2.0/24 }\n balance roundrobin";
    let pair = Pair::http(json!({ "sources": ["192.0.2.0/24"] }), lines, PLAIN).await;
    for at in [pair.ours, pair.theirs] {
        // a reset may come before the connection is used, or while it is made
        let Ok(mut stream) = tokio::net::TcpStream::connect(at).await else { continue };
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let _sent = tokio::io::AsyncWriteExt::write_all(&mut stream, request).await;
        let mut heard = Vec::new();
        let _end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard).await;
        assert_eq!(heard, b"", "{at}");
    }
    assert_eq!(pair.bench.report().rules[0].counts.denied, 1);
}

#[tokio::test]
async fn tcp_is_balanced_and_passes_both_ends() {
    let mut origins = Vec::new();
    for name in ["one.", "two.", "three."] {
        origins.push(Origin::echo(name).await);
    }
    let pair = Pair::of(origins, "tcp", json!({}), " mode tcp\n balance roundrobin", PLAIN).await;
    for at in [pair.ours, pair.theirs] {
        let mut heard = Vec::new();
        for _ in 0..6 {
            let mut client = Client::to(at).await;
            client.send("hello").await;
            // the end of one direction passes, and the other goes on
            tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
            heard.push(String::from_utf8(client.rest().await).unwrap());
        }
        // whoever waited for HAProxy to listen took a turn
        let first = heard.iter().position(|it| it == "one.hello").unwrap();
        heard.rotate_left(first);
        let expected = ["one.hello", "two.hello", "three.hello"];
        assert_eq!(heard, [expected, expected].concat(), "{at}");
    }
}

#[tokio::test]
async fn statistics_have_the_same_columns_and_lines() {
    let change = json!({ "forwarded_headers": false });
    let pair = Pair::http(change, " balance roundrobin", PLAIN).await;
    for _ in 0..6 {
        pair.alike("GET", "/", &[]).await;
    }
    let ours = sluice_api::report::balancing::csv(&pair.bench.report());
    let [ours, theirs] = [ours, pair.haproxy.csv().await].map(|text| {
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| line.split(',').map(str::to_owned).collect()).collect::<Vec<Vec<_>>>()
    });
    let columns: Vec<&String> = ours[0].iter().filter(|name| !name.is_empty()).collect();
    assert_eq!(columns, theirs[0][..columns.len()].iter().collect::<Vec<_>>());
    assert_eq!(columns.last().map(|name| name.as_str()), Some("ttime"));
    let of = |table: &[Vec<String>], row: usize, name: &str| {
        let at = table[0].iter().position(|it| it.trim_start_matches("# ") == name).unwrap();
        table[row][at].clone()
    };
    for row in 1..=5 {
        for name in ["pxname", "svname", "status", "weight", "act", "bck", "type", "econ"] {
            assert_eq!(of(&ours, row, name), of(&theirs, row, name), "{name} of line {row}");
        }
    }
    // who waited for HAProxy to listen was no request
    assert_eq!(of(&ours, 2, "hrsp_2xx"), "2");
    assert_eq!(of(&ours, 2, "hrsp_2xx"), of(&theirs, 2, "hrsp_2xx"));
    assert_ne!(of(&ours, 1, "rate_max"), "0");
}

#[tokio::test]
async fn members_are_told_who_the_client_is() {
    for (version, option) in [("v1", "send-proxy"), ("v2", "send-proxy-v2")] {
        let origins = vec![Origin::echo("").await];
        let change = json!({ "proxy_protocol": version, "health": { "check": "none" } });
        let pair = Pair::of(origins, "tcp", change, " mode tcp", option).await;
        let mut headers = Vec::new();
        for at in [pair.ours, pair.theirs] {
            let mut client = Client::to(at).await;
            let port = client.stream.local_addr().unwrap().port();
            client.send("!").await;
            tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
            let heard = client.rest().await;
            headers.push(normal(&heard, port, at.port()));
        }
        assert_eq!(headers[0], headers[1], "{version}");
    }
}

/// The header with both ports, text or binary, replaced by names.
fn normal(heard: &[u8], client: u16, server: u16) -> String {
    let mut text: String = heard.iter().map(|byte| format!("{byte:02x}")).collect();
    for (port, name) in [(client, "<client>"), (server, "<server>")] {
        let decimal: String = port.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        text = text.replace(&decimal, name).replace(&format!("{port:04x}"), name);
    }
    assert!(text.contains("<client>") && text.contains("<server>"), "{text}");
    text
}
