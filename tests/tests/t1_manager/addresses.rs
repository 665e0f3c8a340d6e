//! What public addresses and VPCs may be used for: sharing, exclusiveness, no source NAT, routes by gateways, and limits.

use serde_json::{Value, json};

use super::kinds::{config, done, example, refused};
use super::process::{Cloud, first_network};

/// The id of the only address that does source NAT.
async fn source_nat(cloud: &Cloud) -> String {
    let all = cloud.get("/v1/public-ips").await;
    let mut own = all.as_array().unwrap().iter().filter(|ip| ip["purpose"] == "source-nat");
    let id = own.next().unwrap()["id"].as_str().unwrap().to_owned();
    assert!(own.next().is_none(), "{all}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_carries_services_of_every_tier_unless_addresses_are_exclusive() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("vpc.toml")));
    let own = source_nat(&cloud).await;
    let forward = |name: &str, ip: &str, ports: u16, guest: &str| {
        format!(
            "port-forward create {name} --public-ip {ip} --protocol tcp --ports {ports} --guest {guest}"
        )
    };
    done(&cloud, &forward("ssh", &own, 22, "web1"));
    done(&cloud, &forward("http", &own, 80, "app1"));
    done(&cloud, &format!("balancer create shop --public-ip {own} --port 443"));
    done(&cloud, "balancer-member create one --balancer shop --guest db1");
    refused(
        &cloud,
        &format!("static-nat create x --public-ip {own} --guest web1"),
        5,
        "is used for source NAT",
    );
    let router = config(&cloud, "r-1").await["role"]["router"].clone();
    let shared = router["networks"][0]["source_nat"]["address"].clone();
    let forwards = router["port_forwards"].as_array().unwrap();
    let at = |port: &str| {
        let of = |forward: &&Value| forward["ports"] == port && forward["public"] == shared;
        forwards.iter().find(of).unwrap()["network"].clone()
    };
    assert_ne!(at("22"), at("80"), "two tiers behind one address");
    assert_eq!(router["balancers"][0]["address"], shared);

    done(&cloud, "zone update zone1 --exclusive-addresses true");
    let words = "and addresses of zone zone1 serve one purpose and one network";
    refused(&cloud, &forward("x", &own, 23, "web1"), 5, "is used for source NAT, and");
    done(&cloud, "public-ip create one --vpc vpc1");
    done(&cloud, &forward("one-22", "one", 22, "web1"));
    done(&cloud, &forward("one-23", "one", 23, "web1"));
    refused(&cloud, &forward("x", "one", 24, "app1"), 5, "port forwards to another network, and");
    let moved = "port-forward update one-22 --guest app1";
    refused(&cloud, moved, 5, "port forwards to another network, and");
    refused(&cloud, "balancer create x --public-ip one --port 80", 5, words);
    // the only one may move
    done(&cloud, "port-forward delete one-23");
    done(&cloud, moved);
    done(&cloud, "public-ip create two --vpc vpc1");
    done(&cloud, "balancer create two --public-ip two --port 80");
    refused(&cloud, &forward("x", "two", 81, "web1"), 5, "is used for load balancers, and");
    // what was there before stays as it was
    config(&cloud, "r-1").await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_has_as_many_vpcs_as_it_allows() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("vpc.toml")));
    assert_eq!(cloud.get("/v1/zones").await[0]["max_vpcs"], 20, "the guide's default");
    done(&cloud, "zone update zone1 --max-vpcs 1");
    let second = "vpc create v2 --zone zone1 --cidr 10.9.0.0/16";
    refused(&cloud, second, 6, "the 1 VPCs of zone zone1 (max_vpcs)");
    done(&cloud, "zone update zone1 --max-vpcs 2");
    done(&cloud, second);
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_source_nat_spends_no_address() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", first_network()));
    let create = "network create net2 --zone zone1 --domain net2.internal --cidr 10.5.5.0/24 --egress allow --no-source-nat true";
    refused(&cloud, &format!("{create} --source-nat 198.51.100.50"), 3, "no source-NAT address");
    let before = cloud.get("/v1/public-ips").await;
    done(&cloud, create);
    assert_eq!(cloud.get("/v1/public-ips").await, before, "an address was spent");
    done(&cloud, "guest create inside --network net2");
    done(&cloud, "guest create seen --network net2");
    config(&cloud, "r-2").await;
    done(&cloud, "public-ip create own --network net2");
    done(&cloud, "static-nat create own --public-ip own --guest seen");
    let config = config(&cloud, "r-2").await;
    let network = &config["role"]["router"]["networks"][0];
    assert_eq!(network["source_nat"], Value::Null);
    assert_eq!(config["role"]["router"]["static_nat"].as_array().unwrap().len(), 1);
    let routes = config["routes"].as_array().unwrap();
    assert!(routes.iter().any(|route| route["destination"] == "0.0.0.0/0"), "{routes:?}");
    let address = |name: &str| {
        let guests = network["guests"].as_array().unwrap();
        let guest = guests.iter().find(|guest| guest["hostname"] == name).unwrap();
        guest["address"].as_str().unwrap().to_owned()
    };
    let ask = |name: &str| {
        let line =
            format!("explain --from {} --to 203.0.113.9 --proto tcp --port 80", address(name));
        cloud.sluice(line.split(' ')).out
    };
    assert!(ask("inside").contains("one without source NAT"), "{}", ask("inside"));
    assert!(ask("seen").contains("[static nat own]"), "{}", ask("seen"));
    // a description says the same
    let file = cloud.folder.path().join("export.toml");
    let told = cloud.sluice(["export"]);
    std::fs::write(&file, &told.out).unwrap();
    let again = cloud.sluice(["apply", file.to_str().unwrap(), "--yes", "--prune"]);
    assert_eq!((again.code, again.out.as_str()), (0, "nothing to do\n"), "{again:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_by_a_gateway_or_by_a_host_beside_it() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("vpc.toml")));
    let route = |name: &str, cidr: &str| {
        format!("static-route create {name} --private-gateway office --cidr {cidr}")
    };
    done(&cloud, &format!("{} --next-hop 172.16.0.1", route("a", "172.30.0.0/16")));
    refused(&cloud, &route("x", "172.30.0.0/16"), 5, "of route a");
    done(&cloud, &format!("{} --next-hop 172.16.0.9", route("b", "172.31.0.0/16")));
    for (hop, words) in [
        ("10.99.0.1", "10.99.0.1 is not another host address of 172.16.0.0/24"),
        ("172.16.0.2", "172.16.0.2 is not another host address of 172.16.0.0/24"),
        ("172.16.0.255", "172.16.0.255 is not another host address"),
        ("198.51.100.1", "198.51.100.1 is not another host address"),
    ] {
        refused(&cloud, &format!("{} --next-hop {hop}", route("x", "172.29.0.0/16")), 3, words);
    }
    let routes = config(&cloud, "r-1").await["routes"].clone();
    let via = |cidr: &str| {
        let found = routes.as_array().unwrap().iter().find(|route| route["destination"] == cidr);
        found.unwrap()["via"].clone()
    };
    assert_eq!(
        (via("172.30.0.0/16"), via("172.31.0.0/16")),
        (json!("172.16.0.1"), json!("172.16.0.9"))
    );
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_a_router_is_legal() {
    let cloud = Cloud::start().await;
    done(&cloud, &format!("apply {} --yes", example("first-network.toml")));
    let alone =
        "network create alone --zone zone1 --domain alone.internal --egress deny --router none";
    done(&cloud, alone);
    done(&cloud, "guest create vm9 --network alone");
    let network = cloud.get("/v1/networks/alone").await;
    assert_eq!(network["router"], Value::Null, "{network}");
    assert_eq!(cloud.get("/v1/appliances").await.as_array().unwrap().len(), 1, "that of net1");
    done(&cloud, "guest delete vm9");
    done(&cloud, "network delete alone");
    cloud.stop();
}

/// V7: whatever comes first, each address is on a link of its own, and the configuration has nothing wrong with it.
#[tokio::test(flavor = "multi_thread")]
async fn many_tiers_gateways_and_ranges_come_in_any_order() {
    let mut steps: Vec<Vec<String>> = (4..=15)
        .map(|n| vec![format!("network create t{n} --zone zone1 --vpc vpc1 --domain t{n}.internal --cidr 10.0.{n}.0/24")])
        .collect();
    steps.push(vec![
        "private-gateway create branch --vpc vpc1 --vlan 901 --address 172.17.0.2/24 --gateway 172.17.0.1".to_owned(),
        "static-route create far --private-gateway branch --cidr 172.27.0.0/16".to_owned(),
    ]);
    steps.push(vec![
        "public-range create public2 --zone zone1 --physical-network physnet1 --vlan 300 --gateway 203.0.113.1 --prefix 24 --start 203.0.113.10 --end 203.0.113.19".to_owned(),
        "public-ip create second --vpc vpc1 --public-range public2".to_owned(),
    ]);
    let mut seen = Vec::new();
    for turn in [0, 5] {
        let cloud = Cloud::start().await;
        done(&cloud, &format!("apply {} --yes", example("vpc.toml")));
        done(&cloud, "vpc update vpc1 --max-tiers 30");
        steps.rotate_left(turn);
        if turn > 0 {
            steps.reverse();
        }
        for line in steps.iter().flatten() {
            done(&cloud, line);
        }
        let config = config(&cloud, "r-1").await;
        let links = config["links"].as_array().unwrap();
        let mut addresses: Vec<String> =
            links.iter().map(|link| format!("{} {}", link["role"], link["addresses"])).collect();
        addresses.sort();
        assert_eq!(links.iter().filter(|link| link["role"] == "guest").count(), 15);
        assert_eq!(links.iter().filter(|link| link["role"] == "private").count(), 2);
        assert_eq!(links.iter().filter(|link| link["role"] == "public").count(), 2);
        seen.push(addresses);
        cloud.stop();
    }
    assert_eq!(seen[0], seen[1]);
}
