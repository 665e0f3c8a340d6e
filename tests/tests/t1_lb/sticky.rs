//! Parameters of stickiness that HAProxy has no more, or that take time: what the guide says of each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bench::{Answer, Bench, ask, free, get, rule, until};
use crate::origin::Origin;

/// Three members in turns, m1 first, and the application's cookie.
struct Sticky {
    at: SocketAddr,
    bench: Bench,
    origins: Vec<Origin>,
}

impl Sticky {
    async fn by(parameters: Value) -> Self {
        let origins = Origin::three().await;
        let members: Vec<SocketAddr> = origins.iter().map(|it| it.at).collect();
        let at = free();
        let mut rule = rule(at, "http", &members);
        let mut cookie = json!({ "name": "SESSION" });
        cookie.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        rule["stickiness"] = json!({ "app-cookie": cookie });
        rule["health"] = json!({ "check": "none" });
        Self { at, bench: Bench::with(rule).await, origins: origins.into() }
    }

    async fn with_cookie(&self, cookie: &str) -> Answer {
        ask(self.at, "GET", "/", &[&format!("Cookie: {cookie}")]).await
    }

    /// The application of m1 sets `cookie`; the next in turn is m2.
    async fn set(&self, cookie: &str) {
        assert_eq!(get(self.at, &format!("/set/{cookie}")).await.by(), "m1");
    }

    /// Bound to m1: turns, which are at m2, say something else.
    async fn is_bound(&self, answers: impl AsyncFn() -> Answer) {
        for _ in 0..3 {
            assert_eq!(answers().await.by(), "m1");
        }
        assert_eq!(get(self.at, "/").await.by(), "m2", "turns go on");
    }
}

#[tokio::test]
async fn the_value_may_stand_in_the_path() {
    let sticky = Sticky::by(json!({})).await;
    sticky.set("SESSION=v1").await;
    sticky.is_bound(async || get(sticky.at, "/page;SESSION=v1?a=b").await).await;
    // not in the query, which is another mode
    assert_eq!(get(sticky.at, "/page?SESSION=v1").await.by(), "m3");
}

#[tokio::test]
async fn the_value_may_stand_in_the_query() {
    let sticky = Sticky::by(json!({ "mode": "query-string" })).await;
    sticky.set("SESSION=v1").await;
    sticky.is_bound(async || get(sticky.at, "/page?a=b&SESSION=v1").await).await;
    assert_eq!(get(sticky.at, "/page;SESSION=v1").await.by(), "m3");
}

#[tokio::test]
async fn a_prefix_takes_the_rest_of_the_name_to_the_value() {
    let sticky = Sticky::by(json!({ "prefix": true })).await;
    sticky.set("SESSIONabc=v1").await;
    sticky.is_bound(async || sticky.with_cookie("SESSIONabc=v1").await).await;
    assert_eq!(sticky.with_cookie("SESSIONxyz=v1").await.by(), "m3");
    let whole = Sticky::by(json!({})).await;
    whole.set("SESSIONabc=v1").await;
    assert_eq!(whole.with_cookie("SESSIONabc=v1").await.by(), "m2", "another cookie's name");
}

#[tokio::test]
async fn no_more_of_a_value_counts_than_its_length() {
    let sticky = Sticky::by(json!({ "length": 4 })).await;
    sticky.set("SESSION=abcdefg").await;
    sticky.is_bound(async || sticky.with_cookie("SESSION=abcdxyz").await).await;
    assert_eq!(sticky.with_cookie("SESSION=abcx").await.by(), "m3");
}

#[tokio::test]
async fn a_value_that_only_requests_have_is_learned_if_the_policy_says_so() {
    let learns = Sticky::by(json!({ "request_learn": true })).await;
    assert_eq!(learns.with_cookie("SESSION=own").await.by(), "m1");
    learns.is_bound(async || learns.with_cookie("SESSION=own").await).await;
    let does_not = Sticky::by(json!({})).await;
    for by in ["m1", "m2", "m3"] {
        assert_eq!(does_not.with_cookie("SESSION=own").await.by(), by);
    }
    assert_eq!(does_not.bench.report().rules[0].bindings, 0);
}

#[tokio::test]
async fn a_value_is_forgotten_when_it_was_not_used_for_as_long_as_it_is_held() {
    let sticky = Sticky::by(json!({ "hold_seconds": 1 })).await;
    let began = Instant::now();
    sticky.set("SESSION=v1").await;
    until(|| sticky.bench.report().rules[0].bindings == 0, "it is forgotten").await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(sticky.with_cookie("SESSION=v1").await.by(), "m2");
    assert_eq!(sticky.bench.report().rules[0].bindings, 0);
}

#[tokio::test]
async fn a_value_whose_member_is_down_is_bound_to_who_serves_instead() {
    let mut sticky = Sticky::by(json!({})).await;
    sticky.set("SESSION=v1").await;
    sticky.origins.remove(0);
    sticky.bench.rule()["health"] = json!({ "interval_milliseconds": 100, "fall": 1, "rise": 1 });
    sticky.bench.apply().await.unwrap();
    sticky.bench.healthy(2).await;
    let instead = sticky.with_cookie("SESSION=v1").await.by().to_owned();
    assert!(["m2", "m3"].contains(&instead.as_str()), "{instead}");
    for _ in 0..3 {
        assert_eq!(sticky.with_cookie("SESSION=v1").await.by(), instead, "turns would change");
    }
    // the same when it is no member any more
    let members = sticky.bench.rule()["members"].as_array_mut().unwrap();
    members.retain(|member| member["id"] != instead.as_str());
    sticky.bench.apply().await.unwrap();
    let last = sticky.with_cookie("SESSION=v1").await.by().to_owned();
    assert!(last != instead && last != "nobody", "{last}");
    assert_eq!(sticky.bench.report().rules[0].bindings, 1);
}

#[tokio::test]
async fn who_is_taken_away_from_a_dead_member_is_counted_once() {
    let mut sticky = Sticky::by(json!({})).await;
    sticky.set("SESSION=v1").await;
    // it is thought to be well
    sticky.origins.remove(0);
    assert_eq!(sticky.with_cookie("SESSION=v1").await.by(), "m2");
    let report = sticky.bench.report();
    let members = report.rules[0].members.iter().map(|member| member.counts.redispatches);
    assert_eq!(report.rules[0].counts.redispatches, 1);
    assert_eq!(members.collect::<Vec<_>>(), [1, 0, 0], "of whom it was taken away from");
}

#[tokio::test]
async fn a_full_table_of_addresses_forgets_the_one_unused_longest() {
    let origins = Origin::three().await;
    let members: Vec<SocketAddr> = origins.iter().map(|it| it.at).collect();
    let at = free();
    let mut rule = rule(at, "tcp", &members);
    rule["health"] = json!({ "check": "none" });
    rule["stickiness"] = json!({ "source-based": { "table_size": 2 } });
    let bench = Bench::with(rule).await;
    let served = async |from: u8| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 3, 0, from], 0))).unwrap();
        let mut client = crate::bench::Client::over(socket.connect(at).await.unwrap());
        client.ask("GET", "/", &[]).await.by().to_owned()
    };
    assert_eq!([served(1).await, served(2).await, served(1).await], ["m1", "m2", "m1"]);
    assert_eq!(served(3).await, "m3");
    assert_eq!(bench.report().rules[0].bindings, 2);
    // 2 had to go; 1 was used since
    assert_eq!([served(1).await, served(2).await], ["m1", "m1"]);
}
