//! Several proxies with the same grants: one takes a grant's first browser, the others go on with it and with no other.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::screen::{Screen, expect};
use crate::world::{World, grant, token};

const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, 65];
/// Base64 of 32 bytes.
const COOKIE_KEY: &str = "c2FtZSBrZXkgb2YgYm90aCBjb25zb2xlIHByb3hpZXM=";

fn origin(world: &World) -> String {
    format!("http://{}", world.address)
}

/// A proxy to which the grant's link leads, and another.
fn two(screen: &Screen) -> (World, World) {
    let mut pinned = grant("g-1", screen.address);
    pinned["source"] = json!("first-browser");
    let mut home = World::new(std::slice::from_ref(&pinned));
    let mut other = World::new(&[]);
    pinned["home"] = json!(origin(&home));
    other.slice["grants"] = json!([pinned]);
    let (at_home, at_other) = (origin(&home), origin(&other));
    for (world, peer) in [(&mut home, at_other), (&mut other, at_home)] {
        world.slice["cookie_key"] = json!(COOKIE_KEY);
        world.slice["peers"] = json!([peer]);
        world.apply().unwrap();
    }
    (home, other)
}

/// Shows a pass to the proxy that `browser` is at.
async fn show(browser: &mut Browser, pass: &Value) -> (u16, Value) {
    browser.post(&json!({ "pass": { "grant": "g-1", "value": pass } })).await
}

#[tokio::test]
async fn a_browser_goes_on_at_another_proxy_and_a_thief_of_the_link_does_not() {
    let mut screen = Screen::polite().await;
    let (home, other) = two(&screen);
    let mut browser = home.browser();
    let (status, leave) = browser.ask(&token("g-1")).await;
    assert_eq!((status, &leave["peers"]), (200, &json!([origin(&other)])), "{leave}");
    browser.open("g-1").await.unwrap().greet().await;
    let _gone = screen.next().await;

    let mut thief = other.browser();
    let (status, answer) = thief.ask(&token("g-1")).await;
    assert_eq!((status, &answer["code"]), (421, &json!("elsewhere")), "{answer}");
    assert_eq!(answer["at"], origin(&home), "that is where the link leads");
    assert_eq!(show(&mut thief, &json!("AAAA.AAAA")).await.0, 401, "made up");

    let mut moved = other.browser();
    let (status, again) = show(&mut moved, &leave["pass"]).await;
    assert_eq!((status, &again["grant"]), (200, &json!("g-1")), "{again}");
    let mut socket = moved.open("g-1").await.unwrap();
    socket.greet().await;
    socket.send(KEY).await;
    expect(&mut screen.next().await, KEY).await;
    assert_eq!(moved.ask_again("g-1").await.0, 200, "by its cookie from now on");

    let stranger = show(&mut home.browser(), &again["pass"]).await;
    assert_eq!(stranger.0, 200, "it is the same browser at home as well");
}

#[tokio::test]
async fn a_pass_is_worth_no_more_than_its_grant() {
    let screen = Screen::polite().await;
    let (home, mut other) = two(&screen);
    let pass = home.browser().ask(&token("g-1")).await.1["pass"].clone();
    other.slice["grants"] = json!([]);
    other.apply().unwrap();
    assert_eq!(show(&mut other.browser(), &pass).await.1["code"], "revoked");
    other.slice["cookie_key"] = json!("YW5vdGhlciBrZXkgb2YgYW5vdGhlciBjb25zb2xlIHByb3h5");
    let mut pinned = home.slice["grants"][0].clone();
    pinned["home"] = json!(origin(&home));
    other.slice["grants"] = json!([pinned]);
    other.apply().unwrap();
    assert_eq!(show(&mut other.browser(), &pass).await.1["code"], "no-cookie");
}

#[tokio::test]
async fn pages_of_other_proxies_may_ask_whether_one_is_there() {
    let screen = Screen::polite().await;
    let (home, other) = two(&screen);
    let (status, head, _) = home.browser().request("GET /alive", "", "").await;
    assert_eq!(status, 204);
    assert!(head.contains("cross-origin-resource-policy: cross-origin"), "{head}");
    let (_, head, _) = home.browser().request("GET /", "", "").await;
    assert!(head.contains(&format!("connect-src 'self' {};", origin(&other))), "{head}");
    assert!(head.contains("cross-origin-resource-policy: same-origin"), "{head}");
    let without = World::new(&[grant("g-1", screen.address)]);
    let (_, leave) = without.browser().ask(&token("g-1")).await;
    assert_eq!((leave.get("pass"), &leave["peers"]), (None, &json!([])), "nowhere to show it");
}
