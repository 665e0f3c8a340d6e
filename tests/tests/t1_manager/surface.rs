//! Tried as a new user would: names, lists, errors, and what the command line does around the manager.

use serde_json::{Value, json};
use sluice_lab::spec::LabSpec;

use super::process::{Cloud, first_network};
use super::wait::until;

/// The example, and the same in a second zone with other addresses.
async fn two_zones() -> Cloud {
    let cloud = Cloud::start().await;
    let text = std::fs::read_to_string(first_network()).unwrap();
    let other = text
        .replace("zone1", "zone2")
        .replace("169.254.0.0/20", "169.254.16.0/20")
        .replace("198.51.100.", "203.0.113.");
    let file = cloud.folder.path().join("other.toml");
    std::fs::write(&file, other).unwrap();
    for file in [first_network().as_str(), file.to_str().unwrap()] {
        let told = cloud.sluice(["apply", file, "--yes"]);
        assert_eq!(told.code, 0, "{told:?}");
        let again = cloud.sluice(["apply", file, "--yes", "--prune"]);
        assert_eq!((again.code, again.out.as_str()), (0, "nothing to do\n"), "{again:?}");
    }
    cloud
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_enough_where_it_means_one_object() {
    let cloud = two_zones().await;
    // both zones have a network and guests of these names
    let told = cloud.sluice(["network", "show", "net1"]);
    assert_eq!(told.code, 5, "{told:?}");
    assert!(told.err.contains("n-1") && told.err.contains("n-2"), "{told:?}");
    assert_eq!(cloud.sluice(["network", "show", "n-2"]).code, 0);
    assert_eq!(cloud.sluice(["guest", "create", "vm9", "--network", "n-2"]).code, 0);
    assert_eq!(cloud.sluice(["guest", "show", "vm9"]).code, 0);
    let list = cloud.sluice(["network", "list"]);
    assert!(list.out.contains("zone1") && list.out.contains("zone2"), "names, not ids: {list:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_come_in_pages() {
    let cloud = two_zones().await;
    let all = cloud.get("/v1/guests").await;
    assert_eq!(names(&all).len(), 4);
    let of = |query: &str| format!("/v1/guests?{query}");
    assert_eq!(names(&cloud.get(&of("zone=zone2")).await).len(), 2);
    assert_eq!(names(&cloud.get(&of("zone=zone2&name=vm1")).await).len(), 1);
    let mut pages = Vec::new();
    let mut query = "limit=3".to_owned();
    loop {
        let page = cloud.get(&of(&query)).await;
        let Some(last) = names(&page).last().map(|id| (*id).to_owned()) else { break };
        pages.extend(names(&page).into_iter().map(str::to_owned));
        query = format!("limit=3&after={last}");
    }
    assert_eq!(pages, names(&all), "each once, in the order in which they were made");
    for (query, field) in [("limit=0", "limit"), ("limit=x", "limit"), ("colour=red", "query")] {
        let call = cloud.call(reqwest::Method::GET, &of(query), None, &Value::Null).await;
        let (status, problem) = call.unwrap();
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{query}: {problem}");
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_json_where_json_was_asked_for() {
    let cloud = Cloud::start().await;
    for words in [
        ["--json", "network", "show", "nothing"].as_slice(),
        &["--json", "--manager", "http://127.0.0.1:1", "network", "list"],
        &["--json", "apply", "/nowhere.toml", "--yes"],
    ] {
        let told = cloud.sluice(words.iter().copied());
        let problem: Value = serde_json::from_str(&told.err)
            .unwrap_or_else(|error| panic!("{words:?}: {error}: {told:?}"));
        assert!(told.code > 0 && problem["code"].is_string() && problem["message"].is_string());
        assert_eq!(told.out, "", "{words:?}");
    }
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_is_being_started_is_waited_for() {
    let mut cloud = Cloud::start().await;
    cloud.manager.end();
    let asking = cloud.manager.start_sluice(["zone", "list"]).unwrap();
    cloud.restart(&[]).await;
    let told = asking.wait_with_output().unwrap();
    assert!(told.status.success(), "{told:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_takes_away_is_said() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let vlan = cloud.get("/v1/networks").await[0]["vlan"].as_u64().unwrap();
    let keeping = format!("{vlan},300-309");
    let told = cloud.sluice(["physical-network", "update", "physnet1", "--vlans", &keeping]);
    assert_eq!((told.code, told.err.as_str()), (0, "vlans: no longer 100-199\n"), "{told:?}");
    // and nothing that is in use is taken away
    let told = cloud.sluice(["physical-network", "update", "physnet1", "--vlans", "300-309"]);
    assert_eq!(told.code, 5, "{told:?}");
    assert!(told.err.contains(&format!("VLAN {vlan} is in use and would drop out")), "{told:?}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fixed_for_life_can_be_changed_or_says_the_way() {
    let cloud = Cloud::start().await;
    let agent = cloud.first_network_in_sync().await;
    let managers = ["--wait", "30", "zone", "update", "zone1", "--managers", "127.0.0.0/8"];
    let told = cloud.sluice(managers);
    assert_eq!(told.code, 0, "{told:?}\n{}", cloud.log());
    let known = agent.config().control.managers;
    assert_eq!(known.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.0/8"]);
    let told = cloud.sluice(["zone", "update", "zone1", "--control-gateway", "169.254.0.1"]);
    assert_eq!(told.code, 0, "{told:?}");
    let file = cloud.folder.path().join("fixed.toml");
    let text = std::fs::read_to_string(first_network()).unwrap();
    std::fs::write(
        &file,
        text.replace("vlans = [\"100-199\"]", "vlans = [\"100-199\"]\nmtu = 9000"),
    )
    .unwrap();
    let told = cloud.sluice(["apply", file.to_str().unwrap(), "--yes"]);
    assert_eq!(told.code, 3, "{told:?}");
    let way = "cannot be changed in place; delete physical network physnet1 and create it again";
    assert!(told.err.contains(way), "{told:?}");
    std::fs::write(
        &file,
        text.replace("cidr = \"10.1.1.0/24\"\ngateway = \"10.1.1.1\"", "cidr = \"10.9.9.0/24\""),
    )
    .unwrap();
    let told = cloud.sluice(["apply", file.to_str().unwrap(), "--yes"]);
    assert_eq!(told.code, 3, "{told:?}");
    let way = "cannot be changed in place; delete network net1 and create it again";
    assert!(told.err.contains(way), "{told:?}");
    let way = "cidr: cannot be changed in place; delete the network and create it again";
    let told = cloud.sluice(["network", "update", "net1", "--cidr", "10.9.9.0/24"]);
    assert!(told.code == 2 && told.err.contains(way), "{told:?}");
    let patch = json!({ "cidr": "10.9.9.0/24" });
    let call = cloud.call(reqwest::Method::PATCH, "/v1/networks/net1", None, &patch);
    let (status, problem) = call.await.unwrap();
    assert_eq!((status, &problem["field"]), (422, &json!("cidr")), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains(way), "{problem}");
    let address = ["--wait", "30", "guest", "update", "vm1", "--address", "10.1.1.77"];
    assert_eq!(cloud.sluice(address).code, 0, "a guest's address can be changed");
    cloud.stop();
}

/// What `sluice appliance lab-file` prints is a lab that can be started, with the addresses that the model has.
#[tokio::test(flavor = "multi_thread")]
async fn a_lab_file_and_a_qemu_command_are_ready() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let text = cloud.sluice(["appliance", "lab-file", "r-1"]).out;
    let lab = LabSpec::parse(&text, cloud.folder.path(), cloud.folder.path()).unwrap();
    let macs: Vec<_> = cloud.get("/v1/appliances/r-1").await["nics"].as_array().unwrap().clone();
    assert_eq!(lab.machines.len(), 4, "the router, two guests and the outside: {text}");
    let command = cloud.sluice(["appliance", "qemu", "r-1", "--qmp", "qmp.sock"]).out;
    for nic in macs {
        let mac = nic["mac"].as_str().unwrap();
        assert!(text.contains(mac) && command.contains(mac), "{mac}\n{text}\n{command}");
    }
    assert!(command.contains("-qmp unix:qmp.sock"), "{command}");
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_look_at_a_machine_that_came_up_is_soon() {
    let mut cloud = Cloud::start().await;
    assert_eq!(cloud.sluice(["apply", &first_network(), "--yes"]).code, 0);
    let (status, document) = cloud.post("/v1/appliances/r-1/boot-document", json!({})).await;
    assert_eq!(status, 200, "{document}");
    // a port where nobody listens yet, and a manager that would wait for minutes after a failure
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    cloud.restart(&["--retry-ms", "600000", "--retry-most-ms", "600000"]).await;
    assert_eq!(cloud.sluice(["appliance", "endpoint", "r-1", &place.to_string()]).code, 0);
    until("it is tried", || cloud.log().contains("will retry")).await;
    let document = sluice_api::boot::BootDocument::decode(document.to_string().as_bytes()).unwrap();
    let agent = super::agent::Agent::start_at(document, place).await;
    until("it is looked at", || agent.committed() == Some(1)).await;
    cloud.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_for_the_shells_that_people_have() {
    let cloud = Cloud::start().await;
    for shell in ["bash", "zsh", "fish"] {
        let told = cloud.sluice(["completions", shell]);
        assert_eq!(told.code, 0, "{told:?}");
        assert!(told.out.contains("port-forward"), "{shell}: {}", told.out.len());
    }
    cloud.stop();
}
