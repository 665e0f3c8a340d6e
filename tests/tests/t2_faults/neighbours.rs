//! The tables of neighbours have room for whoever is configured.

use serde_json::json;
use sluice_api::RouterDocument;
use sluice_api::report::Answer;
use sluice_sys::kernel::Fault;
use sluice_sys::model::SysctlKey;
use sluice_tests::faults::{FileFault, Running, World, example};

use crate::{before, expect, push};

/// The example under its next number, with so many guests in its first network.
fn with_guests(count: u32) -> RouterDocument {
    let mut document = json!(example());
    document["generation"] = json!(example().generation.get() + 1);
    let links = document["links"].as_array_mut().unwrap();
    links.retain(|link| link["name"] != "guest1");
    let guest0 = links.iter_mut().find(|link| link["name"] == "guest0").unwrap();
    guest0["addresses"] = json!(["10.1.0.1/16"]);
    let networks = document["role"]["router"]["networks"].as_array_mut().unwrap();
    networks.truncate(1);
    let network = networks[0].as_object_mut().unwrap();
    network.insert("cidr".into(), json!("10.1.0.0/16"));
    network.insert("gateway".into(), json!("10.1.0.1"));
    network["dhcp"].as_object_mut().unwrap().remove("routes");
    let guest = |number: u32| {
        let [_, _, high, low] = (number + 256).to_be_bytes();
        json!({ "id": format!("vm{number}-0"), "hostname": format!("vm{number}"),
                "mac": format!("02:00:0a:01:{high:02x}:{low:02x}"),
                "address": format!("10.1.{high}.{low}") })
    };
    network.insert("guests".into(), (0..count).map(guest).collect());
    RouterDocument::decode(document.to_string().as_bytes()).unwrap().0
}

fn room(running: &Running, table: &str) -> u32 {
    let key = format!("net.{table}.neigh.default.gc_thresh1");
    running.kernel.inner().state().sysctls[&SysctlKey::try_from(key).unwrap()].parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn neighbour_tables_follow_the_number_of_configured_guests() {
    let before = before().await;
    let running = World::in_dir(before.dir.path()).start(Fault::None, FileFault::None).await;
    let few = room(&running, "ipv4");
    let answer = push(&running, &with_guests(5000), None).await;
    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
    assert!(few < 5000 && room(&running, "ipv4") > 5000, "{few}");
    // a link-local address each besides
    assert!(room(&running, "ipv6") > 10_000);
    // and back: what a router holds is a function of its last configuration
    let mut back = example();
    back.generation = with_guests(0).generation.next().unwrap();
    assert!(matches!(push(&running, &back, None).await, Answer::Applied { .. }));
    assert_eq!(room(&running, "ipv4"), few);
    expect(&kernel(&running.state()), &[&kernel(&before.old)], "as before");
}

/// The part of the kernel, which says nothing of generations.
fn kernel(state: &str) -> String {
    state.split("\n{").next().unwrap().to_owned()
}
