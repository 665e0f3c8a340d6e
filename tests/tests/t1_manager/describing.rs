//! Descriptions: all mistakes at once, nothing deleted unasked, addresses that move, and back to a description.

use super::kinds::example;
use super::process::{Cloud, first_network};

fn write(cloud: &Cloud, name: &str, text: &str) -> String {
    let file = cloud.folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_are_told_at_once_with_name_and_place() {
    let cloud = Cloud::start().await;
    let text = std::fs::read_to_string(first_network()).unwrap();
    let more = r#"
[[networks]]
zone = "zone1"
name = "wide"
domain = "d"
egress = "deny"
cidr = "10.0.0.0/8"
[[networks]]
zone = "zone1"
name = "net1"
domain = "net1.zone1.internal"
egress = "allow"
[[guests]]
network = "wide"
name = "vm7"
[[guests]]
network = "net1"
name = "vm8"
address = "10.1.1.1"
[[guests]]
network = "nowhere"
name = "vm9"
"#;
    let file = write(&cloud, "bad.toml", &(text + more));
    let told = cloud.sluice(["apply", &file, "--yes"]);
    assert_eq!(told.code, 3, "{told:?}");
    for expected in [
        "networks[1].cidr: network wide:",
        "networks[2].name: network net1: name: stands in the description twice, first at networks[0]",
        "guests[3].address: guest vm8: address: 10.1.1.1 is the gateway",
        "guests[4]: guest vm9: there is no network nowhere",
    ] {
        assert!(told.err.contains(expected), "{expected}: {}", told.err);
    }
    assert!(!told.err.contains("vm7"), "what refers to a mistake is none itself: {}", told.err);
    assert_eq!(cloud.get("/v1/zones").await, serde_json::json!([]), "nothing was changed");
    let file = write(&cloud, "unknown.toml", "colours = [{ name = 'red' }]\n[[zones]]\nnam = 'z'");
    let told = cloud.sluice(["apply", &file, "--yes"]);
    for expected in ["there is no section colours", "zones[0].nam", "zones[0].resolvers"] {
        assert!(told.err.contains(expected), "{expected}: {}", told.err);
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_guests_exchange_addresses_and_macs_in_one_change() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let macs = ["02:00:00:00:77:01", "02:00:00:00:77:02"];
    let swap = |first: &str, second: &str, [one, two]: [&str; 2]| {
        let text = std::fs::read_to_string(first_network()).unwrap();
        let start = text.find("[[guests]]").unwrap();
        format!(
            "{}[[guests]]\nnetwork = 'net1'\nname = 'vm1'\naddress = '{first}'\nmac = '{one}'\n\
             [[guests]]\nnetwork = 'net1'\nname = 'vm2'\naddress = '{second}'\nmac = '{two}'\n",
            &text[..start]
        )
    };
    let file = write(&cloud, "one.toml", &swap("10.1.1.50", "10.1.1.60", macs));
    let told = cloud.sluice(["--wait", "30", "apply", &file, "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    let file = write(&cloud, "two.toml", &swap("10.1.1.60", "10.1.1.50", [macs[1], macs[0]]));
    let told = cloud.sluice(["--wait", "30", "apply", &file, "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(agent.pushed(), [1, 2, 3], "one configuration for the exchange");
    let config = serde_json::to_value(agent.config()).unwrap();
    let guests = config["role"]["router"]["networks"][0]["guests"].as_array().unwrap().clone();
    let of = |name: &str| {
        let guest = guests.iter().find(|guest| guest["hostname"] == name).unwrap();
        (guest["address"].as_str().unwrap(), guest["mac"].as_str().unwrap())
    };
    assert_eq!((of("vm1"), of("vm2")), (("10.1.1.60", macs[1]), ("10.1.1.50", macs[0])));
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_applies_empty() {
    let cloud = Cloud::start().await;
    let _agent = cloud.first_network_in_sync().await;
    let more = ["public-ip", "create", "web", "--network", "net1"];
    assert_eq!(cloud.sluice(more).code, 0);
    let exported = cloud.sluice(["export"]);
    assert_eq!(exported.code, 0, "{exported:?}");
    let file = write(&cloud, "export.toml", &exported.out);
    let told = cloud.sluice(["apply", &file, "--yes", "--prune"]);
    assert_eq!(
        (told.code, told.out.as_str()),
        (0, "nothing to do\n"),
        "{told:?}\n{}",
        exported.out
    );
    let other = Cloud::start().await;
    let told = other.sluice(["apply", &write(&other, "export.toml", &exported.out), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(other.sluice(["export"]).out, exported.out, "a cloud like the other");
    other.stop();
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_of_every_example_is_what_there_is() {
    for name in ["consoles", "guests", "ipv6", "lb", "rules", "storage", "vpc", "vpn"] {
        let cloud = Cloud::start().await;
        let told = cloud.sluice(["apply", &example(&format!("{name}.toml")), "--yes"]);
        assert_eq!(told.code, 0, "{told:?}");
        let exported = cloud.sluice(["export"]);
        assert_eq!(exported.code, 0, "{name}: {exported:?}");
        let file = write(&cloud, "export.toml", &exported.out);
        let told = cloud.sluice(["apply", &file, "--yes", "--prune"]);
        let told = (told.code, told.out + &told.err);
        assert_eq!(told, (0, "nothing to do\n".to_owned()), "{name}: {}", exported.out);
        cloud.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_has_the_routers_own_plan_beside_it() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let text = std::fs::read_to_string(first_network()).unwrap();
    let file = write(&cloud, "deny.toml", &text.replace("egress = \"allow\"", "egress = \"deny\""));
    for command in [&["diff", &file][..], &["apply", &file, "--dry-run"]] {
        let told = cloud.sluice(command.iter().copied());
        assert!(told.out.contains("~ network net1 (egress: allow -> deny)"), "{told:?}");
        assert!(told.out.contains("r-1: simulate"), "{told:?}");
        assert!(told.out.ends_with("0 added, 1 changed, 0 destroyed\n"), "{told:?}");
    }
    let told = cloud.sluice(["--json", "apply", &file]);
    assert_eq!(told.code, 2, "there is nobody to ask: {told:?}");
    assert!(told.err.contains("~ network net1"), "what was asked about is shown: {told:?}");
    agent.set_deaf(true);
    let told = cloud.sluice(["diff", &file]);
    assert!(told.out.contains("r-1 cannot be asked"), "{told:?}");
    assert_eq!(agent.committed(), Some(1), "nothing was changed");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_can_be_changed_as_far_as_nobody_loses_an_address() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let text = std::fs::read_to_string(first_network()).unwrap();
    let taken = cloud.get("/v1/networks/net1").await["source_nat"].as_str().unwrap().to_owned();
    let range = |from: &str, to: &str| text.replace(from, to);
    let narrow = range("end = \"198.51.100.99\"", "end = \"198.51.100.11\"")
        .replace("start = \"198.51.100.10\"", "start = \"198.51.100.11\"");
    assert_ne!(taken, "198.51.100.11", "the seed of the pool has changed; take another address");
    let told = cloud.sluice(["apply", &write(&cloud, "narrow.toml", &narrow), "--yes"]);
    assert_eq!(told.code, 5, "{told:?}");
    assert!(told.err.contains(&format!("would leave out {taken}, which ip-1 has")), "{told:?}");
    let wide = range("end = \"198.51.100.99\"", "end = \"198.51.100.120\"");
    let told = cloud.sluice(["apply", &write(&cloud, "wide.toml", &wide), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    let gateway = range("gateway = \"198.51.100.1\"", "gateway = \"198.51.100.2\"");
    let told =
        cloud.sluice(["--wait", "30", "apply", &write(&cloud, "way.toml", &gateway), "--yes"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(agent.committed(), Some(2), "the wider range alone changed nothing of the router");
    let config = serde_json::to_value(agent.config()).unwrap();
    assert!(config["routes"].to_string().contains("198.51.100.2"), "{config}");
    cloud.stop();
}
