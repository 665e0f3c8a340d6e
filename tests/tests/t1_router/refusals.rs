//! What is refused by a router that is in force: with a reason that names the field, and with no effect at all.

use serde_json::{Value, json};
use sluice_api::report::Answer;

use crate::world::{World, config};

/// The configuration in force, under the next number, changed by `change`.
fn next(change: impl FnOnce(&mut Value)) -> Value {
    let mut document = json!(config());
    document["generation"] = json!(config().generation.get() + 1);
    change(&mut document);
    document
}

/// Asserts the refusal and that nothing changed; answers the answer.
fn refused(world: &World, body: &[u8], status: u16, answer: &str) -> Value {
    let before = world.everything();
    let (got, text) = world.put_config(body.to_vec());
    let said: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((got, said["answer"].as_str()), (status, Some(answer)), "{said:#}");
    let after = world.everything();
    assert!(before == after, "it had an effect\nbefore:\n{before}\nafter:\n{after}");
    said
}

/// Asserts a refusal with a finding of this code at this path, and that it says why.
fn refused_at(world: &World, document: &Value, code: &str, path: &str) {
    let said = refused(world, document.to_string().as_bytes(), 422, "rejected");
    let findings = said["findings"].as_array().unwrap();
    let found = findings.iter().find(|one| one["code"] == code && one["path"] == path);
    let reason = found.and_then(|one| one["reason"].as_str());
    assert!(reason.is_some_and(|reason| reason.len() > 8), "no {code} at {path} in {said:#}");
}

#[test]
fn bad_configurations_are_refused_by_the_name_of_the_field_and_have_no_effect() {
    let world = World::new();
    world.push_and_confirm(&config());
    let unknown = next(|document| {
        document["colour"] = json!("red");
        document["links"][1]["speed"] = json!(10);
    });
    refused_at(&world, &unknown, "unknown-field", "colour");
    refused_at(&world, &unknown, "unknown-field", "links[1].speed");
    let guest0 = json!(config()).pointer("/links/2/name").cloned();
    assert_eq!(guest0, Some(json!("guest0")), "the cases below count on the order of links");
    for (pointer, value, code, path) in [
        ("/links/1/addresses/0", "10.1.1.200/25", "overlap", "links[1].addresses[0]"),
        (
            "/role/router/networks/0/gateway",
            "10.9.9.1",
            "gateway-outside",
            "role.router.networks[0].gateway",
        ),
        (
            "/role/router/networks/0/guests/1/mac",
            "02:00:0a:01:01:17",
            "duplicate-mac",
            "role.router.networks[0].guests[1].mac",
        ),
        (
            "/links/2/attach/nic/mac",
            "02:00:c6:33:64:0a",
            "duplicate-mac",
            "links[2].attach.nic.mac",
        ),
        (
            "/role/router/networks/0/guests/1/address",
            "10.1.1.23",
            "duplicate-address",
            "role.router.networks[0].guests[1].address",
        ),
        ("/links/2/mtu", "wide", "invalid-value", "links[2].mtu"),
    ] {
        let bad = next(|document| match document.pointer_mut(pointer) {
            Some(place) => *place = json!(value),
            None => document["links"][2]["mtu"] = json!(value),
        });
        refused_at(&world, &bad, code, path);
    }
    let many = next(|document| {
        let rules = |list: u32, count: u32| {
            let rule = |number| {
                json!({ "id": format!("r{number}"), "number": number, "direction": "ingress",
                "action": "deny", "traffic": { "all": {} } })
            };
            json!({ "id": format!("list-{list}"), "rules": (1..=count).map(rule).collect::<Vec<_>>() })
        };
        document["role"]["router"]["vpc"] = json!({ "id": "vpc-1", "cidr": "10.1.0.0/16",
            "acls": [rules(1, 65_535), rules(2, 2)] });
    });
    refused_at(&world, &many, "too-many", "role.router.vpc.acls");
    // none of them has used the number up
    let good = next(|document| document["role"]["router"]["networks"][0]["egress"] = json!("deny"));
    let (status, text) = world.put_config(good.to_string().into_bytes());
    let answer: Answer = serde_json::from_slice(&text).unwrap();
    assert!(matches!(answer, Answer::Applied { .. }), "{status}: {answer:?}");
}

#[test]
fn old_and_changed_generations_are_refused_and_have_no_effect() {
    let world = World::new();
    world.push_and_confirm(&config());
    let in_force = config().generation.get();
    let older = next(|document| document["generation"] = json!(in_force - 1));
    let stale = refused(&world, older.to_string().as_bytes(), 409, "stale");
    assert_eq!(stale["current"], json!(in_force), "{stale}");
    let changed = next(|document| {
        document["generation"] = json!(in_force);
        document["role"]["router"]["hostname"] = json!("other");
    });
    let changed = refused(&world, changed.to_string().as_bytes(), 409, "changed");
    assert_eq!(changed["generation"], json!(in_force), "{changed}");
    assert_ne!(changed["seen"], changed["sent"], "{changed}");
}

#[test]
fn large_bodies_and_garbage_are_refused_and_have_no_effect() {
    let world = World::new();
    world.push_and_confirm(&config());
    let mut large = next(|_| {}).to_string().into_bytes();
    large.resize(10 * 1024 * 1024, b' ');
    let said = refused(&world, &large, 413, "rejected");
    assert_eq!(said["findings"][0]["code"], "too-large", "{said}");
    assert!(said["findings"][0]["reason"].as_str().unwrap().contains("8388608"), "{said}");
    let cut = next(|_| {}).to_string();
    let cut = cut.as_bytes().split_at(cut.len() / 2).0;
    for garbage in [&b"\xff\xfe\x00{"[..], b"", b"[]", b"null", b"<?xml version='1.0'?>", cut] {
        let said = refused(&world, garbage, 422, "rejected");
        let reason = said["findings"][0]["reason"].as_str().unwrap();
        assert!(!reason.is_empty(), "{said}");
    }
}

#[test]
fn nobody_without_our_certificate_gets_an_answer_or_has_an_effect() {
    let world = World::new();
    world.push_and_confirm(&config());
    let document =
        next(|document| document["role"]["router"]["networks"][0]["egress"] = json!("deny"))
            .to_string();
    let before = world.everything();
    // without any certificate, over a stock client
    let put =
        "curl -sS -k -X PUT --max-time 10 --data-binary @- https://169.254.0.10:3922/v1/config";
    let output = world.manager.sh(put).input(document.clone()).run().unwrap();
    assert!(!output.ok(), "answered to nobody: {output:?}");
    assert!(format!("{output:?}").contains("certificate required"), "{output:?}");
    // with one of the right form that a foreign authority issued
    let refused = world.put_config_as(world.foreign_manager(), document.into_bytes());
    let error = format!("{:?}", refused.expect_err("answered to a foreign certificate"));
    assert!(error.contains("AlertReceived"), "{error}");
    let after = world.everything();
    assert!(before == after, "it had an effect\nbefore:\n{before}\nafter:\n{after}");
}
