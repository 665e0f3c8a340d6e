//! Why a connection passes or does not, asked by the command line before anything is pushed; rules that do nothing; rules
//! with an end.

use serde_json::Value;

use super::kinds::{config, done, example, refused};
use super::process::Cloud;

const SSH: &str = "explain --from 203.0.113.10 --to 198.51.100.21 --proto tcp --port 2222";

/// Output and exit code of a command.
fn told(cloud: &Cloud, line: &str) -> (String, i32) {
    let told = cloud.sluice(line.split(' '));
    (told.out + &told.err, told.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_explained_in_the_words_of_its_owner() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("rules.toml")));
    let (text, code) = told(&cloud, SSH);
    assert_eq!(code, 0, "{text}");
    for words in [
        "r-1, generation 1:",
        "destination becomes 10.1.1.11:22 by nat/forward-tcp (forward/pf-1 [port forward ssh-vm1])",
        "passes by firewall/fw-1 [firewall rule ssh] in fw-198-51-100-21",
        "leaves by guest0 as tcp 203.0.113.10:40000 > 10.1.1.11:22",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let stranger = SSH.replace("203.0.113.10", "198.51.100.1");
    let (text, _) = told(&cloud, &stranger);
    let words = "is dropped by forward/not-let-in in filter-forward: no firewall rule of the public \
                 address lets it in";
    assert!(text.contains(words), "{text}");
    let mail = "explain --from 10.1.1.11 --to 203.0.113.10 --proto tcp --port 25";
    let (text, _) = told(&cloud, mail);
    assert!(text.contains("is dropped by egress/er-1 [egress rule no-smtp]"), "{text}");
    let own = "explain --from 10.1.1.12 --to 203.0.113.10 --proto icmp";
    let (text, _) = told(&cloud, own);
    let words = "source becomes 198.51.100.22 by nat/static-out (static-nat/sn-1 [static nat vm2])";
    assert!(text.contains(words), "{text}");

    // a change is seen before it is pushed, since nothing is: the machine was never switched on
    done(&cloud, "firewall-rule delete ssh");
    let (text, code) = told(&cloud, &format!("{SSH} --against 1"));
    assert_eq!(code, 10, "{text}");
    let (now, before) = text.split_once("generation 1:").unwrap();
    assert!(now.contains("generation 2:") && now.contains("is dropped by"), "{text}");
    assert!(before.contains("passes by firewall/fw-1"), "of a rule that is gone the id is left");
    let (_, code) = told(&cloud, &format!("{mail} --against 1"));
    assert_eq!(code, 0, "what the change is not about");
    let json = cloud.sluice(format!("--json {SSH} --against 1").split(' '));
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["differs"], &json["answer"]["verdict"]), (&true.into(), &"dropped".into()));
    assert_eq!(json["against"]["answer"]["egress_address"], "203.0.113.10");
    for (line, code, words) in [
        ("explain --from 10.1.1.11 --to 203.0.113.10 --proto tcp", 3, "port: TCP and UDP want"),
        ("explain --from 192.0.2.1 --to 192.0.2.2 --proto icmp", 4, "name one with"),
        ("explain --from 10.1.1.11 --to 2001:db8::1 --proto icmp", 3, "two versions of IP"),
        ("explain --from 10.1.1.11 --to 203.0.113.10 --proto sctp", 2, "protocol"),
        ("explain --from 10.1.1.11 --to 203.0.113.10 --proto icmp --generation 77", 4, "77"),
        ("explain --from 10.1.1.11 --to 203.0.113.10 --proto icmp --link pub9", 3, "no link pub9"),
        ("explain --from 10.1.1.11 --to 203.0.113.10 --proto icmp --appliance r-9", 4, "r-9"),
    ] {
        refused(&cloud, line, code, words);
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_of_a_vpc_are_explained_by_their_lists() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("vpc.toml")));
    let config = config(&cloud, "r-1").await;
    let guest = |tier: &str| {
        let networks = config["role"]["router"]["networks"].as_array().unwrap();
        let network = networks.iter().find(|network| network["cidr"] == tier).unwrap();
        network["guests"][0]["address"].as_str().unwrap().to_owned()
    };
    let (web, app, db) = (guest("10.0.1.0/24"), guest("10.0.2.0/24"), guest("10.0.3.0/24"));
    let ask = |from: &str, to: &str, port: u16| {
        told(&cloud, &format!("explain --from {from} --to {to} --proto tcp --port {port}")).0
    };
    let text = ask(&web, &app, 8080);
    assert!(text.contains("[acl rule to-app]"), "{text}");
    assert!(text.contains("[acl rule from-web]") && text.contains("[acl list app]"), "{text}");
    let text = ask(&web, &db, 8080);
    assert!(text.contains("and none of them allows this"), "{text}");
    let text = ask(&app, &db, 8080);
    assert!(text.contains("no ingress rule of the list allows this"), "{text}");
    let text = ask(&db, "172.20.1.1", 80);
    assert!(text.contains("leaves by priv0 as"), "{text}");
    done(&cloud, "private-gateway update office --source-nat true");
    let text = ask(&db, "172.20.1.1", 80);
    let words = "(private-gateway/pg-1 [private gateway office])";
    assert!(text.contains("source becomes 172.16.0.2") && text.contains(words), "{text}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_nothing_are_remarked_upon_and_rules_may_end() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("rules.toml")));
    assert_eq!(told(&cloud, "appliance lint r-1").1, 0);
    let rule = "--public-ip services --protocol tcp";
    let line = format!("firewall-rule create narrow {rule} --ports 80 --sources 192.0.2.0/24");
    let (text, code) = told(&cloud, &line);
    assert_eq!(code, 0, "a warning refuses nothing: {text}");
    assert!(text.contains("[shadowed-rule]") && text.contains("fw-2"), "{text}");
    let (text, code) = told(&cloud, "appliance lint r-1");
    assert_eq!(code, 10);
    assert!(text.contains("fw-4 is firewall rule narrow"), "{text}");
    assert!(text.contains("fw-2 is firewall rule web"), "{text}");
    // what was said once is not said again with every change
    let (text, _) = told(&cloud, &format!("firewall-rule create more {rule} --ports 81"));
    assert!(!text.contains("shadowed-rule"), "{text}");
    done(&cloud, "firewall-rule delete narrow");

    let ending = format!("firewall-rule create ending {rule} --ports 82 --until");
    refused(
        &cloud,
        &format!("{ending} 2020-01-01T00:00:00Z"),
        3,
        "until: 2020-01-01T00:00:00Z is over",
    );
    refused(&cloud, &format!("{ending} tomorrow"), 2, "must be a time in UTC");
    done(&cloud, &format!("{ending} 2099-01-01T00:00:00Z"));
    let until = |config: &Value| {
        let rules = config["role"]["router"]["firewall"].as_array().unwrap().clone();
        let found = rules.into_iter().find(|rule| rule["traffic"]["tcp"]["ports"] == "82");
        found.unwrap()["until"].clone()
    };
    assert_eq!(until(&config(&cloud, "r-1").await), "2099-01-01T00:00:00Z");
    done(&cloud, "firewall-rule update ending --until never");
    assert_eq!(until(&config(&cloud, "r-1").await), Value::Null);
    cloud.stop();
}
