//! Tunnels in the manager: the guide's settings of a zone, users of all remote accesses, gateways that are not changed under a
//! tunnel that stands, and what routers say of tunnels and sessions.

use serde_json::{Value, json};
use sluice_api::config::vpn::secret_of_blob;

use super::kinds::{applied, config, done, refused};
use super::process::Cloud;
use super::wait::until;

/// A second network with a remote access of its own, on the router of another network.
const SECOND: [&str; 3] = [
    "network create net2 --zone zone1 --domain net2.internal --cidr 10.1.7.0/24 --egress allow",
    "public-ip create vpn2 --network net2",
    "--json remote-access create second --public-ip vpn2",
];

pub(crate) fn users(config: &Value) -> Vec<&str> {
    let all = config["role"]["router"]["vpn"]["remote_access"][0]["users"].as_array().unwrap();
    all.iter().map(|user| user["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_zone_and_users_of_all_its_remote_accesses() {
    let cloud = Cloud::start().await;
    applied(&cloud, "rules.toml", "r-1").await;
    let agent = cloud.boot("r-1").await;
    // what a zone says unless it is told otherwise is what the guide's parameters are
    let zone = cloud.get("/v1/zones/zone1").await;
    assert_eq!(zone["vpn_range"], "10.1.2.1-10.1.2.8");
    assert_eq!((&zone["vpn_psk_length"], &zone["max_vpn_users"]), (&json!(24), &json!(8)));
    done(&cloud, "zone update zone1 --vpn-psk-length 30 --vpn-range 10.1.8.1-10.1.8.4");
    refused(&cloud, "zone update zone1 --vpn-psk-length 7", 3, "vpn_psk_length");
    done(&cloud, SECOND[0]);
    done(&cloud, SECOND[1]);
    let made = cloud.sluice(SECOND[2].split(' '));
    assert_eq!(made.code, 0, "{made:?}");
    let made: Value = serde_json::from_str(&made.out).unwrap();
    assert_eq!(made["range"], "10.1.8.1-10.1.8.4");
    let id = made["id"].as_str().unwrap();
    let psk = made["once"][id]["psk"].as_str().unwrap().to_owned();
    assert_eq!(psk.len(), 30);
    assert!(cloud.get("/v1/remote-accesses/second").await.get("once").is_none());
    let second = cloud.boot("r-2").await;
    until("a generation", || second.committed().is_some()).await;
    let kept = config(&cloud, "r-2").await["role"]["router"]["vpn"]["remote_access"][0].clone();
    let digest = kept["psk"].as_str().unwrap().parse().unwrap();
    let blob = second.blob(&digest).unwrap();
    assert_eq!(secret_of_blob(&blob), Some(psk.as_str()));

    // one user of one, one of all; nobody has a name twice anywhere
    let file = cloud.folder.path().join("password");
    std::fs::write(&file, "a password\n").unwrap();
    let user = |line: &str| format!("vpn-user create {line} --password-file {}", file.display());
    done(&cloud, &user("eve --zone zone1"));
    done(&cloud, &user("bob --remote-access second"));
    for (line, code, words) in [
        ("eve --remote-access staff", 5, "there is a vpn user eve already"),
        ("anna --zone zone1", 5, "there is a vpn user anna already"),
        ("eve --zone zone1", 5, "there is a vpn user eve already"),
        ("carl", 3, "remote_access or zone"),
    ] {
        refused(&cloud, &user(line), code, words);
    }
    assert_eq!(users(&config(&cloud, "r-1").await), ["anna", "eve"]);
    assert_eq!(users(&config(&cloud, "r-2").await), ["eve", "bob"]);
    done(&cloud, "vpn-user disconnect eve");
    for router in ["r-1", "r-2"] {
        let config = config(&cloud, router).await;
        let all = &config["role"]["router"]["vpn"]["remote_access"][0]["users"];
        let eve = all.as_array().unwrap().iter().find(|user| user["name"] == "eve").unwrap();
        assert_eq!(eve["disconnects"], 1, "{router}");
    }
    done(&cloud, "zone update zone1 --max-vpn-users 3");
    refused(&cloud, &user("carl --zone zone1"), 6, "max_vpn_users");
    done(&cloud, "vpn-user delete eve");
    assert_eq!(users(&config(&cloud, "r-1").await), ["anna"]);
    done(&cloud, &user("carl --zone zone1"));
    // a description that was exported is about the same
    let exported = cloud.sluice(["export"]);
    assert_eq!(exported.code, 0, "{exported:?}");
    until("the first router's generation", || agent.committed().is_some()).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one tunnel, step by step")]
async fn a_gateway_is_changed_while_its_tunnel_is_down() {
    let cloud = Cloud::start().await;
    applied(&cloud, "rules.toml", "r-1").await;
    // a reset that finds no router waits for it
    done(&cloud, "vpn-connection reset branch");
    let agent = cloud.boot("r-1").await;
    until("a generation", || agent.committed().is_some()).await;
    let connection = || agent.config().role.vpn.connections[0].clone();
    assert_eq!(connection().resets, 1);
    let state = cloud.sluice(["vpn-connection", "state", "branch"]);
    assert!(state.out.contains("not in force yet"), "{state:?}");

    let said = |phase: &str, trouble: Option<&str>| {
        json!({ "connections": { "s2s-vc-1": {
            "phase": phase, "trouble": trouble, "pfs": "proved", "peer": "203.0.113.7[500]",
            "tunnels": [{ "bytes-in": 4711, "bytes-out": 815 }, { "bytes-in": 1, "bytes-out": 0 }],
        } } })
    };
    agent.set_report("ike", said("connected", None));
    let change = "customer-gateway update branch --ike-group 15 --esp-encryption aes256-gcm";
    let nothing = "customer-gateway update branch --ike-lifetime 86400";
    until("the manager's knowing", || cloud.sluice(nothing.split(' ')).code == 5).await;
    refused(&cloud, change, 5, "vpn connection branch is connected");
    assert_eq!(json!(connection().gateway.esp.hash), "sha256", "nothing has changed");
    let state = cloud.sluice(["vpn-connection", "state"]);
    for word in ["connected", "203.0.113.7[500]", "4712", "815", "proved"] {
        assert!(state.out.contains(word), "{word}: {state:?}");
    }
    // why a connection to the branch passes, and why not
    let why = |port: u16| {
        let line = format!("explain --from 10.1.1.11 --to 10.77.0.5 --proto tcp --port {port}");
        cloud.sluice(line.split(' ')).out
    };
    let told = why(443);
    let through =
        "goes into the tunnel to the peer of tunnel/vc-1 [vpn connection branch], 203.0.113.7";
    assert!(told.contains(through) && told.contains("source NAT leaves it alone"), "{told}");
    assert!(told.contains("passes by vpn/to-peer"), "{told}");
    agent.set_report("ike", said("error", Some("ike-proposal")));
    let closed = "is refused by vpn/no-tunnel";
    until("the manager to know that it does not stand", || why(443).contains(closed)).await;
    let told = why(443);
    assert!(
        told.contains("[vpn connection branch], 203.0.113.7, and that does not stand"),
        "{told}"
    );
    until("the change", || cloud.sluice(change.split(' ')).code == 0).await;
    until("the change's arrival", || connection().gateway.esp.hash.is_none()).await;
    assert_eq!(json!(connection().gateway.ike.group), json!(15));
    done(&cloud, "customer-gateway update branch --esp-encryption aes128");
    until("the second change's arrival", || connection().gateway.esp.hash.is_some()).await;
    let state = cloud.sluice(["vpn-connection", "state", "branch"]);
    assert!(state.out.contains("ike-proposal"), "{state:?}");
    done(&cloud, "vpn-connection reset branch");
    until("the second reset", || connection().resets == 2).await;

    agent.set_report("l2tp", json!({ "sessions": [
        { "id": "1/2", "access": "ra-1", "user": "anna", "address": "10.9.9.2", "client": "192.0.2.9:1701",
          "host": "laptop", "authentication": "MS-CHAPv2", "seconds": 61, "bytes-in": 4711, "bytes-out": 42 },
        { "id": "3/4", "access": "ra-9", "user": "mallory", "address": "10.9.8.2", "client": "192.0.2.8:1701",
          "host": "pc", "authentication": "PAP", "seconds": 1, "bytes-in": 0, "bytes-out": 0 },
    ] }));
    let sessions = cloud.sluice(["remote-access", "state", "staff"]);
    for word in ["anna", "10.9.9.2", "192.0.2.9:1701", "61", "4711", "42"] {
        assert!(sessions.out.contains(word), "{word}: {sessions:?}");
    }
    assert!(!sessions.out.contains("mallory"), "{sessions:?}");
    cloud.stop();
}

/// What the guide's rules refuse, by names of both sides.
#[tokio::test(flavor = "multi_thread")]
async fn networks_that_overlap_are_refused_by_both_names() {
    let cloud = Cloud::start().await;
    applied(&cloud, "rules.toml", "r-1").await;
    let before = config(&cloud, "r-1").await;
    for (line, words) in [
        (
            "customer-gateway update branch --networks 10.1.0.0/16",
            "10.1.0.0/16 overlaps 10.1.1.0/24",
        ),
        ("customer-gateway update branch --networks 10.9.0.0/16", "connection vc-1"),
        (
            "remote-access update staff --range 10.77.3.1-10.77.3.9",
            "10.77.0.0/16 of connection vc-1",
        ),
        ("remote-access update staff --range 10.1.1.200-10.1.1.208", "guest network n-1"),
        ("customer-gateway update branch --ike-group 2", "obsolete"),
    ] {
        refused(&cloud, line, 3, words);
    }
    assert_eq!(config(&cloud, "r-1").await, before);
    // public networks behind a peer are a warning, and another range is in force at once
    done(&cloud, "customer-gateway update branch --networks 192.0.2.0/24");
    done(&cloud, "remote-access update staff --range 10.9.7.1-10.9.7.4");
    let linted = cloud.sluice(["appliance", "lint", "r-1"]);
    assert!(linted.out.contains("RFC 1918"), "{linted:?}");
    let vpn = config(&cloud, "r-1").await["role"]["router"]["vpn"].clone();
    assert_eq!(vpn["remote_access"][0]["range"], "10.9.7.1-10.9.7.4");
    // tcp 500 is nobody's; udp 500 is the tunnels'
    done(&cloud, "port-forward create tcp --public-ip vpn --protocol tcp --ports 500 --guest vm1");
    let udp = "port-forward create udp --public-ip vpn --protocol udp --ports 500 --guest vm1";
    refused(&cloud, udp, 3, "udp 500");
    cloud.stop();
}
