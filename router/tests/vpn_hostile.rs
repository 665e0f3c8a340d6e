//! Bytes from tunnels: the fuzz corpus replayed and mutated; nothing panics, nothing is left over.
//!
//! The fuzz targets run the same harness for longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test that cannot be set up fails

#[path = "../../fuzz/harness/vpn.rs"]
mod vpn;

use std::path::PathBuf;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Every cut, and every byte at its extremes.
fn mutations(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cuts = (0..=seed.len()).map(|length| seed[..length].to_vec());
    let bytes = (0..seed.len()).flat_map(|at| {
        [0, 1, 2, 6, 0x7f, 0x80, 0xc0, 0xff].map(|value| {
            let mut changed = seed.to_vec();
            changed[at] = value;
            changed
        })
    });
    cuts.chain(bytes)
}

fn replay(target: &str, harness: fn(&[u8]), least: usize) {
    let seeds = corpus(target);
    assert!(seeds.len() >= least, "{} seeds in the corpus of {target}", seeds.len());
    for mutation in seeds.iter().flat_map(|seed| mutations(seed)) {
        harness(&mutation);
    }
}

#[test]
fn datagrams_of_the_corpus_and_their_mutations_leave_nothing() {
    replay("l2tp_datagrams", vpn::datagrams, 10);
}

#[test]
fn frames_of_the_corpus_and_their_mutations_leave_nothing() {
    replay("ppp_frames", vpn::frames, 11);
}
