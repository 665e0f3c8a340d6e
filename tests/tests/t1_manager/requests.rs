//! Requests that are repeated, wrong or hostile.

use reqwest::Method;
use serde_json::{Value, json};

use sluice_tests::manager::TOKEN;

use super::process::Cloud;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_answers_the_same_however_often() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let guest = json!({ "network": "net1", "name": "vm3" });
    let call = |body: Value| {
        let cloud = &cloud;
        async move { cloud.call(Method::POST, "/v1/guests", Some("key-1"), &body).await.unwrap() }
    };
    let first = call(guest.clone()).await;
    assert_eq!(first.0, 201, "{first:?}");
    assert_eq!(call(guest).await, first);
    let other = call(json!({ "network": "net1", "name": "vm4" })).await;
    assert_eq!((other.0, &other.1["code"]), (409, &json!("request-reused")));
    assert_eq!(cloud.get("/v1/guests").await.as_array().unwrap().len(), 3);
    cloud.stop();
}

/// Path, body, status, code, field.
type Bad = (&'static str, Value, u16, &'static str, &'static str);

#[allow(clippy::too_many_lines)] // a table
fn bad_requests() -> Vec<Bad> {
    let network = |field: &str, value: Value| {
        let mut body = json!({ "zone": "zone1", "name": "net9", "domain": "d", "egress": "deny" });
        body[field] = value;
        body
    };
    let range = |field: &str, value: Value| {
        let mut body = json!({ "zone": "zone1", "name": "pub9", "gateway": "203.0.113.1",
            "prefix": 24, "start": "203.0.113.10", "end": "203.0.113.20" });
        body[field] = value;
        body
    };
    let guest = |field: &str, value: Value| {
        let mut body = json!({ "network": "net1", "name": "vm9" });
        body[field] = value;
        body
    };
    vec![
        (
            "/v1/zones",
            json!({ "name": "zone1", "resolvers": ["192.0.2.1"] }),
            409,
            "conflict",
            "name",
        ),
        ("/v1/zones", json!({ "name": "z-7", "resolvers": ["192.0.2.1"] }), 422, "invalid", "name"),
        ("/v1/zones", json!({ "name": "z", "resolvers": [] }), 422, "invalid", "resolvers"),
        (
            "/v1/zones",
            json!({ "name": "z", "resolvers": ["192.0.2.1", "192.0.2.1"] }),
            422,
            "invalid",
            "resolvers",
        ),
        (
            "/v1/physical-networks",
            json!({ "zone": "zone1", "name": "p", "vlans": ["1-9", "9-12"] }),
            422,
            "invalid",
            "vlans",
        ),
        (
            "/v1/physical-networks",
            json!({ "zone": "zone1", "name": "p", "vlans": ["0-9"] }),
            422,
            "invalid",
            "vlans[0]",
        ),
        ("/v1/public-ranges", range("gateway", json!("203.0.113.0")), 422, "invalid", "gateway"),
        ("/v1/public-ranges", range("start", json!("203.0.114.10")), 422, "invalid", "start"),
        ("/v1/public-ranges", range("end", json!("203.0.113.9")), 422, "invalid", "end"),
        ("/v1/public-ranges", range("netmask", json!("255.255.255.0")), 422, "invalid", "netmask"),
        ("/v1/public-ranges", range("vlan", json!(150)), 422, "invalid", "vlan"),
        (
            "/v1/public-ranges",
            json!({ "zone": "zone1", "name": "p", "gateway": "198.51.100.1", "prefix": 24, "start": "198.51.100.50", "end": "198.51.100.120" }),
            409,
            "conflict",
            "start",
        ),
        ("/v1/networks", network("zone", json!("nowhere")), 404, "not-found", ""),
        ("/v1/networks", network("cidr", json!("10.0.0.0/8")), 422, "invalid", "cidr"),
        ("/v1/networks", network("cidr", json!("10.1.1.1/24")), 422, "invalid", "cidr"),
        ("/v1/networks", network("cidr", json!("198.51.100.0/25")), 422, "invalid", "cidr"),
        ("/v1/networks", network("gateway", json!("10.1.2.1")), 422, "invalid", "gateway"),
        ("/v1/networks", network("vlan", json!(200)), 422, "invalid", "vlan"),
        (
            "/v1/networks",
            network("source_nat", json!("198.51.100.100")),
            422,
            "invalid",
            "source_nat",
        ),
        ("/v1/networks", network("mtu", json!(9000)), 422, "invalid", "mtu"),
        ("/v1/networks", network("egress", json!("maybe")), 422, "invalid", "egress"),
        ("/v1/guests", guest("address", json!("10.1.1.1")), 422, "invalid", "address"),
        ("/v1/guests", guest("address", json!("10.1.1.255")), 422, "invalid", "address"),
        ("/v1/guests", guest("mac", json!("01:00:00:00:00:01")), 422, "invalid", "mac"),
        ("/v1/guests", guest("name", json!("vm1")), 409, "conflict", "name"),
        ("/v1/guests", guest("typo", json!(1)), 422, "invalid", "typo"),
        ("/v1/guests", json!(7), 422, "invalid", ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_field_and_reason_and_change_nothing() {
    let cloud = Cloud::start().await;
    let told = cloud.sluice(["apply", &super::first_network(), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    let before = everything(&cloud).await;
    for (path, body, status, code, field) in bad_requests() {
        let (got, problem) = cloud.post(path, body.clone()).await;
        let named = problem["field"].as_str().unwrap_or("");
        assert_eq!(
            (got, problem["code"].as_str().unwrap(), named),
            (status, code, field),
            "{path} {body}: {problem}"
        );
        assert!(problem["message"].as_str().unwrap().len() > 5, "{problem}");
        assert_eq!(everything(&cloud).await, before, "{path} {body} changed something");
    }
    cloud.stop();
}

async fn everything(cloud: &Cloud) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "zones",
        "physical-networks",
        "public-ranges",
        "networks",
        "guests",
        "allocations",
        "appliances/r-1/config",
    ] {
        all.push(cloud.get(&format!("/v1/{path}")).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_pages_large_bodies_and_unknown_routes_are_refused() {
    let cloud = Cloud::start().await;
    let http = cloud.http();
    let url = |path: &str| format!("http://{}{path}", cloud.manager.address);
    let call = |method: Method, path: &str| http.request(method, url(path)).bearer_auth(TOKEN);
    let post = || call(Method::POST, "/v1/zones");
    let form = post().header("content-type", "text/plain").body("{}").send();
    assert_eq!(form.await.unwrap().status(), 415);
    let foreign = call(Method::GET, "/v1/zones").header("host", "evil.example").send();
    assert_eq!(foreign.await.unwrap().status(), 421);
    let large = vec![b' '; sluice_api::MAX_BODY + 1];
    let large = post().header("content-type", "application/json").body(large);
    assert_eq!(large.send().await.unwrap().status(), 413);
    let garbage = post().header("content-type", "application/json");
    assert_eq!(garbage.body(&b"\xff\x00{"[..]).send().await.unwrap().status(), 400);
    assert_eq!(call(Method::GET, "/v2/zones").send().await.unwrap().status(), 404);
    let put = call(Method::PUT, "/v1/zones").json(&json!({})).send();
    assert_eq!(put.await.unwrap().status(), 405);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_can_name_the_version_that_it_is_about() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &super::first_network(), "--yes"]).code, 0);
    let http = cloud.http();
    let url = format!("http://{}/v1/networks/net1", cloud.manager.address);
    let tag = async || {
        let shown = http.get(&url).bearer_auth(TOKEN).send().await.unwrap();
        shown.headers()["etag"].to_str().unwrap().to_owned()
    };
    let change = async |tag: &str, egress: &str| {
        let call = http.patch(&url).bearer_auth(TOKEN).header("if-match", tag);
        call.json(&json!({ "egress": egress })).send().await.unwrap().status().as_u16()
    };
    let first = tag().await;
    assert_eq!(change(&first, "deny").await, 200);
    assert_ne!(tag().await, first);
    assert_eq!(change(&first, "allow").await, 412, "somebody changed it meanwhile");
    assert_eq!(cloud.get("/v1/networks/net1").await["egress"], "deny");
    assert_eq!(change(&tag().await, "allow").await, 200);
    assert_eq!(change("*", "deny").await, 200);
    assert_eq!(change("soon", "allow").await, 422);
    cloud.stop();
}
