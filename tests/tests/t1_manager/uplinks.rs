//! Routers with several uplinks: how they are watched, from the description to the configuration, and what is shown of them.

use serde_json::json;

use super::kinds::{config, done, refused};
use super::process::{Cloud, first_network};

/// The first network's router gets an address of another range, which is another uplink.
fn second_uplink(cloud: &Cloud) {
    let told = cloud.sluice(["apply", &first_network(), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    done(
        cloud,
        "public-range create public2 --zone zone1 --vlan 20 --gateway 203.0.113.1 --prefix 24 \
         --start 203.0.113.10 --end 203.0.113.99",
    );
    done(
        cloud,
        "public-ip create second --network net1 --public-range public2 --address 203.0.113.10",
    );
}

/// Trunks and uplinks are there for as long as something needs them, and what they stood on can go then.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_address_takes_its_uplink_along() {
    let cloud = Cloud::start().await;
    second_uplink(&cloud);
    let links = async || config(&cloud, "r-1").await["links"].as_array().unwrap().len();
    let with = links().await;
    done(&cloud, "public-ip delete second");
    assert_eq!(links().await, with - 1, "the second uplink is gone");
    done(&cloud, "public-range delete public2");

    done(&cloud, "physical-network create apart --zone zone1 --vlans 900-909");
    done(&cloud, "vpc create v2 --zone zone1 --cidr 10.44.0.0/16");
    done(
        &cloud,
        "private-gateway create g1 --vpc v2 --physical-network apart --vlan 950 --address 10.99.0.2/24 \
         --gateway 10.99.0.1",
    );
    done(&cloud, "private-gateway delete g1");
    done(&cloud, "physical-network delete apart");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn uplinks_are_watched_as_their_range_says() {
    let cloud = Cloud::start().await;
    second_uplink(&cloud);
    let uplinks = |config: &serde_json::Value| config["role"]["router"]["uplinks"].clone();
    let first = json!({ "link": "pub0", "gateway": "198.51.100.1" });
    let second = json!({ "link": "pub1", "gateway": "203.0.113.1" });
    assert_eq!(uplinks(&config(&cloud, "r-1").await), json!([first, second]), "nobody said so");

    done(
        &cloud,
        r#"public-range update public1 --probe {"targets":["192.0.2.1"],"interval_seconds":10}"#,
    );
    let watched = config(&cloud, "r-1").await;
    let own = watched["role"]["router"]["networks"][0]["source_nat"]["address"].clone();
    let probe =
        json!({ "targets": ["192.0.2.1"], "interval_seconds": 10, "down_after": 3, "up_after": 3 });
    let first =
        json!({ "link": "pub0", "gateway": "198.51.100.1", "probe": probe, "source_nat": own });
    let second = json!({ "link": "pub1", "gateway": "203.0.113.1", "source_nat": "203.0.113.10" });
    assert_eq!(uplinks(&watched), json!([first, second]));
    refused(
        &cloud,
        r#"public-range update public1 --probe {"interval_seconds":0}"#,
        3,
        "0 is not 1 to 3600",
    );
    cloud.stop();
}

/// `explain` answers for the uplinks as the router said last that they are.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_so_while_an_uplink_is_down() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    second_uplink(&cloud);
    done(&cloud, "public-range update public1 --probe {}");
    done(&cloud, "public-range update public2 --probe {}");
    let guest =
        config(&cloud, "r-1").await["role"]["router"]["networks"][0]["guests"][0]["address"]
            .as_str()
            .unwrap()
            .to_owned();
    let ask = || {
        let line = format!("explain --from {guest} --to 192.0.2.9 --proto tcp --port 80");
        let told = cloud.sluice(line.split(' '));
        assert_eq!(told.code, 0, "{told:?}");
        told.out
    };
    let text = ask();
    assert!(text.contains("leaves by pub0") && !text.contains("down"), "{text}");
    let up = |link: &str, up: bool| json!({ "link": link, "up": up, "targets": ["192.0.2.1"] });
    agent.set_report("uplinks", json!({ "uplinks": [up("pub0", false), up("pub1", true)] }));
    let mut text = String::new();
    for _ in 0..500 {
        text = ask();
        if text.contains("down") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(text.contains(", with pub0 down:"), "{text}");
    assert!(text.contains("leaves by pub1 as tcp 203.0.113.10:40000"), "{text}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_down_is_shown() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let alarm = "uplink pub0 is down: 192.0.2.1 does not answer";
    agent.set_alarms(&[alarm]);
    let state = json!({ "uplinks": [{ "link": "pub0", "up": false, "targets": ["192.0.2.1"],
        "answered": 7, "failed": 3, "changes": 1 }] });
    agent.set_report("uplinks", state);
    let mut shown = String::new();
    for _ in 0..500 {
        shown = cloud.sluice(["status"]).out;
        if shown.contains(alarm) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(shown.contains(alarm), "{shown}");
    let shown = cloud.sluice(["appliance", "status", "r-1"]);
    assert!(shown.out.contains(alarm), "{shown:?}");
    let shown = cloud.sluice(["appliance", "report", "r-1", "uplinks"]);
    assert!(shown.out.contains("pub0") && shown.code == 0, "{shown:?}");
    cloud.stop();
}
