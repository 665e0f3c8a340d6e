//! What ends of tunnels may not be: each value that no tunnel can be made of is refused by its field, with the reason, and
//! nothing changes. Whose users come in where.

use reqwest::Method;
use serde_json::{Value, json};

use super::kinds::{applied, config, done, refused};
use super::process::Cloud;
use super::tunnels::users;

/// Calls and expects to be refused for this field, with these words.
async fn refused_by_field(
    cloud: &Cloud,
    (method, path): (Method, &str),
    body: &Value,
    (field, words): (&str, &str),
) {
    let (status, problem) = cloud.call(method, path, None, body).await.unwrap();
    assert_eq!((status, &problem["field"]), (422, &json!(field)), "{body}: {problem}");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains(words), "{body}: {problem}");
}

/// `body` with another value of one field.
fn with(body: &Value, field: &str, value: &Value) -> Value {
    let mut body = body.clone();
    body[field] = value.clone();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_no_tunnel_can_have_are_refused_by_their_fields() {
    let cloud = Cloud::start().await;
    applied(&cloud, "rules.toml", "r-1").await;
    let before = cloud.get("/v1/customer-gateways").await;
    let good = json!({ "zone": "zone1", "name": "bad", "address": "203.0.113.8", "networks": ["10.88.0.0/16"],
        "psk": "a key of eight and more" });
    for (field, value, words) in [
        ("address", json!("0.0.0.0"), "not the address of one host"),
        ("address", json!("224.0.0.5"), "not the address of one host"),
        ("address", json!("255.255.255.255"), "not the address of one host"),
        ("address", json!("127.0.0.1"), "not the address of another host"),
        ("address", json!("2001:db8::1"), "no IPv4 address"),
        ("networks", json!([]), "at least one network"),
        ("networks", json!(["2001:db8::/64"]), "not of IPv4"),
        ("networks", json!(["10.88.0.0/16", "10.88.1.0/24"]), "overlap"),
        ("networks", json!(["127.0.0.0/8"]), "no host"),
        ("networks", json!(["0.0.0.0/0"]), "no host"),
        ("psk", json!(""), "8 to 256 characters, not 0"),
        ("psk", json!("seven77"), "8 to 256 characters, not 7"),
        ("psk", json!("k".repeat(257)), "8 to 256 characters, not 257"),
        ("psk", json!("a key of\ntwo lines"), "control characters"),
        ("ike_lifetime", json!(59), "60 to 604800"),
        ("ike_lifetime", json!(604_801), "60 to 604800"),
        ("esp_lifetime", json!(0), "60 to 604800"),
        ("ike_group", json!(13), "2, 5, 14 to 21 or 31"),
        ("peer_id", json!("a\nb"), "letters, digits"),
        ("peer_id", json!("%any"), "letters, digits"),
        ("name", json!("a\u{7}b"), ""),
    ] {
        let body = with(&good, field, &value);
        let call = (Method::POST, "/v1/customer-gateways");
        refused_by_field(&cloud, call, &body, (field, words)).await;
        if field != "name" {
            let call = (Method::PATCH, "/v1/customer-gateways/branch");
            refused_by_field(&cloud, call, &json!({ field: value }), (field, words)).await;
        }
    }
    assert_eq!(cloud.get("/v1/customer-gateways").await, before);
    let (status, made) = cloud.post("/v1/customer-gateways", good).await;
    assert_eq!(status, 201, "{made}");

    let access = (Method::PATCH, "/v1/remote-accesses/staff");
    refused_by_field(&cloud, access, &json!({ "psk": "short" }), ("psk", "8 to 256")).await;
    let user = json!({ "remote_access": "staff", "name": "bob", "password": "a password" });
    for (field, value, words) in [
        ("password", json!(""), "1 to 255 bytes, not 0"),
        ("password", json!("p".repeat(256)), "1 to 255 bytes, not 256"),
        ("password", json!("a\tb"), "control characters"),
        ("name", json!("bo\u{1}b"), ""),
    ] {
        let body = with(&user, field, &value);
        refused_by_field(&cloud, (Method::POST, "/v1/vpn-users"), &body, (field, words)).await;
    }
    cloud.stop();
}

/// A VPC's super CIDR, the router's own addresses and the networks of another peer are taken, also where a connection is of
/// one tier alone.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_meet_what_is_at_the_router_are_refused() {
    let cloud = Cloud::start().await;
    let before = applied(&cloud, "vpn.toml", "r-1").await;
    let key = cloud.folder.path().join("key");
    std::fs::write(&key, "a key of eight and more\n").unwrap();
    for (name, address, networks, words) in [
        ("own", "198.51.100.10", "10.88.0.0/16", "own: 198.51.100.10 is the router's own"),
        ("tier", "203.0.113.8", "10.0.7.0/24", "10.0.7.0/24 overlaps 10.0.0.0/16 of VPC vpc1"),
        (
            "peer",
            "203.0.113.8",
            "10.88.0.0/16,172.16.0.0/16",
            "172.16.0.0/16 overlaps 172.16.1.0/24 of connection vc-1",
        ),
    ] {
        done(
            &cloud,
            &format!(
                "customer-gateway create {name} --zone zone1 --address {address} --networks {networks} --psk-file {}",
                key.display()
            ),
        );
        let connection = format!(
            "vpn-connection create {name} --public-ip vpn --customer-gateway {name} --local-networks 10.0.1.0/24"
        );
        refused(&cloud, &connection, 3, "customer_gateway: ");
        refused(&cloud, &connection, 3, words);
    }
    let call = || (Method::PATCH, "/v1/customer-gateways/office");
    for (field, value, words) in [
        ("address", json!("198.51.100.11"), "198.51.100.11 is the router's own"),
        ("networks", json!(["172.16.1.0/24", "10.0.7.0/24"]), "of VPC vpc1"),
    ] {
        refused_by_field(&cloud, call(), &json!({ field: value }), (field, words)).await;
    }
    assert_eq!(config(&cloud, "r-1").await, before);
    cloud.stop();
}

/// Users of a zone come in at what their owner has there. Until there are accounts, one is made another's by hand.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_zone_come_in_at_their_owners_tunnels_alone() {
    let cloud = Cloud::start().await;
    applied(&cloud, "rules.toml", "r-1").await;
    let file = cloud.folder.path().join("password");
    std::fs::write(&file, "a password\n").unwrap();
    let eve = format!("vpn-user create eve --zone zone1 --password-file {}", file.display());
    done(&cloud, &eve);
    assert_eq!(users(&config(&cloud, "r-1").await), ["anna", "eve"]);
    let store = cloud.store().await;
    let mut turn = store.begin().await.unwrap();
    let made_anothers = "UPDATE vpn_users SET domain = 'elsewhere', account = 'theirs',
        owned_name = 'elsewhere/theirs/eve' WHERE name = 'eve'";
    let changed = sqlx::query(made_anothers).execute(&mut *turn).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    turn.commit().await.unwrap();
    store.close().await;
    // the next change of the router is made of what its owner has
    done(&cloud, "vpn-user disconnect anna");
    assert_eq!(users(&config(&cloud, "r-1").await), ["anna"]);
    // and the name and the room are the owner's own
    done(&cloud, "zone update zone1 --max-vpn-users 2");
    done(&cloud, &eve);
    assert_eq!(users(&config(&cloud, "r-1").await), ["anna", "eve"]);
    cloud.stop();
}
