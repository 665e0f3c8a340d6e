//! What a new object is compared with, the database finds by an index: nothing in common, at any place beside the others.

use serde_json::json;

use super::process::{Cloud, first_network};

/// Port forwards of one address: which ports go beside those that are there.
#[tokio::test(flavor = "multi_thread")]
async fn port_forwards_of_an_address_have_no_port_in_common() {
    let mut cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let (status, made) =
        cloud.post("/v1/public-ips", json!({ "network": "net1", "name": "web" })).await;
    assert_eq!(status, 201, "{made}");
    let tries = async |cloud: &Cloud, tries: &[(&str, &str, &str, u16)]| {
        for (name, protocol, ports, expected) in tries {
            let spec = json!({ "name": name, "public_ip": "web", "protocol": protocol, "ports": ports,
                               "guest": "vm1" });
            let (status, told) = cloud.post("/v1/port-forwards", spec).await;
            assert_eq!(status, *expected, "{name} {ports}: {told}");
        }
    };
    let forwards = [
        ("a", "tcp", "80-90", 201),
        ("b", "tcp", "100", 201),
        ("c", "tcp", "1000-2000", 201),
        ("within", "tcp", "85", 409),
        ("around", "tcp", "70-110", 409),
        ("last", "tcp", "90-95", 409),
        ("first", "tcp", "95-100", 409),
        ("large", "tcp", "500-65535", 409),
        ("between", "tcp", "91-99", 201),
        ("before", "tcp", "1-79", 201),
        ("behind", "tcp", "2001", 201),
        ("other", "udp", "80-90", 201),
    ];
    tries(&cloud, &forwards).await;
    // a store of before the columns has them from the next start on
    let store = cloud.store().await;
    let mut turn = store.begin().await.unwrap();
    for statement in [
        "UPDATE port_forwards SET protocol = NULL, first_port = NULL",
        "DELETE FROM facts WHERE name = 'derived'",
    ] {
        sqlx::query(statement).execute(&mut *turn).await.unwrap();
    }
    turn.commit().await.unwrap();
    store.close().await;
    cloud.restart(&[]).await;
    tries(&cloud, &[("again", "tcp", "1999", 409), ("more", "tcp", "3000", 201)]).await;
    // the address is free with the last of them
    let all = cloud.get("/v1/port-forwards").await;
    for forward in all.as_array().unwrap() {
        let ip = cloud.get("/v1/public-ips/web").await;
        assert_eq!(ip["purpose"], "forwards", "{ip}");
        let name = forward["name"].as_str().unwrap();
        assert_eq!(cloud.sluice(["port-forward", "delete", name]).code, 0);
    }
    assert_eq!(cloud.get("/v1/public-ips/web").await["purpose"], "none");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_keys_stays_as_long_as_a_guest_has_it() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    for name in ["mine", "yours"] {
        assert_eq!(cloud.sluice(["keypair", "create", name]).code, 0);
    }
    let change = async |keypairs: &[&str]| {
        let call = cloud.http().patch(format!("{}/v1/guests/vm1", cloud.manager.url()));
        let call = call.bearer_auth(sluice_tests::manager::TOKEN);
        let answer = call.json(&json!({ "keypairs": keypairs })).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    change(&["mine", "yours"]).await;
    let told = cloud.sluice(["keypair", "delete", "mine"]);
    assert!(told.code == 5 && told.err.contains("guest vm1"), "{told:?}");
    change(&["yours"]).await;
    assert_eq!(cloud.sluice(["keypair", "delete", "mine"]).code, 0);
    assert_eq!(cloud.sluice(["guest", "delete", "vm1"]).code, 0);
    assert_eq!(cloud.sluice(["keypair", "delete", "yours"]).code, 0);
    cloud.stop();
}
