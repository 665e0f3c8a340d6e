//! Bytes from clients of the load balancer: the fuzz corpus replayed and mutated, and random ones; nothing panics, and
//! no stream of requests can be read in two ways.
//!
//! The fuzz targets run the same harness for longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test that cannot be set up fails

#[path = "../../fuzz/harness/lb.rs"]
mod lb;

use std::path::PathBuf;

use proptest::prelude::*;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Every cut, every byte at some telling values, every pair of neighbours swapped.
fn mutations(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cuts = (0..=seed.len()).map(|length| seed[..length].to_vec());
    let bytes = (0..seed.len()).flat_map(|at| {
        [0, b'\t', b'\n', b'\r', b' ', b':', b';', b'0', 0x7f, 0xff].map(|value| {
            let mut changed = seed.to_vec();
            changed[at] = value;
            changed
        })
    });
    let swaps = (1..seed.len()).map(|at| {
        let mut changed = seed.to_vec();
        changed.swap(at - 1, at);
        changed
    });
    cuts.chain(bytes).chain(swaps)
}

#[test]
fn streams_of_requests() {
    for seed in corpus("lb_framing") {
        lb::framing(&seed);
        mutations(&seed).for_each(|bytes| lb::framing(&bytes));
    }
}

#[test]
fn cookie_fields() {
    for seed in corpus("lb_cookies") {
        lb::cookies(&seed);
        mutations(&seed).for_each(|bytes| lb::cookies(&bytes));
    }
}

#[test]
fn first_bytes_of_tls() {
    for seed in corpus("lb_hello") {
        lb::hello(&seed);
        mutations(&seed).step_by(17).for_each(|bytes| lb::hello(&bytes));
    }
}

proptest! {
    #[test]
    fn random_streams(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        lb::framing(&bytes);
        lb::cookies(&bytes);
    }
}
