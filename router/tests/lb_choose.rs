//! Who serves: shares by weight, load and client, and what a change of members moves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::balancer::Algorithm;
use sluice_router::lb::choose::{Candidate, Turns, choose, serial};

fn members(weights: &[u32]) -> Vec<Candidate> {
    let one = |(number, weight): (usize, &u32)| Candidate {
        serial: serial("rule", &format!("m{number}")),
        weight: *weight,
        usable: true,
        backup: false,
        sessions: 0,
    };
    weights.iter().enumerate().map(one).collect()
}

fn client(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

fn turns(candidates: &[Candidate], count: usize, turns: &mut Turns) -> Vec<usize> {
    let next = |_| choose(Algorithm::RoundRobin, candidates, client(1), turns).unwrap();
    (0..count).map(next).collect()
}

#[test]
fn round_robin_goes_around() {
    let mut memory = Turns::default();
    assert_eq!(turns(&members(&[1, 1, 1]), 6, &mut memory), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn round_robin_spreads_heavy_members() {
    let mut memory = Turns::default();
    assert_eq!(turns(&members(&[5, 1, 1]), 7, &mut memory), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn shares_stay_exact_when_a_member_goes_and_comes() {
    let mut memory = Turns::default();
    let mut candidates = members(&[1, 1, 1]);
    turns(&candidates, 4, &mut memory);
    candidates[1].usable = false;
    let chosen = turns(&candidates, 100, &mut memory);
    let share = chosen.iter().filter(|at| **at == 0).count();
    assert!((49..=51).contains(&share) && !chosen.contains(&1), "{share}");
    candidates[1].usable = true;
    let back = turns(&candidates, 99, &mut memory);
    for member in 0..3 {
        let share = back.iter().filter(|at| **at == member).count();
        assert!((32..=34).contains(&share), "member {member}: {share}");
    }
}

#[test]
fn least_connections_counts_by_weight_and_takes_turns_among_equals() {
    let mut memory = Turns::default();
    let mut candidates = members(&[1, 1, 2]);
    let mut pick = |candidates: &[Candidate]| {
        choose(Algorithm::LeastConnections, candidates, client(1), &mut memory).unwrap()
    };
    for (at, sessions) in [3, 1, 4].into_iter().enumerate() {
        candidates[at].sessions = sessions;
    }
    assert_eq!(pick(&candidates), 1);
    candidates[1].sessions = 2;
    let equals = [pick(&candidates), pick(&candidates), pick(&candidates)];
    assert!(equals.contains(&1) && equals.contains(&2) && !equals.contains(&0), "{equals:?}");
}

fn by_source(candidates: &[Candidate], clients: u32) -> Vec<usize> {
    let mut memory = Turns::default();
    let one = |number| choose(Algorithm::Source, candidates, client(number), &mut memory).unwrap();
    (0..clients).map(one).collect()
}

#[test]
fn a_client_keeps_its_member_and_shares_follow_weights() {
    let candidates = members(&[1, 2, 1]);
    let first = by_source(&candidates, 20_000);
    assert_eq!(first, by_source(&candidates, 20_000));
    let mut shares = BTreeMap::new();
    for at in first {
        *shares.entry(at).or_insert(0) += 1;
    }
    // six standard deviations of 20000 draws are less than 400
    assert!((4_600..5_400).contains(&shares[&0]), "{shares:?}");
    assert!((9_600..10_400).contains(&shares[&1]), "{shares:?}");
}

#[test]
fn a_member_that_goes_moves_its_own_clients_only() {
    let mut candidates = members(&[1, 1, 1, 1]);
    let before = by_source(&candidates, 5_000);
    candidates[2].usable = false;
    let after = by_source(&candidates, 5_000);
    for (before, after) in before.iter().zip(&after) {
        assert!(*before == 2 || before == after);
        assert_ne!(*after, 2);
    }
}

#[test]
fn backups_serve_when_nobody_else_can_and_weight_0_never() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::Source] {
        let mut memory = Turns::default();
        let mut candidates = members(&[1, 1, 0]);
        candidates[1].backup = true;
        let mut pick =
            |candidates: &[Candidate]| choose(algorithm, candidates, client(7), &mut memory);
        assert_eq!(pick(&candidates), Some(0));
        candidates[0].usable = false;
        assert_eq!(pick(&candidates), Some(1));
        candidates[1].usable = false;
        assert_eq!(pick(&candidates), None);
        assert_eq!(pick(&[]), None);
    }
}
