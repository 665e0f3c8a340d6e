//! The whole path on machines: manager, template as built, 802.1Q on a trunk, guests with stock clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests and their helpers

mod apart;
mod cloud_init;
mod one_router;
mod power;
mod rules;
mod tiers;
mod vpc;
mod world;

use std::path::Path;

use sluice_lab::spec::Firmware;
use sluice_tests::cloud::guest;

use world::World;

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_networks_on_two_vlans_of_one_trunk_are_apart() {
    let description =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/t3_cloud/two-networks.toml");
    let world = World::start("apart", &description, Firmware::Bios).await;
    apart::each_has_its_own_router(&world).await;
    apart::no_frame_of_the_other_is_seen(&world).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_on_the_ovmf_booted_template_takes_effect_in_packets() {
    let world = World::start("ovmf-cloud", &example("first-network.toml"), Firmware::Uefi).await;
    world.leases().await;
    let found = guest::look_up(&world.lab, "vm1", "vm2").await.unwrap();
    assert_eq!(found, [world.view.address("vm2").unwrap()]);
    world.visits("vm1", "net1").await;
    world.change(&["network", "update", "net1", "--egress", "deny"]);
    assert!(!guest::reaches_outside(&world.lab, "vm1").await.unwrap(), "egress is denied");
    world.change(&["network", "update", "net1", "--egress", "allow"]);
    world.visits("vm1", "net1").await;
    let (vm1, public) = (world.view.address("vm1").unwrap(), world.public("net1"));
    guest::listen(&world.lab, "vm1", 8080).await.unwrap();
    let through = guest::intrude(&world.lab, public, vm1, 8080).await.unwrap();
    assert!(through.is_empty(), "unsolicited traffic came in: {through:?}");
    assert!(guest::knock(&world.lab, "vm2", vm1, 8080, "neighbour").await.unwrap());
    world.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_one_network_are_kept_in_packets() {
    // years behind: the manager gets in all the same, and puts the clock right
    let world = World::start_at(
        "rules",
        &example("rules.toml"),
        Firmware::Bios,
        Some("2001-02-03T04:05:06"),
    )
    .await;
    world.leases().await;
    rules::a_guest_is_told_what_its_owner_wants(&world).await;
    rules::a_clock_that_is_years_behind_was_put_right(&world);
    cloud_init::sets_guests_up(&world).await;
    rules::a_forwarded_port_is_for_whom_the_firewall_names(&world).await;
    rules::connections_are_balanced(&world).await;
    rules::a_certificate_is_swapped(&world).await;
    rules::an_address_stands_for_one_guest(&world).await;
    rules::guests_may_not_send_mail(&world).await;
    rules::what_happened_is_explained_and_counted(&world);
    rules::a_rule_that_is_deleted_lets_nobody_in(&world).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiers_of_a_vpc_keep_to_their_lists() {
    let world = World::start("vpc", &example("vpc.toml"), Firmware::Bios).await;
    vpc::tiers_serve(&world).await;
    vpc::lists_decide(&world).await;
    vpc::a_private_gateway_leads_to_the_office(&world).await;
    vpc::a_list_is_replaced(&world).await;
    world.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_and_fifty_tiers_are_on_one_trunk_and_outlive_their_router() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiers.toml");
    std::fs::write(&file, tiers::description()).unwrap();
    let world = World::start("tiers", &file, Firmware::Bios).await;
    tiers::all_are_there(&world).await;
    tiers::all_are_reached(&world).await;
    tiers::the_router_starts_anew(&world).await;
    tiers::all_are_reached(&world).await;
    world.down().await;
}
