//! Everything that must not lead to a VM's screen, and the code that says why.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::screen::Screen;
use crate::world::{BOUND, World, grant, now, token};

#[tokio::test]
async fn no_path_reaches_a_screen_without_a_grant_in_force() {
    let screen = Screen::raw().await;
    let mut expired = grant("old", screen.address);
    expired["expires"] = json!(now());
    let mut far = grant("far", screen.address);
    far["source"] = json!({ "networks": ["203.0.113.0/24"] });
    let mut world = World::new(&[grant("g-1", screen.address), expired, far]);
    let mut browser = world.browser();
    for (link, status, code) in [
        ("nonsense", 404, "unknown"),
        (token("old").as_str(), 410, "expired"),
        (token("far").as_str(), 403, "address"),
    ] {
        let (got, answer) = browser.ask(link).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{link}");
    }
    assert_eq!(browser.open("g-1").await.err().unwrap(), 401, "no cookie");
    assert_eq!(browser.open("nobody").await.err().unwrap(), 401);
    assert_eq!(browser.open("../g-1").await.err().unwrap(), 400);
    assert_eq!(browser.ask_again("g-1").await.1["code"], "no-cookie");
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
    world.slice["grants"] = json!([]);
    world.apply().unwrap();
    let (status, answer) = browser.ask(&token("g-1")).await;
    assert_eq!((status, answer["code"].as_str()), (410, Some("revoked")));
    assert_eq!(browser.open("g-1").await.err().unwrap(), 410, "revoked since the cookie was made");
    assert_eq!(screen.count(), 0, "and nobody was connected to");
}

#[tokio::test]
async fn other_sites_get_nothing() {
    let screen = Screen::raw().await;
    let world = World::new(&[grant("g-1", screen.address)]);
    let mut browser = world.browser();
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
    let mut other = browser.clone();
    other.origin = "https://evil.example.org".into();
    assert_eq!(other.ask(&token("g-1")).await.1["code"], "origin");
    assert_eq!(other.open("g-1").await.err().unwrap(), 403, "with the cookie and all");
    let mut rebound = browser.clone();
    rebound.host = "evil.example.org".into();
    let (status, _, body) = rebound.request("GET /", "", "").await;
    assert_eq!(status, 421);
    assert!(body.contains("not served under this name"), "{body}");
    let asks = "Accept: text/html,application/xhtml+xml;q=0.9\r\n";
    let (status, head, page) = rebound.request("GET /", asks, "").await;
    assert!(status == 421 && head.contains("content-type: text/html"), "{head}");
    assert!(head.contains("default-src 'none'") && head.contains("nosniff"), "{head}");
    let sentence = "<p>The console is not served under this name.</p>";
    assert!(page.contains(sentence) && page.contains("Code: host"), "{page}");
    let form = browser.request("POST /session", "Content-Type: text/plain\r\n", r#"{"token":"x"}"#);
    assert_eq!(form.await.0, 400, "what a form of another site could send");
    assert_eq!(screen.count(), 0);
}

#[tokio::test]
async fn a_second_browser_is_refused_and_the_first_comes_back() {
    let mut screen = Screen::polite().await;
    let mut pinned = grant("g-1", screen.address);
    pinned["source"] = json!("first-browser");
    let world = World::new(&[pinned]);
    let mut first = world.browser();
    assert_eq!(first.ask(&token("g-1")).await.0, 200);
    let mut second = world.browser();
    second.from = "127.0.0.2".parse().unwrap();
    let (status, answer) = second.ask(&token("g-1")).await;
    assert_eq!((status, answer["code"].as_str()), (403, Some("other-browser")));
    first.open("g-1").await.unwrap().greet().await;
    let _gone = screen.next().await;
    first.from = "127.0.0.3".parse().unwrap();
    assert_eq!(first.ask_again("g-1").await.0, 200, "by its cookie, from wherever it is now");
    first.open("g-1").await.unwrap().greet().await;
}

#[tokio::test]
async fn a_link_shown_in_vain_or_whose_answer_was_lost_is_good_at_the_next_try() {
    let screen = Screen::polite().await;
    let mut pinned = grant("g-1", screen.address);
    pinned["source"] = json!("first-browser");
    let mut world = World::new(&[pinned]);
    let seed = |byte: char| String::from(byte).repeat(21) + "A";
    let link = |byte| json!({ "link": { "token": token("g-1"), "browser": seed(byte) } });
    world.slice["settings"] = json!({ "draining": true });
    world.apply().unwrap();
    let (status, answer) = world.browser().post(&link('x')).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("draining")));
    assert_eq!(world.browser().ask(&token("g-1")).await.0, 503);
    world.slice["settings"] = json!({});
    world.apply().unwrap();
    // each browser here has no cookie: the answer before was lost
    assert_eq!(world.browser().post(&link('b')).await.0, 200);
    assert_eq!(world.browser().post(&link('b')).await.0, 200);
    let (status, answer) = world.browser().post(&link('x')).await;
    assert_eq!((status, answer["code"].as_str()), (403, Some("other-browser")));
    let short = json!({ "link": { "token": token("g-1"), "browser": "AAAA" } });
    assert_eq!(world.browser().post(&short).await.1["code"], "malformed");
}

#[tokio::test]
async fn a_request_that_does_not_come_to_its_end_holds_no_place() {
    let world = World::new(&[]);
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let (address, kind) = (world.address, "Content-Type: application/json");
    let head = format!(
        "POST /session HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n{kind}\r\nContent-Length: 10\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let whole = stream.read_to_string(&mut answer);
    tokio::time::timeout(6 * BOUND, whole).await.expect("an end").unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn networks_are_asked_of_every_request() {
    let screen = Screen::raw().await;
    let mut near = grant("g-1", screen.address);
    near["source"] = json!({ "networks": ["127.0.0.1/32"] });
    let world = World::new(&[near]);
    let mut browser = world.browser();
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
    browser.from = "127.0.0.2".parse().unwrap();
    assert_eq!(browser.open("g-1").await.err().unwrap(), 403, "cookie or not");
    assert_eq!(browser.ask(&token("g-1")).await.1["code"], "address");
    assert_eq!(screen.count(), 0);
}

#[tokio::test]
async fn whoever_tries_links_is_slowed_down() {
    let screen = Screen::raw().await;
    let world = World::new(&[grant("g-1", screen.address)]);
    let mut browser = world.browser();
    let mut known = world.browser();
    assert_eq!(known.ask(&token("g-1")).await.0, 200);
    for number in 0..20 {
        assert_eq!(browser.ask(&format!("guess {number}")).await.0, 404);
    }
    let (status, answer) = browser.ask(&token("g-1")).await;
    assert_eq!((status, &answer["may_pass"]), (429, &json!(true)));
    assert_eq!(known.ask_again("g-1").await.0, 200, "by its cookie, which is no guess");
    browser.from = "127.0.0.2".parse().unwrap();
    assert_eq!(browser.ask(&token("g-1")).await.0, 200);
}

#[tokio::test]
async fn the_page_comes_with_what_keeps_others_out() {
    let mut world = World::new(&[]);
    let browser = world.browser();
    let (status, head, page) = browser.request("GET /", "", "").await;
    assert_eq!(status, 200);
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "frame-ancestors 'none'",
        "x-frame-options: DENY",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-cache",
    ] {
        assert!(head.contains(header), "{header} is missing in\n{head}");
    }
    let script = page.split('"').find(|part| part.ends_with("/web/console.js")).unwrap();
    let (status, head, _) = browser.request(&format!("GET /{script}"), "", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("immutable") && head.contains("text/javascript"), "{head}");
    world.slice["prefix"] = json!("/vm/console/");
    world.slice["frame_ancestors"] = json!(["https://portal.example.org"]);
    world.apply().unwrap();
    assert_eq!(browser.request("GET /", "", "").await.0, 404);
    let (status, head, _) = browser.request("GET /vm/console", "", "").await;
    assert!(status == 308 && head.contains("location: console/"), "{head}");
    let (status, head, _) = browser.request("GET /vm/console/", "", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("frame-ancestors https://portal.example.org"), "{head}");
    assert!(!head.contains("x-frame-options"), "{head}");
    assert_eq!(browser.request(&format!("GET /vm/console/{script}"), "", "").await.0, 200);
}

#[tokio::test]
async fn a_frame_keeps_its_cookie_where_a_reverse_proxy_ends_tls() {
    let screen = Screen::raw().await;
    let mut world = World::new(&[grant("g-1", screen.address)]);
    let mut browser = world.browser();
    let ask = json!({ "token": token("g-1") }).to_string();
    let kind = "Content-Type: application/json\r\n";
    let (_, head, _) = browser.request("POST /session", kind, &ask).await;
    assert!(head.contains("SameSite=Strict\r\n"), "a desk has no TLS: {head}");
    browser.origin = format!("https://{}", world.address);
    let (_, head, _) = browser.request("POST /session", kind, &ask).await;
    assert!(head.contains("SameSite=Strict; Secure\r\n"), "{head}");
    world.slice["frame_ancestors"] = json!(["https://portal.example.org"]);
    world.apply().unwrap();
    let (_, head, _) = browser.request("POST /session", kind, &ask).await;
    assert!(head.contains("SameSite=None; Secure; Partitioned\r\n"), "{head}");
}

#[tokio::test]
async fn a_slice_that_cannot_be_taken_changes_nothing() {
    let screen = Screen::raw().await;
    let mut world = World::new(&[grant("g-1", screen.address)]);
    let good = world.slice.clone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (field, value, complaint) in [
        ("hosts", json!([]), "hosts"),
        ("listen", json!([taken.local_addr().unwrap()]), "cannot listen on 127.0.0.1"),
        ("certificates", json!([{ "chain": "x", "key": "y" }]), "certificates[0]"),
        ("cookie_key", json!("short"), "cookie_key"),
        ("redirect", json!(["127.0.0.1:0"]), "redirect"),
        ("grants", json!([grant("a", screen.address), grant("a", screen.address)]), "grant a: id"),
        ("prefix", json!("x"), "path prefix"),
        ("guests", json!([]), "unknown field"),
    ] {
        world.slice = good.clone();
        world.slice[field] = value;
        let error = world.apply().unwrap_err();
        assert!(error.contains(complaint), "{field}: {error}");
        assert_eq!(world.browser().ask(&token("g-1")).await.0, 200, "{field}");
    }
}
