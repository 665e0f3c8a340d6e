//! What rules cannot be, each told in its own words, and nothing changed by any of it.

use serde_json::{Value, json};

use super::kinds::{config, done, example, refused};
use super::process::{Cloud, call};

/// A command, its exit code, and words of the reason. `services` and `own` are public addresses of net1, and of these
/// `services` has forwards and `own` static NAT.
const MISUSES: &[(&str, i32, &str)] = &[
    (
        "firewall-rule create x --public-ip services --protocol tcp --ports 0",
        2,
        "ports: port range \"0\": must be a port or two joined by a hyphen, each 1 to 65535",
    ),
    (
        "firewall-rule create x --public-ip services --protocol tcp --ports 90-80",
        2,
        "ports: port range \"90-80\": ends before it begins",
    ),
    (
        "firewall-rule create x --public-ip services --protocol tcp --ports 80-65536",
        2,
        "ports: port range \"80-65536\": must be",
    ),
    (
        "firewall-rule create x --public-ip services --protocol tcp --sources 10.1.2.3/24",
        2,
        "sources[0]: network \"10.1.2.3/24\": ",
    ),
    (
        "firewall-rule create x --public-ip services --protocol tcp --sources 2001:db8::/32",
        3,
        "2001:db8::/32 is not an IPv4 network",
    ),
    (
        "port-forward create x --public-ip services --protocol tcp --ports 8081 --guest vm1 --sources 2001:db8::/32",
        3,
        "2001:db8::/32 is not an IPv4 network",
    ),
    (
        "port-forward create x --public-ip services --protocol tcp --ports 2200-2300 --guest vm2",
        5,
        "2222 is taken by port forward ssh-vm1",
    ),
    ("port-forward create x --public-ip services --protocol tcp --ports 80 --guest vm2", 3, "80"),
    ("static-nat create x --public-ip services --guest vm1", 5, "is used for port forwards"),
    (
        "port-forward create x --public-ip own --protocol tcp --ports 80 --guest vm1",
        5,
        "is used for static NAT",
    ),
    (
        "port-forward create x --public-ip services --protocol tcp --ports 81 --guest other",
        4,
        "there is no guest behind this router called other",
    ),
    ("firewall-rule create x --public-ip unknown --protocol all", 4, "no public ip unknown"),
    ("firewall-rule create x --public-ip services --protocol gre", 2, "must be all, tcp, udp"),
    ("firewall-rule create x --public-ip services --protocol 256", 2, "must be all, tcp, udp"),
    ("firewall-rule create x --public-ip services --protocol icmp --icmp-type 256", 2, "icmp_type"),
    (
        "firewall-rule create x --public-ip services --protocol tcp --ports 80-",
        2,
        "port range \"80-\": must be",
    ),
    (
        "port-forward create x --public-ip services --protocol tcp --ports 81 --guest third",
        5,
        "belongs to network net1",
    ),
    ("static-nat create x --public-ip vpn --guest third", 5, "belongs to network net1"),
    ("port-forward update ssh-vm1 --guest third", 5, "belongs to network net1"),
    ("static-nat update vm2 --guest third", 5, "belongs to network net1"),
    (
        "firewall-rule create x --public-ip services --protocol udp --ports 21 --helper ftp",
        3,
        "ftp helps connections of tcp to stated ports",
    ),
    (
        "egress-rule create x --network net1 --protocol udp --helper tftp",
        3,
        "tftp helps connections of udp to stated ports",
    ),
    (
        "firewall-rule create x --public-ip services --protocol tcp --ports 21 --helper irc",
        2,
        "helper",
    ),
];

/// Names that would mean something to a terminal, to nft, or to a shell.
const NAMES: &[&str] =
    &["a\u{1b}[31m", "a\nb", "x; flush ruleset", "\"} drop", "$(reboot)", "a/../b", "ä", "-x-", ""];

#[tokio::test(flavor = "multi_thread")]
async fn every_misuse_has_its_own_words_and_no_effect() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("rules.toml")));
    let second = "network create net2 --zone zone1 --domain net2.internal --egress deny";
    done(&cloud, second);
    done(&cloud, "guest create other --network net2");
    // behind the same router
    done(
        &cloud,
        "network create net3 --zone zone1 --domain net3.internal --egress allow --cidr 10.3.3.0/24 --router r-1",
    );
    done(&cloud, "guest create third --network net3");
    let before = (config(&cloud, "r-1").await, cloud.get("/v1/firewall-rules").await);
    for (line, code, words) in MISUSES {
        refused(&cloud, line, *code, words);
    }
    for name in NAMES {
        let words =
            ["firewall-rule", "create", name, "--public-ip", "services", "--protocol", "all"];
        let told = cloud.sluice(words);
        assert_eq!(told.code, 2, "{name:?}: {told:?}");
        assert!(!told.err.contains('\u{1b}'), "a control character is told as it is: {told:?}");
        let spec = json!({ "name": name, "public_ip": "services", "protocol": "all" });
        let (status, problem) = cloud.post("/v1/firewall-rules", spec).await;
        assert_eq!((status, &problem["field"]), (422, &json!("name")), "{name:?}: {problem}");
    }
    let after = (config(&cloud, "r-1").await, cloud.get("/v1/firewall-rules").await);
    assert_eq!(before, after, "a refusal changed something");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_forwards_of_one_port_at_once_one_is_made() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("rules.toml")));
    let (http, address) = (cloud.http(), cloud.manager.address);
    let calls = (0..50).map(|number| {
        let http = http.clone();
        let guest = if number % 2 == 0 { "vm1" } else { "vm2" };
        let spec = json!({ "name": format!("one-{number}"), "public_ip": "services",
            "protocol": "tcp", "ports": "2502", "guest": guest });
        tokio::spawn(async move {
            let post = reqwest::Method::POST;
            call(&http, address, post, "/v1/port-forwards", None, &spec).await.unwrap()
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut made = Vec::new();
    let mut conflicts = Vec::new();
    for call in calls {
        let (status, body) = call.await.unwrap();
        match status {
            201 => made.push(body),
            409 => conflicts.push(body),
            _ => panic!("{status}: {body}"),
        }
    }
    assert_eq!((made.len(), conflicts.len()), (1, 49));
    let winner = made[0]["name"].as_str().unwrap();
    for conflict in &conflicts {
        let message = conflict["message"].as_str().unwrap();
        let words = format!("2502 is taken by port forward {winner}");
        assert!(message.contains(&words), "the winner is named: {message}");
    }
    let forwards = config(&cloud, "r-1").await["role"]["router"]["port_forwards"].clone();
    let of_port = |forward: &&Value| forward["ports"] == "2502";
    assert_eq!(forwards.as_array().unwrap().iter().filter(of_port).count(), 1);
    done(
        &cloud,
        "port-forward create range --public-ip services --protocol tcp --ports 20-30 --guest vm1",
    );
    refused(
        &cloud,
        "port-forward create within --public-ip services --protocol tcp --ports 25-25 --guest vm2",
        5,
        "20-30 is taken by port forward range",
    );
    cloud.stop();
}

/// What null says of a value: it is taken away, or the field is refused by its name; and the command line has words for it.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_taken_away_where_they_can_be() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("rules.toml")));
    let patch = async |path: &str, patch: Value| {
        cloud.call(reqwest::Method::PATCH, path, None, &patch).await.unwrap()
    };
    let (status, rule) = patch("/v1/firewall-rules/web", json!({ "ports": null })).await;
    assert_eq!((status, &rule["ports"]), (200, &Value::Null), "{rule}");
    let rules = config(&cloud, "r-1").await["role"]["router"]["firewall"].clone();
    assert!(rules.to_string().contains(r#""tcp":{}"#), "every port now: {rules}");
    let (status, problem) = patch("/v1/zones/zone1", json!({ "max_vpcs": null })).await;
    assert_eq!((status, &problem["field"]), (422, &json!("max_vpcs")), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("cannot be taken away"), "{problem}");
    let (status, problem) = patch("/v1/zones/zone1", json!({ "managers": null })).await;
    assert_eq!((status, &problem["field"]), (422, &json!("managers")), "{problem}");

    let shown = async |path: &str| cloud.get(path).await;
    let boot = json!({ "boot": { "next_server": "10.1.1.5", "file": "pxelinux.0" } });
    assert_eq!(patch("/v1/networks/net1", boot).await.0, 200);
    let booted = async || {
        let networks = config(&cloud, "r-1").await["role"]["router"]["networks"].clone();
        networks.to_string().contains("pxelinux.0")
    };
    assert!(booted().await);
    done(&cloud, "network update net1 --unset boot");
    assert!(!booted().await, "nobody is told where to boot from any more");
    let (status, network) = patch("/v1/networks/net1", json!({ "upstream_tls": null })).await;
    assert_eq!((status, &network["boot"]), (200, &Value::Null), "{network}");
    let guests = shown("/v1/guests").await;
    let path = format!("/v1/guests/{}", guests[0]["id"].as_str().unwrap());
    for (password, there) in [(json!("correct horse"), true), (Value::Null, false)] {
        let (status, guest) = patch(&path, json!({ "password": password })).await;
        assert_eq!((status, guest["password"].is_string()), (200, there), "{guest}");
    }

    done(&cloud, "firewall-rule update ssh --unset ports");
    assert_eq!(shown("/v1/firewall-rules/ssh").await["ports"], Value::Null);
    let told = cloud.sluice(["firewall-rule", "update", "ssh", "--sources", ""]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.err.contains("sources: no longer 203.0.113.0/24"), "{told:?}");
    assert!(shown("/v1/firewall-rules/ssh").await["sources"].as_array().is_none_or(Vec::is_empty));
    let both =
        ["firewall-rule", "update", "ssh", "--sources", r#"["192.0.2.0/25","192.0.2.128/25"]"#];
    assert_eq!(cloud.sluice(both).code, 0);
    let sources = shown("/v1/firewall-rules/ssh").await["sources"].clone();
    assert_eq!(sources, json!(["192.0.2.0/25", "192.0.2.128/25"]));
    refused(&cloud, "zone update zone1 --unset max-vpcs", 2, "invalid value 'max-vpcs'");
    cloud.stop();
}
