//! Requests from outside the router: the fuzz corpus replayed and mutated; all are answered, and none with another's data.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test that cannot be set up fails

#[path = "../../fuzz/harness/metadata.rs"]
mod metadata;

use std::path::PathBuf;

use proptest::prelude::*;

fn corpus() -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/metadata_request");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn the_corpus_and_its_mutations_are_answered() {
    let seeds = corpus();
    assert!(seeds.len() >= 9, "{} seeds", seeds.len());
    for seed in &seeds {
        metadata::request(seed);
        for at in 0..seed.len() {
            metadata::request(&seed[..at]);
            for value in [0, b'/', b'.', b'%', b'\n', 0xff] {
                let mut changed = seed.clone();
                changed[at] = value;
                metadata::request(&changed);
            }
        }
    }
}

proptest! {
    #[test]
    fn random_paths_are_answered(path in "(/?(latest|meta-data|user-data|metadata|10.1.1.2[34]|instance-id|[.%/a-z0-9-]{0,9})){0,9}") {
        metadata::request(format!("GET\n{path}\n").as_bytes());
    }

    #[test]
    fn random_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        metadata::request(&bytes);
    }
}
