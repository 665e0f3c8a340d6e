//! Every kind compiles to the configuration that its appliance is to have, and the description that says it applies empty
//! the second time. What is refused names its field, and leaves everything as it was.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use sluice_api::ApplianceConfig;
use sluice_api::config::vpn::secret_of_blob;
use sluice_api::types::BlobDigest;
use sluice_tests::console::certificates::Authority;

use super::process::{Cloud, first_network};
use super::wait::until;

pub(crate) fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    path.to_str().unwrap().to_owned()
}

/// The configuration that an appliance is to have; nothing is wrong with it.
pub(crate) async fn config(cloud: &Cloud, appliance: &str) -> Value {
    let config = cloud.get(&format!("/v1/appliances/{appliance}/config")).await;
    <ApplianceConfig>::decode(config.to_string().as_bytes()).unwrap();
    config
}

/// Applies an example, finds nothing to do the second time, and says what the appliance is to have.
pub(crate) async fn applied(cloud: &Cloud, name: &str, appliance: &str) -> Value {
    let told = cloud.sluice(["apply", &example(name), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    let again = cloud.sluice(["apply", &example(name), "--yes", "--prune"]);
    assert_eq!((again.code, again.out.as_str()), (0, "nothing to do\n"), "{again:?}");
    let linted = cloud.sluice(["appliance", "lint", appliance]);
    assert_eq!((linted.code, linted.out.as_str()), (0, ""), "{linted:?}");
    config(cloud, appliance).await
}

/// Runs a command that is to be refused with this exit code and a message with these words.
pub(crate) fn refused(cloud: &Cloud, line: &str, code: i32, words: &str) {
    let told = cloud.sluice(line.split(' '));
    assert_eq!(told.code, code, "{line}: {told:?}");
    assert!(told.err.contains(words), "{line}: {told:?}");
}

pub(crate) fn done(cloud: &Cloud, line: &str) {
    let told = cloud.sluice(line.split(' '));
    assert_eq!(told.code, 0, "{line}: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_on_public_addresses_reach_the_router() {
    let cloud = Cloud::start().await;
    let config = applied(&cloud, "rules.toml", "r-1").await;
    let router = &config["role"]["router"];
    // addresses come as the pool gives them
    let services = router["port_forwards"][0]["public"].as_str().unwrap();
    let own = router["static_nat"][0]["public"].as_str().unwrap();
    let addresses: BTreeSet<&str> = router["public_addresses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|public| public["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses, BTreeSet::from([services, own]));
    assert_eq!(router["firewall"].as_array().unwrap().len(), 3);
    let ssh = &router["firewall"][0];
    assert_eq!(
        (&ssh["public"], &ssh["sources"], &ssh["traffic"]),
        (&json!(services), &json!(["203.0.113.0/24"]), &json!({ "tcp": { "ports": "2222" } }))
    );
    assert_eq!(router["firewall"][2]["traffic"], json!({ "icmp": { "type": 8 } }));
    assert_eq!(router["egress_rules"][0]["traffic"], json!({ "tcp": { "ports": "25" } }));
    assert_eq!(
        router["port_forwards"],
        json!([{ "id": "pf-1", "public": services, "protocol": "tcp", "ports": "2222",
                 "network": "n-1", "guest": "10.1.1.11", "guest_port": 22 }])
    );
    assert_eq!(
        router["static_nat"],
        json!([{ "id": "sn-1", "public": own, "network": "n-1", "guest": "10.1.1.12" }])
    );
    cloud.stop();
}

/// A further public range.
const PUBLIC: &str =
    "--zone zone1 --gateway 203.0.113.1 --prefix 24 --start 203.0.113.10 --end 203.0.113.19";

/// What an address, and the rules on it, cannot be asked: the command, its exit code, words of the reason.
const MISUSES: &[(&str, i32, &str)] = &[
    ("static-nat create one --public-ip web --guest vm2", 5, "is used for port forwards"),
    ("static-nat create one --public-ip ip-1 --guest vm2", 5, "is used for source NAT"),
    (
        "port-forward create two --public-ip web --protocol tcp --ports 90 --guest vm2",
        5,
        "80-90 is taken by port forward web",
    ),
    (
        "port-forward create two --public-ip web --protocol udp --ports 9 --guest vm9",
        4,
        "there is no guest behind this router called vm9",
    ),
    (
        "port-forward create two --public-ip web --protocol udp --ports 9-10 --guest vm1 --guest-port 65535",
        3,
        "beyond 65535",
    ),
    (
        "firewall-rule create one --public-ip web --protocol icmp --ports 80",
        3,
        "protocol icmp has no ports",
    ),
    (
        "firewall-rule create one --public-ip web --protocol icmp --icmp-code 0",
        3,
        "a code needs a type",
    ),
    ("firewall-rule create one --public-ip nothing --protocol all", 4, "no public ip nothing"),
    (
        "egress-rule create one --network net1 --protocol all --sources 10.9.0.0/16",
        3,
        "10.9.0.0/16",
    ),
    ("public-ip delete web", 5, "port forwards"),
    ("guest delete vm1", 5, "port forward web"),
    ("network update net1 --acl x", 3, "only a tier"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_address_serves_one_purpose_and_is_released_when_nothing_uses_it() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", first_network()));
    done(&cloud, "public-ip create web --network net1");
    done(
        &cloud,
        "port-forward create web --public-ip web --protocol tcp --ports 80-90 --guest vm1",
    );
    for (line, code, words) in MISUSES {
        refused(&cloud, line, *code, words);
    }
    let before = config(&cloud, "r-1").await;
    done(&cloud, "port-forward update web --guest vm2 --guest-port 8080");
    let after = config(&cloud, "r-1").await;
    let forward = |config: &Value| config["role"]["router"]["port_forwards"][0].clone();
    assert_ne!(forward(&before)["guest"], forward(&after)["guest"]);
    assert_eq!(forward(&after)["guest_port"], 8080);
    done(&cloud, "port-forward delete web");
    done(&cloud, "static-nat create one --public-ip web --guest vm1");
    done(&cloud, "static-nat delete one");
    done(&cloud, "public-ip delete web");
    let config = config(&cloud, "r-1").await;
    let links = config["links"].as_array().unwrap();
    let public = links.iter().find(|link| link["role"] == "public").unwrap();
    assert_eq!(public["addresses"].as_array().unwrap().len(), 1, "{public}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vpc_is_one_router_with_tiers_lists_and_a_way_to_the_office() {
    let cloud = Cloud::start().await;
    let config = applied(&cloud, "vpc.toml", "r-1").await;
    let router = &config["role"]["router"];
    let networks = router["networks"].as_array().unwrap();
    assert_eq!(networks.len(), 3);
    // tiers are in the order of their VLANs, which are as the pool gives them
    let tier = |number: usize| {
        let cidr = format!("10.0.{}.0/24", number + 1);
        networks.iter().find(|network| network["cidr"] == cidr).unwrap()
    };
    let acl = |number: usize| tier(number)["acl"].as_str().unwrap().to_owned();
    let source = &tier(0)["source_nat"]["address"];
    assert_eq!(source, &tier(2)["source_nat"]["address"], "one for all tiers");
    let vpc = &router["vpc"];
    assert_eq!(vpc["cidr"], "10.0.0.0/16");
    let list = |id: &str| {
        let lists = vpc["acls"].as_array().unwrap();
        lists.iter().find(|list| list["id"] == id).unwrap().clone()
    };
    let web = list(&acl(0));
    assert_eq!(web["rules"][0]["number"], 10);
    assert_eq!(web["rules"][1]["networks"], json!(["10.0.2.0/24"]));
    assert_eq!(web["rules"][1]["direction"], "egress");
    assert_eq!(list(&acl(1))["rules"][1]["action"], "deny");
    assert_eq!(list(&acl(2))["rules"], json!([]), "default-deny");
    let gateway = &vpc["private_gateways"][0];
    assert_eq!(list(gateway["acl"].as_str().unwrap())["rules"].as_array().unwrap().len(), 2);
    let links = config["links"].as_array().unwrap();
    let private = links.iter().find(|link| link["role"] == "private").unwrap();
    assert_eq!(private["attach"]["vlan"]["id"], 900);
    assert_eq!(private["addresses"], json!(["172.16.0.2/24"]));
    let routes = config["routes"].as_array().unwrap();
    let route = routes.iter().find(|route| route["destination"] == "172.20.0.0/16").unwrap();
    assert_eq!((&route["link"], &route["via"]), (&private["name"], &json!("172.16.0.1")));
    assert_eq!(router["port_forwards"][0]["network"], tier(0)["id"]);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of refusals")]
async fn what_a_vpc_cannot_have_is_refused_and_it_goes_whole() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("vpc.toml")));
    let tier = "network create t4 --zone zone1 --vpc vpc1 --domain t4.internal";
    for (line, code, words) in [
        (format!("{tier} --cidr 10.0.4.0/24"), 6, "max_tiers"),
        (format!("{tier} --cidr 10.1.4.0/24"), 3, "is not inside 10.0.0.0/16"),
        (format!("{tier} --cidr 10.0.4.0/24 --egress allow"), 3, "access control list"),
        ("vpc create v2 --zone zone1 --cidr 11.0.0.0/16".into(), 3, "RFC 1918"),
        ("vpc update vpc1 --max-tiers 2".into(), 3, "3 tiers already"),
        ("acl-list delete web".into(), 5, "is in use"),
        (
            "acl-rule create twice --acl-list web --number 10 --direction ingress --action deny --protocol all".into(),
            5,
            "10 is the number of rule http",
        ),
        (
            "static-route create everything --private-gateway office --cidr 0.0.0.0/0".into(),
            3,
            "public gateway",
        ),
        ("static-route create own --private-gateway office --cidr 10.0.0.0/24".into(), 3, "overlaps"),
        (
            "static-route create again --private-gateway office --cidr 172.20.1.0/24".into(),
            5,
            "of route branches",
        ),
        (
            "private-gateway create twice --vpc vpc1 --vlan 900 --address 172.16.0.2/24 --gateway 172.16.0.1".into(),
            5,
            "that of private gateway office",
        ),
        (
            "private-gateway create over --vpc vpc1 --vlan 902 --address 172.20.9.2/24 --gateway 172.20.9.1".into(),
            5,
            "overlaps 172.20.0.0/16 of route branches",
        ),
        (
            format!("public-range create public9 {PUBLIC} --vlan 900"),
            5,
            "VLAN 900 is that of private gateway office",
        ),
        (
            "physical-network update physnet1 --vlans 100-999".into(),
            3,
            "VLAN 900 is in guest VLANs 100-999",
        ),
        ("firewall-rule create one --public-ip www --protocol all".into(), 3, "access control lists"),
        ("vpc delete vpc1".into(), 5, "tier"),
    ] {
        refused(&cloud, &line, code, words);
    }
    done(&cloud, &format!("public-range create public9 {PUBLIC} --vlan 901"));
    let shared = "private-gateway create shared --vpc vpc1 --vlan 901 --address 172.17.0.2/24 --gateway 172.17.0.1";
    refused(&cloud, shared, 5, "VLAN 901 is that of public range public9");
    done(&cloud, "vpc update vpc1 --max-tiers 4");
    done(&cloud, &format!("{tier} --cidr 10.0.4.0/24 --acl default-allow"));
    done(&cloud, "network update t4 --acl default-deny");
    let text = std::fs::read_to_string(example("vpc.toml")).unwrap();
    let zone_alone = &text[..text.find("[[vpcs]]").unwrap()];
    let file = cloud.folder.path().join("empty.toml");
    std::fs::write(&file, zone_alone).unwrap();
    done(&cloud, &format!("apply {} --yes --prune", file.to_str().unwrap()));
    for kind in ["vpcs", "acl-lists", "acl-rules", "networks", "public-ips", "appliances"] {
        assert_eq!(cloud.get(&format!("/v1/{kind}")).await, json!([]), "{kind}");
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn balancers_and_tunnels_reach_the_router() {
    let cloud = Cloud::start().await;
    let router = applied(&cloud, "rules.toml", "r-1").await["role"]["router"].clone();
    let balancer = &router["balancers"][0];
    assert_eq!((&balancer["port"], &balancer["mode"]), (&json!(80), &json!("http")));
    assert_eq!(balancer["algorithm"], "least-connections");
    let members = balancer["members"].as_array().unwrap();
    let places: Vec<_> =
        members.iter().map(|m| (&m["address"], &m["port"], &m["weight"])).collect();
    assert_eq!(places[0], (&json!("10.1.1.11"), &json!(8080), &json!(1)));
    assert_eq!(places[1], (&json!("10.1.1.12"), &json!(8080), &json!(2)));
    done(&cloud, "balancer-member update vm2 --drain true");
    let vpn = &router["vpn"];
    let access = &vpn["remote_access"][0];
    assert_eq!(access["networks"], json!(["n-1"]));
    assert_eq!(access["users"][0]["name"], "anna");
    let connection = &vpn["connections"][0];
    assert_eq!(connection["local_networks"], json!(["10.1.1.0/24"]));
    assert_eq!(connection["gateway"]["networks"], json!(["10.77.0.0/16"]));
    done(&cloud, "vpn-connection reset branch");
    done(&cloud, "vpn-user disconnect anna");
    assert_eq!(vpn["allow_obsolete"], false, "not unless it is asked for");
    done(&cloud, "remote-access update staff --allow-obsolete true");
    let router = config(&cloud, "r-1").await["role"]["router"].clone();
    assert_eq!(router["balancers"][0]["members"][1]["drain"], true);
    assert_eq!(router["vpn"]["connections"][0]["resets"], 1);
    assert_eq!(router["vpn"]["remote_access"][0]["users"][0]["disconnects"], 1);
    assert_eq!(router["vpn"]["allow_obsolete"], true);
    for (line, code, words) in [
        (
            "remote-access create two --public-ip vpn --range 10.8.8.1-10.8.8.9",
            5,
            "has remote access staff",
        ),
        (
            "vpn-connection create two --public-ip vpn --customer-gateway branch",
            5,
            "has connection branch",
        ),
        ("balancer create two --public-ip own --port 8", 5, "is used for static NAT"),
        ("balancer create two --public-ip services --port 2222", 3, "2222"),
        ("public-ip delete vpn", 5, "in use"),
    ] {
        refused(&cloud, line, code, words);
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_user_data_are_pushed_beside_the_configuration() {
    let cloud = Cloud::start().await;
    let told = cloud.sluice(["apply", &example("rules.toml"), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(!told.out.contains("of the example"), "no secret is told: {told:?}");
    let agent = cloud.boot("r-1").await;
    let waited = cloud.sluice(["status", "--wait", "30"]);
    assert_eq!(waited.code, 0, "{waited:?}\n{}", cloud.log());
    let config = config(&cloud, "r-1").await;
    assert!(!config.to_string().contains("of the example"), "secrets are never inside");
    let router = &config["role"]["router"];
    let blob = |digest: &Value| {
        let digest: BlobDigest = digest.as_str().unwrap().parse().unwrap();
        agent.blob(&digest).unwrap_or_else(|| panic!("{digest} was not sent"))
    };
    let guest = &router["networks"][0]["guests"][0];
    assert_eq!(blob(&guest["metadata"]["user_data"]), b"#cloud-config\npackages: [nginx]\n");
    assert_eq!(guest["metadata"]["public_keys"].as_array().unwrap().len(), 1);
    let access = &router["vpn"]["remote_access"][0];
    let psk = blob(&access["psk"]);
    assert_eq!(secret_of_blob(&psk), Some("a pre-shared key of the example"));
    let password = blob(&access["users"][0]["password"]);
    assert_eq!(secret_of_blob(&password), Some("a password of the example"));

    let file = cloud.folder.path().join("password");
    std::fs::write(&file, "hunter2 and more\n").unwrap();
    let file = file.to_str().unwrap();
    done(&cloud, &format!("--wait 30 guest update vm1 --password-file {file}"));
    let config = self::config(&cloud, "r-1").await;
    let guest = &config["role"]["router"]["networks"][0]["guests"][0];
    let given = blob(&guest["metadata"]["password"]["blob"]);
    assert_eq!(secret_of_blob(&given), Some("hunter2 and more"));
    until("generation 2", || agent.committed() == Some(2)).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_storage_vm_gets_stores_jobs_and_grants() {
    let cloud = Cloud::start().await;
    let config = applied(&cloud, "storage.toml", "s-1").await;
    let ssvm = &config["role"]["ssvm"];
    assert_eq!(ssvm["stores"][0]["kind"]["nfs"]["server"], "10.4.0.10");
    assert_eq!(ssvm["fetch"]["allowed"], json!(["10.8.0.0/16"]));
    assert_eq!(ssvm["fetch"]["refused"], json!(["169.254.0.0/20", "10.4.0.0/24"]));
    let import = |at: usize| ssvm["jobs"][at]["what"]["import"].clone();
    assert_eq!(import(0)["source"], json!({ "url": "https://images.example.com/debian-13.qcow2" }));
    assert_eq!(import(0)["place"]["template"]["name"], "debian-13");
    assert_eq!(
        (&import(1)["source"], &import(1)["place"]["volume"]["account"]),
        (&json!("upload"), &json!(2))
    );
    let token = BlobDigest::of(b"a token of the example").to_string();
    assert_eq!(ssvm["grants"][0]["token"], token);
    assert_eq!(ssvm["grants"][0]["permission"]["upload"]["job"], ssvm["jobs"][1]["id"]);
    let links = config["links"].as_array().unwrap();
    assert!(links.iter().any(|link| link["role"] == "storage"), "{links:?}");
    assert!(ssvm["listeners"].as_array().unwrap().is_empty(), "nobody without a certificate");

    let pem = cloud.folder.path().join("pem");
    std::fs::write(&pem, self::pem()).unwrap();
    done(
        &cloud,
        &format!("appliance update storage1 --certificate-file {}", pem.to_str().unwrap()),
    );
    let config = self::config(&cloud, "s-1").await;
    assert!(config["role"]["ssvm"]["listeners"][0]["tls"].is_string(), "{config}");
    for (line, code, words) in [
        (
            "image-grant create two --image debian-13 --permission upload",
            3,
            "does not wait for an upload",
        ),
        ("image-grant create two --image own --permission upload", 3, "token"),
        ("image-store create two --zone zone1 --server 10.4.0.10", 3, "path"),
        ("image-store delete nfs1", 5, "image"),
        ("appliance delete storage1", 5, "in use"),
    ] {
        refused(&cloud, line, code, words);
    }
    cloud.stop();
}

/// A certificate chain and its key.
pub(crate) fn pem() -> String {
    let signed = Authority::new().server("console.example.org");
    format!("{}{}", signed.chain, signed.key)
}
