//! Documents of the largest size that an agent takes are answered with a finding, at a bounded price.

#![allow(clippy::unwrap_used)] // a test may fail loudly anywhere, its helpers included

use std::path::Path;
use std::{env, fs};

use serde_json::Value;
use sluice_api::{Finding, MAX_BODY, RouterDocument};

/// What is wrong with `start`, then `piece` again and again, then `end`: eight megabytes in all.
fn findings(start: &str, piece: &str, end: &str) -> Vec<Finding> {
    let pieces = (MAX_BODY - start.len() - end.len()) / piece.len();
    RouterDocument::decode(format!("{start}{}{end}", piece.repeat(pieces)).as_bytes()).unwrap_err()
}

/// The most memory that this process had so far, in bytes (proc(5), `VmHWM`).
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn eight_megabytes_of_numbers_cost_no_multiple_of_their_size() {
    let before = peak();
    let found = findings("[0", ",0", "]");
    assert_eq!(found[0].code, "invalid-value", "{found:?}");
    // a parsed document would be 16 times the text and more; the text itself is there twice
    let used = peak() - before;
    assert!(used < 8 * MAX_BODY, "{used} bytes");
}

#[test]
fn eight_megabytes_of_anything_are_told_one_finding() {
    for (start, piece, end, code) in [
        ("{\"version\":2,\"links\":[0", ",0", "]}", "invalid-value"),
        ("{\"a\":[[]", ",[]", "]}", "unknown-field"),
        ("[", "[", "", "invalid-value"),
        ("", "x", "", "syntax"),
        ("{\"version\":2,", " ", "", "syntax"),
    ] {
        let found = findings(start, piece, end);
        assert_eq!(found.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), [code], "{start}");
    }
}

#[test]
fn what_is_refused_is_not_quoted_at_full_length() {
    for (start, end) in [("{\"", "\":1}"), ("\"", "\""), ("{\"appliance\":\"", "\"}")] {
        let found = findings(start, "\u{e9}", end);
        assert!(found[0].reason.len() < 2000 && found[0].path.len() < 2000, "{start}");
    }
}

#[test]
fn a_large_document_is_still_told_several_faults() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/router.json");
    let mut config: Value = serde_json::from_slice(&fs::read(example).unwrap()).unwrap();
    let route = config["routes"][0].clone();
    config["routes"] = vec![route; 9_000].into();
    config["role"]["router"]["hostname"] = "-".into();
    config["colour"] = "red".into();
    let bytes = serde_json::to_vec(&config).unwrap();
    assert!(bytes.len() > 500_000, "{} bytes", bytes.len());
    let found = RouterDocument::decode(&bytes).unwrap_err();
    let codes: Vec<_> = found.iter().map(|finding| finding.code.as_str()).collect();
    assert!(codes.contains(&"invalid-value") && codes.contains(&"unknown-field"), "{found:?}");
}

#[test]
fn one_rule_more_than_the_most_is_refused_by_its_list() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/router.json");
    let config: Value = serde_json::from_slice(&fs::read(example).unwrap()).unwrap();
    let many = |list: &str, rule: Value| {
        let mut config = config.clone();
        config["role"]["router"][list] = vec![rule; 131_073].into();
        RouterDocument::decode(&serde_json::to_vec(&config).unwrap()).unwrap_err()
    };
    let address = "198.51.100.10";
    let all = serde_json::json!({ "all": {} });
    for (list, rule) in [
        ("firewall", serde_json::json!({ "id": "a", "public": address, "traffic": all })),
        ("egress_rules", serde_json::json!({ "id": "a", "network": "net-1", "traffic": all })),
        (
            "static_nat",
            serde_json::json!({ "id": "a", "public": address, "network": "net-1", "guest": "10.1.1.23" }),
        ),
        (
            "port_forwards",
            serde_json::json!({ "id": "a", "public": address, "protocol": "tcp", "ports": "80",
                                "network": "net-1", "guest": "10.1.1.23" }),
        ),
    ] {
        let found = many(list, rule);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        let wanted =
            format!("error: role.router.{list}: 131073 rules are more than 131072 [too-many]");
        assert_eq!(told, [wanted]);
    }
    let rule = serde_json::json!({ "id": "a", "number": 1, "direction": "ingress", "action": "allow", "traffic": all });
    let mut config = config;
    config["role"]["router"]["vpc"] = serde_json::json!({ "id": "v", "cidr": "10.0.0.0/8",
        "acls": [{ "id": "one", "rules": vec![rule; 65_537] }] });
    let found = RouterDocument::decode(&serde_json::to_vec(&config).unwrap()).unwrap_err();
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    let wanted = "error: role.router.vpc.acls: 65537 rules are more than 65536 [too-many]";
    assert!(told.contains(&wanted.to_owned()), "{told:?}");
}

#[test]
fn forwards_of_ranges_that_move_have_a_bound_together() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/router.json");
    let mut config: Value = serde_json::from_slice(&fs::read(example).unwrap()).unwrap();
    let forward = |number: usize, protocol: &str, last: u16, first: u16| {
        serde_json::json!({ "id": format!("pf-{number}"), "public": format!("198.51.100.{}", 10 + number / 2),
            "protocol": protocol, "ports": format!("1-{last}"), "network": "net-1", "guest": "10.1.1.23",
            "guest_port": first })
    };
    let mut told = |forwards: Vec<Value>| {
        config["role"]["router"]["port_forwards"] = forwards.into();
        let found = RouterDocument::decode(&serde_json::to_vec(&config).unwrap()).unwrap_err();
        let found = found.iter().filter(|finding| finding.code == "too-many");
        found.map(ToString::to_string).collect::<Vec<_>>()
    };
    let two = || vec![forward(0, "tcp", 65_534, 2), forward(1, "udp", 65_534, 2)];
    let few = [two(), vec![forward(2, "tcp", 4, 9), forward(3, "udp", 65_535, 1)]].concat();
    // 131,072 in all, and the last one keeps its ports; the addresses are no public ones of the example
    assert_eq!(
        told(few),
        [
            "error: role.router.port_forwards: 131073 ports that become others are more than 131072 [too-many]"
        ]
    );
    let fewer = [two(), vec![forward(2, "tcp", 3, 9), forward(3, "udp", 65_535, 1)]].concat();
    assert_eq!(told(fewer), Vec::<String>::new());
}
