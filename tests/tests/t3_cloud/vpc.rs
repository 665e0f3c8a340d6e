//! The guide's VPC, as examples/vpc.toml describes it, in packets of machines.

use sluice_tests::cloud::{INTERNET, Shell as _, guest, office};

use super::rules::{page, public_ip, serve};
use super::world::{BOOT, World};

/// The machine behind the private gateway of that name.
const OFFICE: &str = "office";

/// Addresses, and a page in each tier; on the port that its list lets in, as far as there is one.
pub(crate) async fn tiers_serve(world: &World) {
    world.leases().await;
    for (guest, port) in [("web1", 80), ("app1", 8080), ("db1", 8080)] {
        serve(world, guest, port).await;
    }
}

/// What the lists allow passes between tiers and from outside, and nothing else does.
pub(crate) async fn lists_decide(world: &World) {
    let at = |name: &str, port: u16| format!("{}:{port}", world.view.address(name).unwrap());
    let www = public_ip(world, "www");
    let web1 = Some("web1".to_owned());
    let app1 = Some("app1".to_owned());
    assert_eq!(page(world, INTERNET, "", &www.to_string()).await, web1, "HTTP from anywhere");
    assert_eq!(page(world, INTERNET, "", &format!("{www}:8080")).await, None);
    assert_eq!(page(world, "web1", "", &at("app1", 8080)).await, app1, "web to application");
    assert_eq!(page(world, "web1", "", &at("db1", 8080)).await, None, "web to database");
    assert_eq!(page(world, "app1", "", &at("db1", 8080)).await, None, "a tier without a list");
    assert_eq!(page(world, "db1", "", &at("app1", 8080)).await, None, "only web may");
    assert_eq!(page(world, "app1", "", &at("web1", 80)).await, web1, "HTTP from other tiers");
    let ping = format!("ping -c 1 -W 2 {}", world.view.address("app1").unwrap());
    assert!(!world.lab.sh("web1", &ping).await.unwrap().ok(), "the list forbids it");
    assert!(!guest::reaches_outside(&world.lab, "web1").await.unwrap(), "one egress rule");
    world.visits("app1", "app").await;
    world.visits("db1", "db").await;
}

/// Guests reach what is behind the private gateway with their own addresses, or with its address; no list of theirs lets
/// anybody in from there.
pub(crate) async fn a_private_gateway_leads_to_the_office(world: &World) {
    world.lab.ready(OFFICE, BOOT).await.unwrap();
    office::set_up(&world.lab, OFFICE).await.unwrap();
    let db1 = world.view.address("db1").unwrap();
    assert_eq!(office::visit(&world.lab, "db1").await.unwrap(), db1.to_string());
    assert_eq!(page(world, OFFICE, "", &format!("{db1}:8080")).await, None, "default-deny");
    world.change(&["private-gateway", "update", OFFICE, "--source-nat", "true"]);
    assert_eq!(office::visit(&world.lab, "db1").await.unwrap(), "172.16.0.2");
    world.visits("db1", "db").await;
    world.change(&["private-gateway", "update", OFFICE, "--acl", "default-deny"]);
    assert!(office::visit(&world.lab, "db1").await.is_err(), "its list judges what passes it");
}

/// A tier's list is replaced while everything runs.
pub(crate) async fn a_list_is_replaced(world: &World) {
    let db1 = format!("{}:8080", world.view.address("db1").unwrap());
    world.change(&["network", "update", "db", "--acl", "default-allow"]);
    assert_eq!(page(world, "app1", "", &db1).await, Some("db1".to_owned()));
    world.change(&["network", "update", "db", "--acl", "default-deny"]);
    assert_eq!(page(world, "app1", "", &db1).await, None);
}
