//! Diagnostics that are refused, each with the field at fault. That they work is shown with real packets, in namespaces.

use serde_json::{Value, json};

use crate::world::{World, document};

/// Asserts a refusal that names `field`.
async fn refuses(world: &World, path: &str, body: Value, field: &str, code: &str) {
    let path = format!("/v1/diagnostics/{path}");
    let answer = world.manager().post(&path, &body).await.refuses(422, code);
    let paths: Vec<_> = answer["findings"].as_array().unwrap().iter().collect();
    assert!(paths.iter().any(|finding| finding["path"] == field), "{path} {body}: {answer}");
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_name_of_the_field() {
    let world = World::new().await;
    world.manager().push("?confirm_seconds=0", &document(1)).await.is(200, "applied");
    let before = world.kernel.state();
    for (path, body, field, code) in [
        ("ping", json!({"address": "192.0.2.1", "count": 0}), "count", "invalid-value"),
        ("ping", json!({"address": "192.0.2.1", "count": 11}), "count", "invalid-value"),
        ("ping", json!({"address": "192.0.2.1", "colour": 1}), "colour", "unknown-field"),
        ("ping", json!({"address": "224.0.0.1"}), "address", "invalid-value"),
        ("ping", json!({"address": "www.example.org"}), "address", "invalid-value"),
        ("ping", json!({}), "address", "missing-field"),
        ("ping", json!({"address": "fe80::1"}), "link", "family"),
        ("ping", json!({"address": "192.0.2.1", "link": "no0"}), "link", "unknown-link"),
        ("ping", json!({"address": "192.0.2.1", "link": "a;b"}), "link", "invalid-value"),
        (
            "traceroute",
            json!({"address": "192.0.2.1", "max_hops": 31}),
            "max_hops",
            "invalid-value",
        ),
        ("traceroute", json!({"address": "fe80::1"}), "link", "family"),
        ("arping", json!({"address": "10.1.1.2"}), "link", "missing-field"),
        ("arping", json!({"address": "10.1.1.2", "link": "no0"}), "link", "unknown-link"),
        ("capture", json!({"link": "pub0", "packets": 10_001}), "packets", "invalid-value"),
        ("capture", json!({"link": "pub0", "bytes": 16_777_217}), "bytes", "invalid-value"),
        ("capture", json!({"link": "pub0", "seconds": 61}), "seconds", "invalid-value"),
        ("capture", json!({"link": "pub0", "port": 0}), "port", "invalid-value"),
        ("capture", json!({"link": "pub0", "protocol": "ipx"}), "protocol", "invalid-value"),
        ("capture", json!({"link": "pub0", "filter": "tcp"}), "filter", "unknown-field"),
        ("capture", json!({"link": "no0"}), "link", "unknown-link"),
    ] {
        refuses(&world, path, body, field, code).await;
    }
    assert_eq!(world.kernel.state(), before);
}

#[tokio::test]
async fn an_unknown_link_is_told_with_those_that_there_are() {
    let world = World::new().await;
    world.manager().push("?confirm_seconds=0", &document(1)).await.is(200, "applied");
    let reply = world.manager().post("/v1/diagnostics/capture", &json!({"link": "no0"})).await;
    assert!(reply.body.contains("ctl, pub0"), "{reply:?}");
}
