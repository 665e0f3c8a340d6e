//! The corpus of the fuzz target, replayed where no fuzzer is.

#[path = "../../fuzz/harness/rfb.rs"]
mod rfb;

use std::path::Path;

#[test]
fn nothing_in_the_corpus_breaks_a_promise_whole_or_cut() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/rfb_handshake");
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("a readable file");
        for length in 0..=bytes.len() {
            rfb::bytes(&bytes[..length]);
        }
        inputs += 1;
    }
    assert!(inputs >= 10, "{inputs} inputs");
}
