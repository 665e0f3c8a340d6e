//! Load balancing as the manager has it: every field reaches the router, what is left out of a change stays, and what
//! cannot be is refused by name before any router hears of it.

use serde_json::{Value, json};
use sluice_tests::cloud::web::Certificate;

use super::kinds::{applied, config, done, refused};
use super::process::Cloud;
use super::wait::until;

async fn balancer(cloud: &Cloud, number: usize) -> Value {
    config(cloud, "r-1").await["role"]["router"]["balancers"][number].clone()
}

/// A file with this text.
fn file(cloud: &Cloud, name: &str, text: &str) -> String {
    let file = cloud.folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_of_a_change_stays() {
    let cloud = Cloud::start().await;
    let router = applied(&cloud, "lb.toml", "r-1").await["role"]["router"].clone();
    let www = &router["balancers"][0];
    assert_eq!(www["timeouts"]["idle_seconds"], 60);
    assert_eq!(www["timeouts"]["keep_alive_seconds"], 20);
    assert_eq!(www["stickiness"]["lb-cookie"]["indirect"], true);
    assert_eq!(router["balancers"][1]["timeouts"]["drain_seconds"], 60);
    done(&cloud, "balancer update www --health {\"port\":8081} --connect-seconds 3");
    done(
        &cloud,
        "balancer update www --health {\"rise\":4} --algorithm source --private-port 8081",
    );
    done(&cloud, "balancer-member update lm-1 --weight 7");
    done(&cloud, "balancer-member update lm-1 --drain true");
    done(&cloud, "balancer-member update lm-2 --backup true");
    done(&cloud, "balancer-member update lm-2 --weight 3");
    let www = balancer(&cloud, 0).await;
    let health = &www["health"];
    assert_eq!(
        (&health["port"], &health["rise"], &health["fall"]),
        (&json!(8081), &json!(4), &json!(2))
    );
    assert_eq!(health["check"]["http"]["path"], "/healthz");
    assert_eq!(
        (&www["timeouts"]["connect_seconds"], &www["algorithm"]),
        (&json!(3), &json!("source"))
    );
    let first = &www["members"][0];
    assert_eq!(
        (&first["weight"], &first["drain"], &first["port"]),
        (&json!(7), &json!(true), &json!(8081))
    );
    let second = &www["members"][1];
    assert_eq!((&second["weight"], &second["backup"]), (&json!(3), &json!(true)));

    // what is usual again
    done(&cloud, "balancer update www --unset private-port,idle-seconds");
    let www = balancer(&cloud, 0).await;
    assert_eq!(www["members"][0]["port"], www["port"]);
    assert_ne!(www["timeouts"]["idle_seconds"], 60);

    // from a cookie to none, to an address, with a header for members, in place
    done(&cloud, "balancer update www --stickiness none --mode tcp --proxy-protocol v2");
    let www = balancer(&cloud, 0).await;
    assert_eq!(
        (&www["stickiness"], &www["proxy_protocol"], &www["mode"]),
        (&Value::Null, &json!("v2"), &json!("tcp"))
    );
    done(
        &cloud,
        "balancer update www --stickiness {\"source-based\":{\"expire_seconds\":60}} --proxy-protocol none",
    );
    let www = balancer(&cloud, 0).await;
    assert_eq!(www["stickiness"]["source-based"]["expire_seconds"], 60);
    assert_eq!(www["proxy_protocol"], Value::Null);
    refused(
        &cloud,
        "balancer update www --stickiness {\"lb-cookie\":{\"name\":\"SRV\"}}",
        3,
        "balancer www: cookies are seen in HTTP only",
    );
    assert_eq!(balancer(&cloud, 0).await, www, "a refusal changes nothing");
    cloud.stop();
}

/// Guide 11.9 and 11.15: what a policy leaves out, and what it may not say.
#[tokio::test(flavor = "multi_thread")]
async fn policies_of_stickiness_have_the_guides_defaults_and_bounds() {
    let cloud = Cloud::start().await;
    applied(&cloud, "lb.toml", "r-1").await;
    for (said, meant) in [
        (
            json!({ "lb-cookie": { "name": "SRV" } }),
            json!({ "name": "SRV", "mode": "insert", "indirect": false, "nocache": false, "postonly": false, "domains": [] }),
        ),
        (
            json!({ "app-cookie": { "name": "SID" } }),
            json!({ "name": "SID", "length": 52, "hold_seconds": 10800, "request_learn": false, "prefix": false,
                    "mode": "path-parameters" }),
        ),
        (json!({ "source-based": {} }), json!({ "table_size": 204_800, "expire_seconds": 1800 })),
    ] {
        done(&cloud, &format!("balancer update www --stickiness {said}"));
        let kind = said.as_object().unwrap().keys().next().unwrap();
        assert_eq!(balancer(&cloud, 0).await["stickiness"][kind], meant, "{said}");
    }
    // RFC 6265 5.2.3: a dot before the domain says nothing
    done(
        &cloud,
        r#"balancer update www --stickiness {"lb-cookie":{"name":"SRV","domains":[".shop.example"]}}"#,
    );
    let cookie = balancer(&cloud, 0).await["stickiness"]["lb-cookie"].clone();
    assert_eq!(cookie["domains"], json!(["shop.example"]));
    let before = balancer(&cloud, 0).await;
    for (said, words) in [
        (json!({ "lb-cookie": { "name": "S", "domains": ["..a"] } }), "a label must have"),
        (json!({ "lb-cookie": {} }), "name"),
        (json!({ "lb-cookie": { "name": "a b" } }), "must be a token"),
        (
            json!({ "lb-cookie": { "name": "S", "mode": "rewrite", "indirect": true } }),
            "goes with the mode insert",
        ),
        (json!({ "app-cookie": { "name": "S", "length": 0 } }), "must be 1 to 512"),
        (json!({ "app-cookie": { "name": "S", "hold_seconds": 0 } }), "must be 1 to 2592000"),
        (json!({ "source-based": { "table_size": 0 } }), "must be 1 to 1048576"),
        (json!({ "source-based": { "size": 9 } }), "size"),
    ] {
        let told = cloud.sluice(format!("balancer update www --stickiness {said}").splitn(5, ' '));
        assert_ne!(told.code, 0, "{said}: {told:?}");
        assert!(told.err.contains(words), "{said}: {told:?}");
    }
    assert_eq!(balancer(&cloud, 0).await, before, "a refusal changes nothing");
    cloud.stop();
}

/// A guest of another network is refused by name, alone or in a description, and what was refused is not in the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_outside_the_network_is_refused_by_name() {
    let cloud = Cloud::start().await;
    applied(&cloud, "lb.toml", "r-1").await;
    let before = balancer(&cloud, 0).await;
    let example = std::fs::read_to_string(super::kinds::example("lb.toml")).unwrap();
    let guest = |network: &str, name: &str| {
        format!("[[guests]]\nnetwork = \"{network}\"\nname = \"{name}\"\n\n")
    };
    let member = |name: &str, guest: &str| {
        format!(
            "[[balancer_members]]\nbalancer = \"www\"\nname = \"{name}\"\nguest = \"{guest}\"\n\n"
        )
    };
    let network = "\n[[networks]]\nzone = \"zone1\"\nname = \"net2\"\ndomain = \"net2.internal\"\n\
                   cidr = \"10.5.5.0/24\"\negress = \"allow\"\nno_source_nat = true\n\n";
    let guests = guest("net2", "far") + &guest("net1", "near") + &guest("net1", "nearer");
    let with = |fifth: &str| {
        example.clone() + network + &guests + &member("fourth", "near") + &member("fifth", fifth)
    };
    let bad = cloud.sluice(["apply", &file(&cloud, "bad.toml", &with("far")), "--yes"]);
    assert_ne!(bad.code, 0, "{bad:?}");
    assert!(
        bad.err.contains("member fifth: there is no guest behind this router called far"),
        "{bad:?}"
    );
    assert!(!bad.err.contains("fourth"), "the other is fine: {bad:?}");
    assert_eq!(balancer(&cloud, 0).await, before, "nobody was pushed anything");
    let good = cloud.sluice(["apply", &file(&cloud, "good.toml", &with("nearer")), "--yes"]);
    assert_eq!(good.code, 0, "{good:?}");
    assert_eq!(balancer(&cloud, 0).await["members"].as_array().unwrap().len(), 5);
    let alone = cloud.sluice("balancer-member create sixth --balancer www --guest far".split(' '));
    assert!(alone.code != 0 && alone.err.contains("called far"), "{alone:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_looked_at_swapped_and_taken_away() {
    let cloud = Cloud::start().await;
    applied(&cloud, "lb.toml", "r-1").await;
    let (one, two) =
        (Certificate::of("one.example").unwrap(), Certificate::of("two.example").unwrap());
    let one_at = file(&cloud, "one.pem", &one.with_key);
    let two_at = file(&cloud, "two.pem", &two.with_key);
    done(
        &cloud,
        &format!("balancer update secure --certificates-file {one_at},{two_at} --tls-minimum 1.3"),
    );
    let tls = balancer(&cloud, 1).await["tls"].clone();
    assert_eq!(tls["certificates"].as_array().unwrap().len(), 2);
    assert_eq!((&tls["minimum"], &tls["http2"]), (&json!("1.3"), &json!(true)));
    let shown = cloud.get("/v1/balancers/secure").await.to_string();
    assert!(!shown.contains("PRIVATE"), "keys are not shown: {shown}");

    done(&cloud, &format!("balancer update secure --certificates-file {two_at}"));
    let swapped = balancer(&cloud, 1).await["tls"]["certificates"].clone();
    assert_eq!(swapped, json!([tls["certificates"][1]]));
    let key_of = |certificate: &Certificate| certificate.with_key.replace(&certificate.proof, "");
    for (text, words) in [
        (one.proof.clone(), "no private key"),
        (key_of(&one), "no certificate"),
        (format!("{}{}", one.proof, key_of(&two)), "cannot be used"),
    ] {
        let bad = file(&cloud, "bad.pem", &text);
        let line = format!("balancer update secure --certificates-file {one_at},{bad}");
        refused(&cloud, &line, 3, "certificate 2");
        refused(&cloud, &line, 3, words);
    }
    // a description with the certificate in it applies empty the second time
    let example = std::fs::read_to_string(super::kinds::example("lb.toml")).unwrap();
    let quoted = format!("certificates = [\"\"\"\n{}\"\"\"]\ndrain_seconds = 60\n", one.with_key);
    let text = example.replacen("drain_seconds = 60\n", &quoted, 1);
    let description = file(&cloud, "with-certificate.toml", &text);
    let told = cloud.sluice(["apply", &description, "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.out.contains("certificates: another") && !told.out.contains("PRIVATE"),
        "{told:?}"
    );
    let again = cloud.sluice(["apply", &description, "--yes"]);
    assert_eq!(again.out, "nothing to do\n", "{again:?}");
    let without =
        example.replacen("drain_seconds = 60\n", "certificates = []\ndrain_seconds = 60\n", 1);
    let told = cloud.sluice(["apply", &file(&cloud, "without.toml", &without), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(balancer(&cloud, 1).await["tls"], Value::Null);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_inside_a_network_share_its_addresses() {
    let cloud = Cloud::start().await;
    applied(&cloud, "lb.toml", "r-1").await;
    let addresses = |config: &Value| {
        let links = config["links"].as_array().unwrap();
        let guest = links.iter().find(|link| link["role"] == "guest").unwrap();
        guest["addresses"].clone()
    };
    let both = json!(["10.1.1.1/24", "10.1.1.200/24"]);
    let now = config(&cloud, "r-1").await;
    assert_eq!(addresses(&now), both);
    assert_eq!(now["role"]["router"]["balancers"][2]["address"], "10.1.1.200");
    for (line, code, words) in [
        ("balancer create x --port 9", 3, "public_ip or network"),
        ("balancer create x --port 9 --public-ip www --network net1", 3, "not both"),
        ("balancer create x --port 9 --network net1 --address 10.1.1.1", 3, "gateway"),
        ("balancer create x --port 9 --network net1 --address 10.1.2.1", 3, "no host address"),
        ("balancer create x --port 9 --network net1 --address 10.1.1.11", 5, "is taken"),
        (
            "balancer create x --port 80 --network net1 --address 10.1.1.200",
            3,
            "balancer x: port 80 of 10.1.1.200 is already balanced by lb-3",
        ),
        ("guest create x --network net1 --address 10.1.1.200", 5, "is taken"),
        (
            "balancer create x --port 9 --network net1 --mode udp --algorithm least-connections",
            3,
            "algorithm: the kernel that balances UDP counts no connections",
        ),
        (
            r#"balancer create x --port 9 --network net1 --health {"check":{"http":{"status_from":400}}}"#,
            3,
            "health: no answer is good: status_from 400 is above status_to 399",
        ),
        (
            r#"balancer update www --health {"check":{"http":{"status_to":199}}}"#,
            3,
            "status_from 200 is above status_to 199",
        ),
        ("network delete net1", 5, "in use"),
    ] {
        refused(&cloud, line, code, words);
    }
    done(&cloud, "balancer create more --port 81 --network net1 --address 10.1.1.200 --mode udp");
    done(&cloud, "balancer create any --port 82 --network net1");
    let listed = cloud.get("/v1/balancers").await;
    let any = listed[4]["address"].as_str().unwrap().to_owned();
    assert_ne!(any, "10.1.1.200");
    // the address outlives the rule that had it first
    for member in ["lm-7", "lm-8"] {
        done(&cloud, &format!("balancer-member delete {member}"));
    }
    done(&cloud, "balancer delete inside");
    assert_eq!(addresses(&config(&cloud, "r-1").await).as_array().unwrap().len(), 3);
    refused(&cloud, "guest create x --network net1 --address 10.1.1.200", 5, "is taken");
    done(&cloud, "balancer delete more");
    done(&cloud, "balancer delete any");
    assert_eq!(addresses(&config(&cloud, "r-1").await), json!(["10.1.1.1/24"]));
    done(&cloud, "guest create x --network net1 --address 10.1.1.200");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vpc_balances_in_as_many_tiers_as_it_allows() {
    let cloud = Cloud::start().await;
    applied(&cloud, "vpc.toml", "r-1").await;
    done(&cloud, "balancer create shop --public-ip www --port 8080");
    done(&cloud, "balancer create inner --network app --port 9000");
    done(&cloud, "balancer-member create one --balancer shop --guest web1");
    let second = "balancer-member create two --balancer inner --guest app1";
    refused(&cloud, second, 5, "balances load in web already");
    done(&cloud, "vpc update vpc1 --max-balanced-tiers 2");
    done(&cloud, second);
    refused(&cloud, "vpc update vpc1 --max-balanced-tiers 1", 3, "2 tiers with members");
    // the address is the VPC's: one rule has members of both tiers
    done(&cloud, "balancer-member create three --balancer shop --guest app1");
    let router = config(&cloud, "r-1").await["role"]["router"].clone();
    let addresses = |rule: usize| -> Vec<Value> {
        let members = router["balancers"][rule]["members"].as_array().unwrap();
        members.iter().map(|member| member["address"].clone()).collect()
    };
    let (shop, inner) = (addresses(0), addresses(1));
    assert_eq!((shop.len(), inner.len()), (2, 1), "{router:#}");
    assert!(shop.contains(&inner[0]) && shop[0] != shop[1], "{shop:?} and {inner:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn live_state_is_told_with_the_effective_set() {
    let cloud = Cloud::start().await;
    applied(&cloud, "lb.toml", "r-1").await;
    done(&cloud, "balancer update www --sources 203.0.113.0/24,192.0.2.0/24");
    let agent = cloud.boot("r-1").await;
    until("a generation", || agent.committed().is_some()).await;
    let told = cloud.sluice(["balancer", "state", "www"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("members 3, not in force yet"), "{told:?}");
    agent.set_report("lb", json!({ "rules": [{
        "id": "lb-1", "address": "198.51.100.21:80", "mode": "http", "limit": 4096,
        "members_configured": 3, "members_healthy": 2,
        "counts": { "sessions": 12, "bytes_out": 4711, "current": 1, "session_rate": [3, 9] },
        "members": [
            { "id": "lm-1", "address": "10.1.1.11:8080", "up": true, "weight": 1, "counts": { "sessions": 12 } },
            { "id": "lm-2", "address": "10.1.1.12:8080", "up": false, "weight": 1,
              "health": { "checks": 9, "failures": 3, "trouble": "Connection refused (os error 111)" } },
            { "id": "lm-3", "address": "10.1.1.13:8080", "up": true, "weight": 1, "drain": true },
        ] }] }));
    let told = cloud.sluice(["balancer", "state", "www"]);
    for words in [
        "members 3, healthy 2",
        "www/web2",
        "DOWN",
        "Connection refused",
        "DRAIN",
        "192.0.2.0/24 203.0.113.0/24",
    ] {
        assert!(told.out.contains(words), "{words} in {}", told.out);
    }
    let rows = cloud.get("/v1/balancers/www/state").await;
    assert_eq!((&rows[0]["sessions"], &rows[1]["state"]), (&json!(12), &json!("UP")), "{rows:#}");
    let all = cloud.sluice(["balancer", "state"]);
    assert!(all.out.contains("secure/web3") && all.out.contains("everybody"), "{all:?}");
    assert!(all.out.contains("10.1.1.0/24"), "an inside rule is for its network: {all:?}");
    done(&cloud, "firewall-rule update https --sources 192.0.2.0/25");
    let rows = cloud.get("/v1/balancers/secure/state").await;
    assert_eq!(rows[0]["lets_in"], "192.0.2.0/25");
    let csv = cloud.sluice(["appliance", "report", "r-1", "lb", "--csv"]);
    assert_eq!(csv.code, 0, "{csv:?}");
    let lines: Vec<&str> = csv.out.lines().collect();
    assert!(
        lines[0].starts_with("# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout"),
        "{csv:?}"
    );
    assert_eq!(lines.len(), 6, "{csv:?}");
    assert!(lines[1].starts_with("lb-1,FRONTEND,,,1,"), "{csv:?}");
    let at = cloud.manager.address;
    let url = format!("http://{at}/v1/appliances/r-1/reports/lb/page");
    // nobody sees it who has no token, and no password opens it
    for (user, password) in [("admin1", Some("AdMiN123")), ("admin", Some("admin")), ("", None)] {
        let asked = cloud.http().get(&url).basic_auth(user, password).send().await.unwrap();
        assert_eq!(asked.status(), 401, "{user}");
    }
    assert_eq!(cloud.http().get(&url).send().await.unwrap().status(), 401);
    let page = cloud.http().get(&url).bearer_auth(sluice_tests::manager::TOKEN);
    let page = page.send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = page.text().await.unwrap();
    assert!(page.contains("Load balancing of r-1") && page.contains("class=\"down\""), "{page}");
    cloud.stop();
}
