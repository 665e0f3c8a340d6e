//! Each rule finds its fault, and nothing else.

use super::*;

fn connection() -> serde_json::Value {
    serde_json::json!({
        "id": "c-1",
        "address": "198.51.100.10",
        "local_networks": ["10.1.1.0/24"],
        "gateway": {
            "id": "office",
            "address": "203.0.113.9",
            "networks": ["172.16.1.0/24"],
            "psk": DIGEST,
            "ike": {"encryption": "aes256", "hash": "sha256", "group": 14},
            "esp": {"encryption": "aes256", "hash": "sha256", "pfs": 14},
        },
    })
}

const DIGEST: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn access() -> serde_json::Value {
    serde_json::json!({
        "id": "ra-1",
        "address": "198.51.100.10",
        "networks": ["net-1"],
        "psk": DIGEST,
        "range": "10.1.2.1-10.1.2.8",
        "users": [{"name": "anna", "password": DIGEST}],
    })
}

/// `path code` of every finding of a VPN that `change` made of a sound one.
fn findings(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
    let mut vpn = serde_json::json!({
        "connections": [connection()], "remote_access": [access()],
    });
    change(&mut vpn);
    let vpn: VpnConfig = serde_json::from_value(vpn).unwrap();
    let id = "net-1".parse().unwrap();
    let around = Surroundings {
        public: vec!["198.51.100.10".parse().unwrap()],
        guests: vec![(&id, "10.1.1.0/24".parse().unwrap())],
        others: vec![("pub0".to_owned(), "198.51.100.0/24".parse().unwrap())],
    };
    let mut all: Vec<String> = judge(&vpn, &around)
        .iter()
        .map(|finding| format!("{} {}", finding.path.trim_start_matches("vpn."), finding.code))
        .collect();
    all.sort();
    all
}

#[test]
fn a_sound_one_has_no_findings() {
    assert!(findings(|_| ()).is_empty());
}

#[test]
#[allow(clippy::too_many_lines, clippy::semicolon_if_nothing_returned)] // a table of cases
fn each_rule_finds_its_fault() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 19] = [
        (
            |v| v["connections"][0]["address"] = "198.51.100.11".into(),
            "connections[0].address not-own-address",
        ),
        (
            |v| v["connections"][0]["local_networks"] = serde_json::json!([]),
            "connections[0].local_networks no-network",
        ),
        (
            |v| v["connections"][0]["gateway"]["networks"] = serde_json::json!(["10.1.0.0/16"]),
            "connections[0].gateway.networks[0] overlap",
        ),
        (
            |v| v["connections"][0]["gateway"]["networks"] = serde_json::json!(["10.1.2.0/24"]),
            "remote_access[0].range overlap",
        ),
        (
            |v| v["connections"][0]["gateway"]["networks"] = serde_json::json!(["2001:db8::/32"]),
            "connections[0].gateway.networks[0] family",
        ),
        (
            |v| v["connections"][0]["gateway"]["networks"] = serde_json::json!(["192.0.2.0/24"]),
            "connections[0].gateway.networks[0] public-network",
        ),
        (
            |v| v["connections"][0]["gateway"]["address"] = "198.51.100.10".into(),
            "connections[0].gateway.address own-address",
        ),
        (
            |v| _ = v["connections"][0]["gateway"].as_object_mut().unwrap().remove("address"),
            "connections[0].gateway.address missing-field",
        ),
        (
            |v| v["connections"][0]["gateway"]["ike"]["encryption"] = "3des".into(),
            "connections[0].gateway.ike.encryption obsolete-algorithm",
        ),
        (
            |v| v["connections"][0]["gateway"]["ike"]["group"] = 2.into(),
            "connections[0].gateway.ike.group obsolete-algorithm",
        ),
        (
            |v| v["connections"][0]["gateway"]["esp"]["hash"] = "md5".into(),
            "connections[0].gateway.esp.hash obsolete-algorithm",
        ),
        (
            |v| v["connections"][0]["gateway"]["esp"]["encryption"] = "aes256-gcm".into(),
            "connections[0].gateway.esp.hash algorithm-mismatch",
        ),
        (
            |v| v["remote_access"][0]["range"] = "10.1.1.200-10.1.1.210".into(),
            "remote_access[0].range overlap",
        ),
        (
            |v| v["remote_access"][0]["networks"] = serde_json::json!(["net-2"]),
            "remote_access[0].networks[0] unknown-network",
        ),
        (
            |v| {
                let same = v["remote_access"][0]["users"][0].clone();
                v["remote_access"][0]["users"].as_array_mut().unwrap().push(same);
            },
            "remote_access[0].users[1].name duplicate-user",
        ),
        (
            |v| v["remote_access"][0]["authentication"] = serde_json::json!([]),
            "remote_access[0].authentication missing-field",
        ),
        (
            |v| {
                v["remote_access"][0]["dns"] =
                    serde_json::json!(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
            },
            "remote_access[0].dns too-many",
        ),
        (
            |v| v["remote_access"][0]["address"] = "198.51.100.99".into(),
            "remote_access[0].address not-own-address",
        ),
        (|v| v["remote_access"][0]["id"] = "c-1".into(), "remote_access[0].id duplicate-vpn"),
    ];
    for (change, expected) in cases {
        let found = findings(change);
        assert!(found.iter().any(|one| one == expected), "{expected}: {found:?}");
    }
}

#[test]
fn obsolete_algorithms_are_a_warning_where_they_are_allowed() {
    let all = findings(|vpn| {
        vpn["allow_obsolete"] = true.into();
        vpn["connections"][0]["gateway"]["ike"]["encryption"] = "3des".into();
    });
    assert_eq!(all, ["connections[0].gateway.ike.encryption obsolete-algorithm"]);
    let vpn = serde_json::json!({"allow_obsolete": true, "connections": [{
        "id": "c-1", "address": "198.51.100.10", "local_networks": ["10.1.1.0/24"],
        "gateway": {"id": "g", "address": "203.0.113.9", "networks": ["172.16.0.0/16"], "psk": DIGEST,
            "ike": {"encryption": "3des", "hash": "md5", "group": 2},
            "esp": {"encryption": "3des", "hash": "md5"}},
    }]});
    let vpn: VpnConfig = serde_json::from_value(vpn).unwrap();
    let around =
        Surroundings { public: vec!["198.51.100.10".parse().unwrap()], ..Surroundings::default() };
    assert!(!Finding::any_error(&judge(&vpn, &around)));
    assert_eq!(judge(&vpn, &around).len(), 5);
}

#[test]
fn two_peers_with_the_same_network_are_named() {
    let all = findings(|vpn| {
        let mut second = connection();
        second["id"] = "c-2".into();
        second["gateway"]["id"] = "branch".into();
        second["gateway"]["address"] = "203.0.113.10".into();
        second["gateway"]["networks"] = serde_json::json!(["172.16.0.0/16"]);
        vpn["connections"].as_array_mut().unwrap().push(second);
    });
    assert_eq!(all, ["connections[1].gateway.networks[0] overlap"]);
}
