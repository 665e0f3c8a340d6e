//! Bytes from outside the router: the fuzz corpus replayed and mutated, and random ones; nothing panics.
//!
//! The fuzz targets run the same harness for longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test that cannot be set up fails

#[path = "../../fuzz/harness/dns.rs"]
mod dns;

use std::path::PathBuf;

use hickory_proto::op::Message;
use proptest::prelude::*;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Every cut, every byte at its extremes, every pair of neighbours swapped.
fn mutations(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cuts = (0..=seed.len()).map(|length| seed[..length].to_vec());
    let bytes = (0..seed.len()).flat_map(|at| {
        [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff].map(|value| {
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

fn replay(target: &str, harness: fn(&[u8]), least: usize) {
    let seeds = corpus(target);
    assert!(seeds.len() >= least, "{} seeds in the corpus of {target}", seeds.len());
    for mutation in seeds.iter().flat_map(|seed| mutations(seed)) {
        harness(&mutation);
    }
}

#[test]
fn queries_of_the_corpus_and_their_mutations_do_not_panic() {
    replay("dns_query", dns::query, 8);
}

#[test]
fn answers_of_the_corpus_and_their_mutations_do_not_panic() {
    replay("dns_upstream_answer", dns::upstream_answer, 6);
}

#[test]
fn the_corpus_has_readable_messages() {
    for target in ["dns_query", "dns_upstream_answer"] {
        let readable = corpus(target).iter().filter(|seed| Message::from_vec(seed).is_ok()).count();
        assert!(readable >= 5, "{readable} in {target}");
    }
}

proptest! {
    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        dns::query(&bytes);
        dns::upstream_answer(&bytes);
    }

    #[test]
    fn random_questions_behind_a_good_header_do_not_panic(
        flags in any::<[u8; 2]>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let header = [7, 7, flags[0] & 0x7f, flags[1], 0, 1, 0, 0, 0, 0, 0, 1];
        dns::query(&[&header[..], &body].concat());
    }

    #[test]
    fn random_records_behind_the_question_do_not_panic(
        counts in prop::array::uniform3(0_u8..4),
        body in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let header = [7, 7, 0x81, 0x80, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        let question = b"\x03www\x07example\x04test\x00\x00\x01\x00\x01";
        dns::upstream_answer(&[&header[..], question, &body].concat());
    }
}
