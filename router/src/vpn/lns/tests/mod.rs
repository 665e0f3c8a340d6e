//! The whole server against clients of both layers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::net::Ipv4Addr;

use super::*;
use crate::vpn::ppp::tests::client::{MS, PAP};
use world::{World, slice};

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn three_clients_behind_one_nat_one_leaves_two_stay() {
    let mut world = World::new(slice());
    for mark in 1..=3 {
        world.call(mark, &MS, "anna", "correct horse");
    }
    world.run(2);
    assert_eq!(world.users(), ["anna 10.1.2.2", "anna 10.1.2.3", "anna 10.1.2.4"]);
    let addresses: Vec<_> = world.clients.iter().map(|client| client.ppp.address()).collect();
    assert_eq!(addresses, [Some(ip("10.1.2.2")), Some(ip("10.1.2.3")), Some(ip("10.1.2.4"))]);
    world.clients[0].l2tp.stop();
    world.run(1);
    assert_eq!(world.users(), ["anna 10.1.2.3", "anna 10.1.2.4"]);
    world.run(200);
    assert_eq!(world.users().len(), 2);
}

#[test]
fn a_removed_user_is_cut_off_at_once_and_the_others_stay() {
    let mut world = World::new(slice());
    world.call(1, &MS, "anna", "correct horse");
    world.call(2, &PAP, "bob", "battery staple");
    world.run(2);
    assert_eq!(world.users(), ["anna 10.1.2.2", "bob 10.1.2.3"]);
    let mut without = slice();
    without.accesses[0].users.remove(0);
    world.replace(without);
    assert_eq!(world.users(), ["bob 10.1.2.3"], "no second passes");
    world.run(5);
    assert!(!world.clients[0].ppp.is_up() && world.clients[1].ppp.is_up());
    assert_eq!(world.server.counts().failed, 0, "she was up");
    world.call(3, &MS, "anna", "correct horse");
    world.run(5);
    assert_eq!(world.users(), ["bob 10.1.2.3"]);
}

#[test]
fn a_changed_password_ends_what_the_old_one_began() {
    let mut world = World::new(slice());
    world.call(1, &MS, "anna", "correct horse");
    world.run(2);
    let mut changed = slice();
    changed.accesses[0].users[0].password = sluice_api::types::Secret::new("another");
    world.replace(changed);
    assert!(world.users().is_empty());
}

#[test]
fn an_administrator_ends_sessions_and_the_user_may_come_again() {
    let mut world = World::new(slice());
    world.call(1, &MS, "anna", "correct horse");
    world.call(2, &PAP, "bob", "battery staple");
    world.run(2);
    let mut ended = slice();
    ended.accesses[0].users[0].disconnects = 1;
    world.replace(ended);
    assert_eq!(world.users(), ["bob 10.1.2.3"]);
    world.call(3, &MS, "anna", "correct horse");
    world.run(2);
    assert_eq!(world.users(), ["anna 10.1.2.2", "bob 10.1.2.3"]);
}

/// The same slice, or one that differs in what does not concern a session, touches nothing.
#[test]
fn an_unrelated_change_touches_no_session() {
    let mut world = World::new(slice());
    world.call(1, &MS, "anna", "correct horse");
    world.run(2);
    let mut changed = slice();
    changed.accesses[0].users.remove(1);
    changed.accesses[0].dns = vec![ip("10.1.1.53")];
    changed.accesses[0].range = "10.1.2.1-10.1.2.200".parse().unwrap();
    for _ in 0..100 {
        world.replace(changed.clone());
    }
    world.run(100);
    assert_eq!(world.users(), ["anna 10.1.2.2"]);
    assert_eq!(world.ends, 0);
}

#[test]
fn sessions_outside_a_new_range_end_and_new_ones_come_from_it() {
    let mut world = World::new(slice());
    for mark in 1..=3 {
        world.call(mark, &MS, "anna", "correct horse");
    }
    world.run(2);
    let mut changed = slice();
    changed.accesses[0].range = "10.1.2.3-10.1.2.9".parse().unwrap();
    world.replace(changed);
    assert_eq!(world.users(), ["anna 10.1.2.4"], "the second has the server's address now");
    world.call(4, &MS, "bob", "battery staple");
    world.run(2);
    assert_eq!(world.users(), ["anna 10.1.2.4", "bob 10.1.2.5"]);
    assert_eq!(world.clients[3].ppp.server(), Some(ip("10.1.2.3")));
}

#[test]
fn addresses_run_out_and_come_back() {
    let mut small = slice();
    small.accesses[0].range = "10.1.2.1-10.1.2.3".parse().unwrap();
    let mut world = World::new(small);
    for mark in 1..=3 {
        world.call(mark, &MS, "anna", "correct horse");
    }
    world.run(2);
    assert_eq!(world.users().len(), 2);
    world.clients[0].l2tp.stop();
    world.run(20);
    world.call(9, &MS, "bob", "battery staple");
    world.run(2);
    assert_eq!(world.users(), ["anna 10.1.2.3", "bob 10.1.2.2"]);
}

#[test]
fn a_user_gets_the_same_address_again() {
    let mut world = World::new(slice());
    world.call(1, &MS, "anna", "correct horse");
    world.run(1);
    world.clients[0].l2tp.stop();
    world.run(1);
    world.call(2, &MS, "bob", "battery staple");
    world.call(3, &MS, "anna", "correct horse");
    world.run(1);
    assert_eq!(world.users(), ["anna 10.1.2.2", "bob 10.1.2.3"]);
}

#[test]
fn an_access_that_is_removed_takes_its_tunnels_along() {
    let mut world = World::new(slice());
    world.call(1, &MS, "anna", "correct horse");
    world.run(2);
    world.replace(LnsSlice::default());
    assert!(world.users().is_empty());
    assert_eq!(world.paths, [0, 0, 0]);
}

#[test]
fn wrong_passwords_get_no_path_and_leave_nothing() {
    let mut world = World::new(slice());
    world.call(1, &MS, "anna", "wrong");
    world.call(2, &PAP, "nobody", "correct horse");
    world.run(200);
    assert!(world.users().is_empty());
    assert_eq!(world.paths, [0, 0, 0]);
    assert_eq!(world.server.counts().failed, 2);
    assert_eq!(world.server.deadline(), None);
}

#[test]
fn clients_that_vanish_leave_nothing() {
    let mut world = World::new(slice());
    for mark in 1..=5 {
        world.call(mark, &MS, "anna", "correct horse");
    }
    world.run(2);
    assert_eq!(world.paths, [5, 5, 5]);
    world.clients.clear();
    world.run(300);
    assert_eq!(world.paths, [0, 0, 0]);
    assert_eq!(world.server.deadline(), None);
}
